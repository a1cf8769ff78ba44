"""When the check of a database may be left out, and that everything else means a check."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from instar_host.store import soundness
from instar_host.store.sqlite import Migration, close_writer, open_writer

NOW_MS = 1_767_225_600_000
TABLE = Migration(title="a table", script="CREATE TABLE kept (n INTEGER PRIMARY KEY) STRICT")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that was written, checked, and closed in order."""
    database = tmp_path / "kept.db"
    connection = opened(database)
    soundness.checked(str(database), schema=1, now_ms=NOW_MS)
    connection.execute("INSERT INTO kept VALUES (1)")
    close_writer(connection)
    soundness.closed(str(database))
    return database


def opened(path: Path) -> apsw.Connection:
    return open_writer(path, application_id=7, migrations=[TABLE], synchronous="NORMAL")


def is_sound(path: Path, *, schema: int = 1, now_ms: int = NOW_MS) -> bool:
    return soundness.is_sound(str(path), schema=schema, now_ms=now_ms)


def write_within_the_tick(path: Path) -> None:
    """A changed byte at the very time that the file system told when the database was closed."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    tick_ns = before.st_mtime_ns - 1
    os.utime(path, ns=(tick_ns, tick_ns))


def replace_by_its_copy(path: Path) -> None:
    before = path.stat()
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(copy, path)


def link_the_note(path: Path) -> None:
    note = Path(str(path) + soundness.SUFFIX)
    note.rename(note.with_suffix(".elsewhere"))
    note.symlink_to(note.with_suffix(".elsewhere"))


def test_what_was_closed_in_order_today_is_sound(path: Path) -> None:
    """No check within the day, however often it is opened and closed meanwhile."""
    for n in range(2, 5):
        assert is_sound(path, now_ms=NOW_MS + soundness.CHECK_EVERY_MS - 1)
        connection = opened(path)
        connection.execute("INSERT INTO kept VALUES (?)", (n,))
        close_writer(connection)
        assert not is_sound(path)
        soundness.closed(str(path))
    assert is_sound(path)


def test_a_look_leaves_the_note_as_it_is(path: Path) -> None:
    """Nothing is written where nothing has changed."""
    note = Path(str(path) + soundness.SUFFIX)
    before = note.stat(), path.stat()
    close_writer(opened(path))
    soundness.closed(str(path))
    assert (note.stat().st_mtime_ns, path.stat().st_mtime_ns) == tuple(
        found.st_mtime_ns for found in before
    )


@pytest.mark.parametrize(
    "change",
    [
        write_within_the_tick,
        replace_by_its_copy,
        link_the_note,
        lambda path: os.truncate(path, 4096),
        lambda path: Path(f"{path}-wal").write_bytes(b"log"),
        lambda path: Path(f"{path}-journal").write_bytes(b""),
        lambda path: Path(str(path) + soundness.SUFFIX).write_bytes(b""),
        lambda path: Path(str(path) + soundness.SUFFIX).write_bytes(b'{"checked_at_ms":"\xff"}'),
        lambda path: Path(str(path) + soundness.SUFFIX).unlink(),
        os.unlink,
    ],
    ids=["tick", "copy", "link", "cut", "log", "journal", "blank", "bad", "no note", "missing"],
)
def test_anything_else_means_a_check(path: Path, change: Callable[[Path], object]) -> None:
    """D6, D7: a database that somebody may have touched since is not taken for sound."""
    assert is_sound(path)
    change(path)
    assert not is_sound(path)


@pytest.mark.parametrize("late_ms", [soundness.CHECK_EVERY_MS, -1])
def test_a_check_holds_for_a_day(path: Path, late_ms: int) -> None:
    """Decay on the disk is found within a day, also when the clock is set back."""
    assert not is_sound(path, now_ms=NOW_MS + late_ms)


def test_a_new_schema_means_a_check(path: Path) -> None:
    """The first opening by another version checks."""
    assert not is_sound(path, schema=2)


def test_an_unclean_end_means_a_check(path: Path) -> None:
    """D1: who was killed while it wrote vouches for nothing."""
    connection = opened(path)
    connection.execute("INSERT INTO kept VALUES (2)")
    assert not is_sound(path)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert not is_sound(path)
    connection.close()
    assert not is_sound(path)


def test_a_log_that_a_reader_keeps_is_not_vouched_for(path: Path) -> None:
    """What has not reached the database when it is closed is not part of what was vouched for."""
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    cursor = reader.execute("SELECT n FROM kept")
    next(cursor)
    connection = opened(path)
    connection.execute("INSERT INTO kept VALUES (2)")
    close_writer(connection)
    soundness.closed(str(path))
    assert not is_sound(path)
    cursor.close()
    reader.close()


def test_a_doubt_outlives_the_one_who_has_it_open(path: Path) -> None:
    """Damage that a reader met is looked for at the next opening, in whatever order they close."""
    connection = opened(path)
    soundness.doubted(str(path))
    close_writer(connection)
    soundness.closed(str(path))
    assert not is_sound(path)
    assert soundness.is_doubted(str(path))
    soundness.checked(str(path), schema=1, now_ms=NOW_MS)
    assert not soundness.is_doubted(str(path))


def test_a_note_that_cannot_be_written_is_no_trouble(path: Path) -> None:
    """A folder in the note's place costs a check at each opening and nothing more."""
    note = Path(str(path) + soundness.SUFFIX)
    note.unlink()
    note.mkdir()
    soundness.checked(str(path), schema=1, now_ms=NOW_MS)
    soundness.closed(str(path))
    assert not is_sound(path)
