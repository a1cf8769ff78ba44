"""What is remembered of the folders that are looked at: whose they are, and what a stat showed.

Holds what it is given and touches no disk.
"""

from __future__ import annotations

import os

import msgspec

from instar_tokenledger.catalog import stamp_of
from instar_tokenledger.usage import TokenSource


class Tree(msgspec.Struct, eq=False):
    """One root of one source."""

    number: int
    source: TokenSource
    root: bytes
    """With a closing slash, as all paths of folders here."""
    folders: dict[bytes, int] = msgspec.field(default_factory=dict)
    """Numbers by path."""
    present: bool = False
    rivals: list[Tree] = msgspec.field(default_factory=list)
    """Trees that lie inside this one, or around it."""


class Folder(msgspec.Struct, eq=False, gc=False):
    """A folder that is looked at. Its number is that of the catalogue."""

    tree: int
    path: bytes
    parent: int
    stamp: int = 0
    """What its stat showed when it was listed; 0: to be listed."""
    readable: bool = True
    links: int = 0
    """Links that it held when it was listed."""


def stamp_of_folder(found: os.stat_result) -> int:
    """One number for what tells a folder whose names are as they were; never 0."""
    return stamp_of(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


def nested(one: bytes, other: bytes) -> bool:
    """True for two roots of which one lies inside the other, or that are the same."""
    return one.startswith(other) or other.startswith(one)
