"""What the log needs of the disk: append, sync, lock. The one seam where faults are injected.

Promises that a lock is held by the kernel on behalf of the open file, so it ends with the
process, and that waiting for it is bounded. Never follows a link at the last name, and creates
files 0600.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator

from instar_host.store.errors import UnsafeFile, shown
from instar_host.store.files import sync_directory
from instar_threadline.errors import LogBusy

LOCK_TRIES = 500
LOCK_PAUSE_S = 0.01
"""Together: how long a lock is waited for, about five seconds."""

_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Disk:
    """The machine's own disk."""

    def write(self, descriptor: int, data: bytes) -> None:
        """Append all of `data`. Raises OSError, and then some of it may stand in the file."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        """Overwrite in place. Raises OSError."""
        os.pwrite(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        """Return when the file's bytes and size survive a power cut. Raises OSError."""
        os.fdatasync(descriptor)


def open_private(path: str, *, append: bool) -> int:
    """Open or create a file of ours for reading and writing; 0600, tightened if it is ours and
    wider.

    Raises UnsafeFile for a link or anything but a regular file, and OSError.
    """
    flags = os.O_RDWR | _FLAGS | (os.O_APPEND if append else 0)
    created = False
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, 0o600)
        created = True
    except OSError as error:
        if os.path.islink(path):
            raise UnsafeFile("symlink", f"{shown(path)} is a link; it is not followed.") from error
        raise
    try:
        _make_private(descriptor, path)
        if created:
            sync_directory(os.path.dirname(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_to_share(path: str) -> int:
    """The lock file, to read where it may not be written; without one nobody has written yet, and
    its folder stands in for it.
    """
    try:
        return open_private(path, append=False)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
    try:
        return os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return os.open(os.path.dirname(path) or ".", os.O_RDONLY | _FLAGS)


def _make_private(descriptor: int, path: str) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFile("not-regular", f"{shown(path)} is not a regular file.")
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)


@contextlib.contextmanager
def locked(
    path: str, *, shared: bool = False, pause: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold the lock file `path`, across processes. Raises LogBusy when it is held for too long.

    A reader holds it where nothing may be written, too.
    """
    descriptor = _open_to_share(path) if shared else open_private(path, append=False)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        for attempt in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pause(min(LOCK_PAUSE_S, 0.0005 * (attempt + 1)))
        else:
            raise LogBusy(
                f"Another process has held {shown(path)} for about"
                f" {LOCK_TRIES * LOCK_PAUSE_S:.0f} s. It may be stopped; see who has it open"
                f" with: fuser {shown(path)}"
            )
        yield
    finally:
        os.close(descriptor)
