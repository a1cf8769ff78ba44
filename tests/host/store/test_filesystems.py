"""Telling a shared file system from a local one by the mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from instar_host.store.filesystems import is_network_filesystem

MOUNTS = rb"""/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/local xfs rw 0 0
//server/x /mnt/with\040space cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
drvfs /mnt/c 9p rw 0 0
/dev/sdb1 /mnt/usb fuseblk rw 0 0
overlay /over overlay rw 0 0
/dev/vdc /over xfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/var/lib/x.db", False),
        ("/home/me/x.db", True),
        ("/home", True),
        ("/homestead/x.db", False),
        ("/home/local/x.db", False),
        ("/mnt/with space/x.db", True),
        ("/mnt/ssh/x.db", True),
        ("/mnt/c/Users/x.db", True),
        ("/mnt/usb/x.db", False),
        ("/over/x.db", False),
    ],
)
def test_the_deepest_mount_decides(path: str, shared: bool) -> None:
    """The longest mount point that holds the path counts, and of two on one point the later."""
    assert is_network_filesystem(path, MOUNTS) is shared


def test_no_mount_table_means_local(tmp_path: Path) -> None:
    """Where the system does not tell, nothing is refused."""
    assert is_network_filesystem(tmp_path, b"") is False


def test_a_link_to_a_share_is_the_share(tmp_path: Path) -> None:
    """The path is resolved first: a link from a local home leads to the share."""
    (tmp_path / "link").symlink_to("/home/me")
    assert is_network_filesystem(tmp_path / "link" / "x.db", MOUNTS) is True


def test_this_machine_answers(tmp_path: Path) -> None:
    """The real table of this process is read without an error."""
    assert is_network_filesystem(tmp_path) in (True, False)
