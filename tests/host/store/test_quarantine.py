"""Setting a damaged database aside: everything of it, privately, and not for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from instar_host.store.errors import MissingStore
from instar_host.store.quarantine import quarantine

NOW_MS = 1_767_571_200_000  # 2026-01-05


def damaged(path: Path, *suffixes: str) -> Path:
    for suffix in suffixes:
        path.with_name(path.name + suffix).write_bytes(b"damaged" + suffix.encode())
    return path


def test_database_and_log_move_together(tmp_path: Path) -> None:
    """Nothing of the old database is left where the new one will be; its bytes are unchanged."""
    path = damaged(tmp_path / "store.db", "", "-wal", "-shm")
    target = Path(quarantine(path, "Not a database!", NOW_MS))
    assert target.name == "20260105T000000.000Z-not-a-database"
    assert sorted(os.listdir(target)) == ["store.db", "store.db-shm", "store.db-wal"]
    assert (target / "store.db-wal").read_bytes() == b"damaged-wal"
    assert os.listdir(tmp_path) == ["quarantine"]
    assert (
        stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(target.parent.stat().st_mode) == 0o700
    )


def test_a_log_alone_is_set_aside_too(tmp_path: Path) -> None:
    """A move that was cut off after the database is finished by the next one."""
    path = damaged(tmp_path / "store.db", "-wal")
    assert os.listdir(quarantine(path, "empty", NOW_MS)) == ["store.db-wal"]


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    """Also within one millisecond no two share a directory, and the oldest go first."""
    kept = [
        quarantine(damaged(tmp_path / "store.db", ""), "corrupt", NOW_MS + extra)
        for extra in (0, 0, 0, 5_000)
    ]
    assert sorted(os.listdir(tmp_path / "quarantine")) == [os.path.basename(k) for k in kept[2:]]


def test_other_things_in_quarantine_stay(tmp_path: Path) -> None:
    """Another database's directories, and a person's own, are not ours to remove."""
    quarantine(damaged(tmp_path / "other.db", ""), "corrupt", NOW_MS)
    (tmp_path / "quarantine" / "notes").mkdir()
    for extra in range(4):
        quarantine(damaged(tmp_path / "store.db", ""), "corrupt", NOW_MS + 1 + extra, keep=1)
    assert len(os.listdir(tmp_path / "quarantine")) == 3


def test_nothing_to_set_aside_is_said(tmp_path: Path) -> None:
    """No directory appears for a database that is not there."""
    with pytest.raises(MissingStore):
        quarantine(tmp_path / "store.db", "corrupt", NOW_MS)
    assert os.listdir(tmp_path) == []
