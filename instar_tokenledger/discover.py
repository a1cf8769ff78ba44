"""Which transcripts a folder holds: names only, no stat, and no file is ever opened.

Promises to stay beneath the root (no link is followed) and to say what it could not see, so that
a name that is missing from a whole listing means a file that has gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import msgspec

from instar_host.store.errors import UnsafeFile
from instar_host.store.files import Root
from instar_tokenledger.usage import TokenSource

ENTRIES_A_SLICE = 100
"""How many directory entries are looked at between two calls of `pause`."""
_ENCODING, _HOW = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""What `os.fsencode` asks for anew each time."""


class Listing(msgspec.Struct, kw_only=True):
    """What one folder holds of a source."""

    found: os.stat_result | None = None
    """Of the very folder that was listed, before it was; None where it could not be opened."""

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
        return self.root + b"/" + self.relative


def list_folder(
    source: TokenSource, root: Root, relative: bytes, pause: Callable[[], None]
) -> Listing:
    """What lies in the folder `relative` (empty: the root itself). Never raises OSError."""
    listing = Listing()
    try:
        descriptor, listing.found = root.directory(relative)
    except (FileNotFoundError, NotADirectoryError, UnsafeFile):  # a link is no folder
        listing.gone = True
        return listing
    except OSError as error:
        listing.errors.append(error_name(error))
        return listing
    prefix = relative + b"/" if relative else b""
    try:
        with os.scandir(descriptor) as entries:
            for number, entry in enumerate(entries, 1):
                if number % ENTRIES_A_SLICE == 0:
                    pause()
                _sort_in(source, entry, prefix, listing)
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
        try:
            root = Root(self._root)
        except OSError:
            return
        with root:
            folders = [b""]
            while folders:
                folder = folders.pop()
                prefix = folder + b"/" if folder else b""
                listing = list_folder(self._source, root, folder, self._pause)
                folders += [prefix + name for name in listing.folders]
                for name in listing.files:
                    yield Found(self._root, prefix + name)


def error_name(error: Exception) -> str:
    """An error as it is counted: without the path."""
    if isinstance(error, UnsafeFile):
        return error.reason
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)


def _sort_in(source: TokenSource, entry: os.DirEntry[str], prefix: bytes, listing: Listing) -> None:
    name = entry.name.encode(_ENCODING, _HOW)
    try:
        if entry.is_dir(follow_symlinks=False):
            if source.descends(prefix + name):
                listing.folders.append(name)
        elif entry.is_symlink():
            listing.links += source.selects(prefix + name) or source.descends(prefix + name)
        elif source.selects(prefix + name) and entry.is_file(follow_symlinks=False):
            listing.files.append(name)
    except FileNotFoundError:
        return
    except OSError as error:
        listing.errors.append(error_name(error))
