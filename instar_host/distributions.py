"""What is installed, read from the files that pip leaves: enough to find plugins, and no more.

Promises to find what `importlib.metadata` finds in the folders of `sys.path`, without importing
that: it costs every command 15 ms of processor, most of them for a parser of e-mail. Where
something else than a folder may hold distributions (an archive, an importer of its own) it is
asked after all. A distribution whose files cannot be read is passed over and logged. Never imports
what it finds.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder

import msgspec

EGG_INFO = "egg-info"
SUFFIXES = (".dist-info", f".{EGG_INFO}")
UNREADABLE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)

log = logging.getLogger("instar.plugins")


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """One distribution that brings entry points of the group asked for."""

    name: str | None
    """As its metadata spell it; None when they do not say."""
    version: str | None
    points: tuple[tuple[str, str], ...]
    """Name and target (`module:attribute`) of each."""


def installed_with(group: str) -> list[Installed]:
    """The distributions with entry points of `group`; of two installations of one the first on the
    path.
    """
    reads = _in_folders(group) if _only_folders() else _in_the_library(group)
    found: dict[str, Installed] = {}
    for at, one in enumerate(reads):
        found.setdefault(plain(one.name) if one.name else f"{at} without a name", one)
    return list(found.values())


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution; None when there is none of that name."""
    if not _only_folders():
        return _version_in_the_library(distribution)
    for info in _infos():
        named = os.path.basename(info).rpartition(".")[0].partition("-")[0]
        if plain(named) == plain(distribution):
            return _identity(info)[1]
    return None


def plain(name: str) -> str:
    """A distribution's name as comparisons need it."""
    return name.lower().replace("_", "-").replace(".", "-")


def _only_folders() -> bool:
    """Whether all there is lies in folders on the path."""
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    return finders == [PathFinder] and not any(map(os.path.isfile, _path()))


def _path() -> list[str]:
    """`sys.path` as text: programs put all sorts of things there, and what names no place counts as
    nothing, as it does for imports.
    """
    entries: list[object] = list(sys.path)
    return [os.fsdecode(entry) for entry in entries if isinstance(entry, (str, bytes, os.PathLike))]


def _infos() -> Iterator[str]:
    """The folders that say what is installed, in the order of the path."""
    for folder in dict.fromkeys(_path()):
        try:
            names = os.listdir(folder or ".")
        except (OSError, ValueError):  # not there, no folder, or no name of one
            continue
        in_egg = folder.lower().endswith(".egg")
        for name in names:
            low = name.lower()
            if low.endswith(SUFFIXES) or (in_egg and low == EGG_INFO):
                yield os.path.join(folder, name)


def _in_folders(group: str) -> Iterator[Installed]:
    for info in _infos():
        try:
            text = _text(info, "entry_points.txt")
            points = tuple(_members(text, group)) if group in text else ()
            if not points:
                continue
            name, version = _identity(info)
        except (OSError, ValueError):  # somebody else's files, in any state
            log.info("unreadable metadata: %s", info, exc_info=True)
            continue
        yield Installed(name=name, version=version, points=points)


def _text(info: str, name: str) -> str:
    try:
        with open(os.path.join(info, name), encoding="utf-8") as file:
            return file.read()
    except UNREADABLE:
        return ""


def _members(text: str, group: str) -> Iterator[tuple[str, str]]:
    """The lines `name = target` of one section."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif line and not line.startswith("#") and section == group:
            name, _, target = line.partition("=")
            yield name.strip(), target.strip()


def _identity(info: str) -> tuple[str | None, str | None]:
    """Name and version from the header of the metadata."""
    text = _text(info, "METADATA") or _text(info, "PKG-INFO")
    said: dict[str, str] = {}
    for line in text.splitlines():
        if not line:
            break
        key, _, value = line.partition(":")
        said.setdefault(key.lower(), value.strip())
    return said.get("name"), said.get("version")


def _in_the_library(group: str) -> Iterator[Installed]:
    from importlib import metadata

    for dist in metadata.distributions():
        try:
            entries = [entry for entry in dist.entry_points if entry.group == group]
            points = tuple((entry.name, entry.value) for entry in entries)
            if points:
                said = dist.metadata
                yield Installed(name=said["Name"], version=said["Version"], points=points)
        except Exception:  # somebody else's metadata, in any state
            log.info("unreadable metadata of a distribution", exc_info=True)


def _version_in_the_library(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
