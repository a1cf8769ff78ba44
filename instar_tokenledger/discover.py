"""Which transcripts there are: a walk that reads names and stats, and opens no file.

Promises to stay beneath the root (no link is followed), to go on where a folder cannot be read,
and to say whether it saw everything. An unchanged file costs one stat.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import msgspec

from instar_host.store.errors import UnsafeFile
from instar_host.store.files import Root
from instar_tokenledger.usage import TokenSource

ENTRIES_A_SLICE = 500
"""How many directory entries are looked at between two calls of `pause`."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """One transcript as a stat shows it. `relative` is its path below `root`, both as bytes."""

    root: bytes
    relative: bytes
    size: int
    mtime_ns: int
    fingerprint: tuple[int, int, int, int]
    """(dev, inode, size, ctime in ns), comparable with the mark of the same path."""

    @property
    def path(self) -> bytes:
        return self.root + b"/" + self.relative


class Walk:
    """One walk over one root of one source: iterate it, then ask how it went."""

    def __init__(self, source: TokenSource, root: bytes, pause: Callable[[], None]) -> None:
        self.source = source
        self.root = root
        self.exists = False
        self.unreadable: dict[str, int] = {}
        """Folders and files that could not be looked at, by the error's name."""
        self._pause = pause
        self._entries = 0

    @property
    def complete(self) -> bool:
        """True when every folder was read: only then does a missing file mean a deleted one."""
        return self.exists and not self.unreadable

    def __iter__(self) -> Iterator[Found]:
        try:
            root = Root(self.root)
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed(error)
            return
        with root:
            self.exists = True
            folders = [b""]
            while folders:
                yield from self._folder(root, folders.pop(), folders)

    def _folder(self, root: Root, folder: bytes, folders: list[bytes]) -> Iterator[Found]:
        prefix = folder + b"/" if folder else b""
        try:
            descriptor = root.open_directory(folder)
        except FileNotFoundError:
            return  # gone between its listing and now
        except (OSError, UnsafeFile) as error:
            self._failed(error)
            return
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    self._entries += 1
                    if self._entries % ENTRIES_A_SLICE == 0:
                        self._pause()
                    relative = prefix + os.fsencode(entry.name)
                    found = self._entry(entry, relative, folders)
                    if found is not None:
                        yield found
        except OSError as error:
            self._failed(error)
        finally:
            os.close(descriptor)

    def _entry(
        self, entry: os.DirEntry[str], relative: bytes, folders: list[bytes]
    ) -> Found | None:
        try:
            if entry.is_dir(follow_symlinks=False):
                if self.source.descends(relative):
                    folders.append(relative)
                return None
            if not self.source.selects(relative) or not entry.is_file(follow_symlinks=False):
                return None
            stat = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._failed(error)
            return None
        return Found(self.root, relative, stat.st_size, stat.st_mtime_ns, fingerprint(stat))

    def _failed(self, error: Exception) -> None:
        name = (
            os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        )
        self.unreadable[name] = self.unreadable.get(name, 0) + 1


def fingerprint(stat: os.stat_result) -> tuple[int, int, int, int]:
    """What tells an unchanged file: (dev, inode, size, ctime in ns)."""
    signed_63 = (1 << 63) - 1
    return (stat.st_dev & signed_63, stat.st_ino & signed_63, stat.st_size, stat.st_ctime_ns)
