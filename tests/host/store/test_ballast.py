"""The bytes that are kept to be given up when a disk is full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from instar_host.store import ballast


def test_it_is_made_once_and_given_up_once(tmp_path: Path) -> None:
    """A private file of 4 MiB that is left alone while it is whole."""
    path = str(tmp_path / "kept.db")
    assert ballast.keep(path)
    made = os.stat(path + ballast.SUFFIX)
    assert (made.st_size, made.st_mode & 0o777) == (ballast.BALLAST_BYTES, 0o600)
    assert made.st_blocks * 512 >= ballast.BALLAST_BYTES
    assert ballast.keep(path)
    assert os.stat(path + ballast.SUFFIX).st_mtime_ns == made.st_mtime_ns
    assert ballast.give_up(path)
    assert not ballast.give_up(path)


def test_half_of_one_is_made_anew(tmp_path: Path) -> None:
    """What a full disk or a power cut left of it is no ballast."""
    path = str(tmp_path / "kept.db")
    Path(path + ballast.SUFFIX).write_bytes(b"half")
    assert ballast.keep(path)
    assert os.path.getsize(path + ballast.SUFFIX) == ballast.BALLAST_BYTES


def test_where_there_is_little_room_none_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with less than four times as much to spare keeps its room for better things."""
    path = str(tmp_path / "kept.db")
    disk = os.statvfs(tmp_path)
    left = (ballast.SPARE_BYTES - 1) // disk.f_frsize
    small = os.statvfs_result((*disk[:4], left, *disk[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: small)
    assert not ballast.keep(path)
    assert os.listdir(tmp_path) == []


def test_where_nothing_can_be_written_none_is_kept(tmp_path: Path) -> None:
    """A folder that is not there is no error: a ballast is only ever a help."""
    assert not ballast.keep(str(tmp_path / "nowhere" / "kept.db"))
    (tmp_path / "kept.db-ballast").mkdir()
    assert not ballast.keep(str(tmp_path / "kept.db"))
