"""Which transcripts a folder holds: names only, no stat, and no file is ever opened.

Promises to stay beneath the root (a folder that is a link is none) and to say what it could not
see, so that a name that is missing from a whole listing means a file that has gone. A name is only
a name: whoever opens what it stands for makes sure that no link leads there.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Iterator

import msgspec

from instar_host.store.errors import UnsafeFile
from instar_tokenledger.usage import TokenSource

ENTRIES_A_SLICE = 100
"""How many directory entries are looked at between two calls of `pause`."""


class Listing(msgspec.Struct, kw_only=True):
    """What one folder holds of a source."""

    found: os.stat_result | None = None
    """Of the folder before it was listed; None where there was no telling."""

    files: list[bytes] = msgspec.field(default_factory=list)
    """Names of transcripts."""
    folders: list[bytes] = msgspec.field(default_factory=list)
    """Names of folders that may hold some."""
    links: int = 0
    """Entries left alone because they are links; what they lead to is none of ours to read."""
    gone: bool = False
    errors: list[str] = msgspec.field(default_factory=list)
    """Why some of it, or all of it, could not be seen."""

    @property
    def whole(self) -> bool:
        return not self.errors and not self.gone


class Found(msgspec.Struct, frozen=True, gc=False):
    """One transcript. `relative` is its path below `root`, both as bytes."""

    root: bytes
    relative: bytes

    @property
    def path(self) -> bytes:
        return os.path.join(self.root, self.relative)


def list_folder(
    source: TokenSource, root: bytes, relative: bytes, pause: Callable[[], None]
) -> Listing:
    """What lies in the folder `relative` (with its closing slash; empty: `root` itself, which may
    be a link), `root` ending in a slash too. Never raises OSError."""
    listing = Listing()
    path = (root + relative)[:-1] or b"/"
    try:
        listing.found = os.stat(path, follow_symlinks=not relative)
        if not modes.S_ISDIR(listing.found.st_mode):  # a link is no folder
            listing.gone = True
            return listing
        with os.scandir(path) as entries:
            _sort(source, entries, relative, listing, pause)
    except (FileNotFoundError, NotADirectoryError):
        listing.gone = True
    except OSError as error:
        listing.errors.append(error_name(error))
    return listing


class Walk:
    """Every transcript of one source below one root: iterate it."""

    def __init__(self, source: TokenSource, root: bytes, pause: Callable[[], None]) -> None:
        self._source = source
        self._root = root
        self._pause = pause

    def __iter__(self) -> Iterator[Found]:
        folders, root = [b""], os.path.join(self._root, b"")
        while folders:
            folder = folders.pop()
            listing = list_folder(self._source, root, folder, self._pause)
            folders += [folder + name + b"/" for name in listing.folders]
            for name in listing.files:
                yield Found(self._root, folder + name)


def error_name(error: Exception) -> str:
    """An error as it is counted: without the path."""
    if isinstance(error, UnsafeFile):
        return error.reason
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)


def _sort(
    source: TokenSource,
    entries: Iterator[os.DirEntry[bytes]],
    prefix: bytes,
    listing: Listing,
    pause: Callable[[], None],
) -> None:
    """Add to `listing` what matters of some entries. One loop: a first look meets every name."""
    selects, descends = source.selects, source.descends
    files, folders, left = listing.files, listing.folders, ENTRIES_A_SLICE
    for entry in entries:
        name = entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                if descends(prefix + name):
                    folders.append(name)
            elif entry.is_symlink():
                listing.links += selects(prefix + name) or descends(prefix + name)
            elif selects(prefix + name) and entry.is_file(follow_symlinks=False):
                files.append(name)
        except FileNotFoundError:
            pass  # it went this very moment
        except OSError as error:
            listing.errors.append(error_name(error))
        left -= 1
        if not left:
            left = ENTRIES_A_SLICE
            pause()
