"""Whether a path lies on a network or host-shared file system, where WAL is unsafe.

Promises an answer from the mount table alone; it never touches the file system it is asked about
(a dead NFS server would hang us). Without a mount table (not Linux) the answer is no.
"""

from __future__ import annotations

import os
import re

from instar_host.store.errors import AnyPath

_MOUNT_TABLE = b"/proc/self/mounts"
_SHARED_TYPES = frozenset(
    b"9p acfs afs afpfs beegfs ceph cifs coda davfs drvfs gfs2 gpfs grpcfuse lustre ncpfs nfs nfs4"
    b" ocfs2 osxfs prl_fs smb3 smbfs vboxsf vmhgfs".split()
)
_SHARED_FUSE = re.compile(
    rb"fuse\.(sshfs|s3fs|rclone|glusterfs|gcsfuse|cephfs|grpcfuse|osxfs|vmhgfs)"
)
_OCTAL = re.compile(rb"\\([0-7]{3})")


def is_network_filesystem(path: AnyPath, mounts: bytes | None = None) -> bool:
    """Say whether `path` (existing or not) is on a file system shared between machines.

    `mounts` is the text of a mount table (proc(5)), by default that of this process.
    """
    table = _mount_table() if mounts is None else mounts
    return _is_shared(_type_at(os.path.realpath(os.fsencode(path)), table))


def _mount_table() -> bytes:
    try:
        with open(_MOUNT_TABLE, "rb") as table:
            return table.read()
    except OSError:
        return b""


def _type_at(path: bytes, table: bytes) -> bytes:
    """Return the type of the mount that holds `path`: the longest prefix, the last one mounted."""
    longest, found = -1, b""
    for line in table.splitlines():
        fields = line.split(b" ")
        if len(fields) < 3:
            continue
        point = _OCTAL.sub(lambda octal: bytes([int(octal[1], 8) & 0xFF]), fields[1])
        inside = path == point or path.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= longest:
            longest, found = len(point), fields[2]
    return found


def _is_shared(kind: bytes) -> bool:
    return kind in _SHARED_TYPES or _SHARED_FUSE.fullmatch(kind) is not None
