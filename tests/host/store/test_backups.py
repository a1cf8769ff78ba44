"""Backups that verify, are found again, and never cost the original anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from instar_host.store.backups import (
    backup,
    daily_backup,
    newest_good_backup,
    restore,
    rotate_backups,
)
from instar_host.store.errors import BackupFailed
from instar_host.store.sqlite import Migration, open_reader, open_writer, write_transaction

OURS = 0x1257A001
DAY_MS = 86_400_000
START_MS = 1_767_571_200_000  # 2026-01-05
SCHEMA = Migration(title="rows", script="CREATE TABLE rows(n INTEGER PRIMARY KEY, w TEXT) STRICT")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def writer(path: Path) -> Iterator[apsw.Connection]:
    connection = opened(path)
    with write_transaction(connection):
        connection.executemany("INSERT INTO rows VALUES(?, 'x')", ((n,) for n in range(1_000)))
    yield connection
    connection.close()


def opened(path: Path) -> apsw.Connection:
    return open_writer(path, application_id=OURS, migrations=[SCHEMA], synchronous="NORMAL")


def rows(path: str | Path) -> object:
    reader = open_reader(path, application_id=OURS)
    try:
        return reader.execute("SELECT count(*) FROM rows").get
    finally:
        reader.close()


def test_a_backup_is_one_private_verified_file(writer: apsw.Connection, tmp_path: Path) -> None:
    """What is still in the log is in the copy; the copy has its ids and no log of its own."""
    backup(writer, tmp_path / "copy.db")
    assert rows(tmp_path / "copy.db") == 1_000
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert [name for name in os.listdir(tmp_path) if not name.startswith("store")] == ["copy.db"]


def test_a_reader_can_make_the_backup(writer: apsw.Connection, path: Path, tmp_path: Path) -> None:
    """A reader makes the copy while the writer goes on, and is a mere reader again afterwards."""
    reader = open_reader(path, application_id=OURS)
    with write_transaction(writer):
        writer.execute("DELETE FROM rows")
        backup(reader, tmp_path / "copy.db")
    assert rows(tmp_path / "copy.db") == 1_000
    assert reader.pragma("query_only") == 1
    reader.close()


def test_a_damaged_source_never_becomes_a_backup(
    writer: apsw.Connection, path: Path, tmp_path: Path
) -> None:
    """A copy that does not verify replaces nothing and stays nowhere."""
    backup(writer, tmp_path / "copy.db")
    writer.execute("CREATE TABLE checked(n INTEGER CHECK(n > 0)) STRICT")
    writer.execute("PRAGMA ignore_check_constraints=ON; INSERT INTO checked VALUES(-1)").fetchall()
    with pytest.raises(BackupFailed, match="does not verify"):
        backup(writer, tmp_path / "copy.db")
    assert rows(tmp_path / "copy.db") == 1_000
    assert not list(tmp_path.glob(".*"))


def test_a_leftover_log_at_the_destination_is_refused(
    writer: apsw.Connection, tmp_path: Path
) -> None:
    """A log beside the destination would be played into the copy by whoever opens it."""
    (tmp_path / "copy.db-wal").write_bytes(b"x")
    with pytest.raises(BackupFailed, match="taken for part"):
        backup(writer, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_what_a_crash_left_is_in_nobodys_way(writer: apsw.Connection, tmp_path: Path) -> None:
    """A draft of a backup that was cut off is replaced by the next one."""
    (tmp_path / ".copy.db.new").write_bytes(b"half")
    (tmp_path / ".copy.db.new-journal").write_bytes(b"half")
    backup(writer, tmp_path / "copy.db")
    assert rows(tmp_path / "copy.db") == 1_000
    assert not list(tmp_path.glob(".*"))


def test_one_backup_a_day_and_three_are_kept(writer: apsw.Connection, tmp_path: Path) -> None:
    """The second call of a day does nothing; a new day pushes out the oldest of four."""
    folder = tmp_path / "backups"
    for day in range(5):
        instant = START_MS + day * DAY_MS
        assert daily_backup(writer, folder, "store", instant) is not None
        assert daily_backup(writer, folder, "store", instant + DAY_MS - 1) is None
    assert sorted(os.listdir(folder)) == [f"store-2026-01-0{day}.db" for day in (7, 8, 9)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_clock_that_was_ahead_costs_no_backup(writer: apsw.Connection, tmp_path: Path) -> None:
    """T18: backups dated after today make way first; today's stays, and is made once."""
    folder = tmp_path / "backups"
    for day in range(3):
        daily_backup(writer, folder, "store", START_MS + (3_650 + day) * DAY_MS)
    for day in range(3):
        instant = START_MS + day * DAY_MS
        made = daily_backup(writer, folder, "store", instant)
        assert made is not None
        assert Path(made).exists()
        assert daily_backup(writer, folder, "store", instant) is None
    assert sorted(os.listdir(folder)) == [f"store-2026-01-0{day}.db" for day in (5, 6, 7)]


def test_rotation_touches_nothing_else(tmp_path: Path) -> None:
    """Files of another name, or of another database, are not backups of this one."""
    others = ["other-2026-01-01.db", "store-notes.db", "store-2026-01-01.db.bak", "x"]
    ours = [f"store-2026-01-0{day}.db" for day in range(1, 5)]
    for name in others + ours:
        (tmp_path / name).touch()
    rotate_backups(tmp_path, "store", keep=0)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, ours[-1]])
    assert rotate_backups(tmp_path / "nothing", "store") == []


def test_the_newest_good_backup_is_found(writer: apsw.Connection, tmp_path: Path) -> None:
    """D6: a backup that rotted, was emptied or is not ours is passed over for an older one."""
    folder = tmp_path / "backups"
    made = [daily_backup(writer, folder, "store", START_MS + n * DAY_MS, keep=9) for n in range(4)]
    names = [Path(name) for name in made if name]
    assert newest_good_backup(folder, "store", application_id=OURS) == str(names[3])
    names[3].write_bytes(b"")
    content = names[2].read_bytes()
    names[2].write_bytes(content[:4096] + bytes(len(content) - 4096))
    foreign = apsw.Connection(str(names[1]))
    foreign.pragma("application_id", 99)
    foreign.close()
    assert newest_good_backup(folder, "store", application_id=OURS) == str(names[0])
    names[0].unlink()
    assert newest_good_backup(folder, "store", application_id=OURS) is None


def test_a_restored_database_goes_on(writer: apsw.Connection, path: Path, tmp_path: Path) -> None:
    """Restored, it is a writer's database again: WAL, incremental, private; the backup stays."""
    backup(writer, tmp_path / "copy.db")
    writer.close()
    with pytest.raises(BackupFailed, match="still exists"):
        restore(tmp_path / "copy.db", path)
    path.unlink()
    restore(tmp_path / "copy.db", path)
    again = opened(path)
    assert again.execute("SELECT count(*) FROM rows").get == 1_000
    assert (again.pragma("journal_mode"), again.pragma("auto_vacuum")) == ("wal", 2)
    again.close()
    assert rows(tmp_path / "copy.db") == 1_000
