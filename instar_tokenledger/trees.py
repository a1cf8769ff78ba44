"""What is remembered of the folders that are looked at: whose they are, and what a stat showed.

Holds what it is given, and asks the disk for a stat at most.
"""

from __future__ import annotations

import contextlib
import os
import stat as modes
from collections.abc import Callable, Sequence

import msgspec

from instar_tokenledger.catalog import stamp_of
from instar_tokenledger.usage import TokenSource

SETTLED_MS = 2_000
"""A folder that changed less than this ago is listed again: its times may not tell two changes
apart."""
UNTELLABLE = "\ufffd".encode()
"""What a watch puts for bytes of a name that are no text."""
NO_PATH = "not a path"
"""What a root that can be none is counted under."""


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

    @property
    def key(self) -> tuple[str, bytes]:
        """What it is known by."""
        return self.source.name, self.root

    @property
    def path(self) -> bytes:
        """The root as it is opened: without the slash, unless that is all there is."""
        return self.root[:-1] or b"/"

    def find(self) -> None:
        """See whether the root is there: it may be reached through links, and may not be there
        yet or any more. Raises OSError where that cannot be seen."""
        self.present = False
        with contextlib.suppress(FileNotFoundError):
            self.present = modes.S_ISDIR(os.stat(self.root).st_mode)

    def selects(self, path: bytes) -> bool:
        """True for what is a transcript by its path, and where the source cannot say."""
        try:
            return self.source.selects(path[len(self.root) :])
        except OSError:
            return True

    def may_hold(self, path: bytes) -> bool:
        """False for what is neither a transcript nor a folder that nobody has seen yet."""
        if UNTELLABLE in path:
            return True
        try:
            if self.source.selects(path[len(self.root) :]):
                return True
            return path + b"/" not in self.folders and modes.S_ISDIR(os.lstat(path).st_mode)
        except OSError:
            return False

    def rivals_at(self, folder: bytes) -> list[int]:
        """The numbers that a folder has in other trees."""
        return [rival.folders[folder] for rival in self.rivals if folder in rival.folders]

    def nearest(self, folder: bytes) -> int:
        """The number of a folder below the root, or of the first above it that has one."""
        while folder not in self.folders:
            folder = above(folder)
        return self.folders[folder]


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


def asked_for(
    sources: Sequence[TokenSource], failed: Callable[[str], None]
) -> dict[tuple[str, bytes], TokenSource]:
    """The roots of some sources, by the keys of their trees; `failed` is told of what can be
    none."""
    asked = {}
    for source in sources:
        for folder in source.roots():
            try:
                root = os.fsencode(os.path.abspath(folder))
            except (OSError, ValueError):  # half a character; below a working folder that has gone
                root = b"\0"
            if b"\0" in root:
                failed(NO_PATH)
            else:
                asked[source.name, os.path.join(root, b"")] = source
    return asked


def stamp_of_folder(found: os.stat_result) -> int:
    """One number for what tells a folder whose names are as they were; never 0."""
    return stamp_of(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


def nested(one: bytes, other: bytes) -> bool:
    """True for two roots of which one lies inside the other, or that are the same."""
    return one.startswith(other) or other.startswith(one)


def above(path: bytes) -> bytes:
    """The folder that holds this one; both with their closing slash."""
    return path[: path.rindex(b"/", 0, -1) + 1]


def lasting_stamp(found: os.stat_result, now_ms: int) -> int:
    """Its stamp; 0 while its times may not tell two changes apart."""
    settled = now_ms - found.st_mtime_ns // 1_000_000 > SETTLED_MS
    return stamp_of_folder(found) if settled else 0
