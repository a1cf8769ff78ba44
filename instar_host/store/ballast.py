"""A few MiB kept beside a database, to be given up when its disk is full.

Rows cannot be deleted from a database on a full disk: that writes as well. So a file of bytes that
mean nothing lies beside it, and is removed to make the room in which old detail can be let go of.
It is kept only where the disk has several times as much room to spare, and losing it loses nothing.
"""

from __future__ import annotations

import contextlib
import os

from instar_host.store.files import write_new

SUFFIX = "-ballast"
BALLAST_BYTES = 4 << 20
SPARE_BYTES = 4 * BALLAST_BYTES


def keep(path: str) -> bool:
    """Have a ballast beside the database at `path`; false where there is too little room for one,
    or it cannot be written."""
    name = path + SUFFIX
    try:
        if os.stat(name, follow_symlinks=False).st_size == BALLAST_BYTES:
            return True
        os.unlink(name)  # half of one: the disk was full, or the power went
    except FileNotFoundError:
        pass
    except OSError:
        return False
    try:
        disk = os.statvfs(os.path.dirname(path) or ".")
        if disk.f_bavail * disk.f_frsize < SPARE_BYTES:
            return False
        write_new(name, os.urandom(BALLAST_BYTES))  # some file systems keep no zeros
    except OSError:
        give_up(path)
        return False
    return True


def give_up(path: str) -> bool:
    """Remove the ballast of the database at `path`; true when there was one."""
    with contextlib.suppress(OSError):
        os.unlink(path + SUFFIX)
        return True
    return False
