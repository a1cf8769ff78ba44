"""Naming what is wrong: from the file as it lies there, and from the exception."""

from __future__ import annotations

import errno
import logging
import random
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from instar_host.store.diagnosis import Trouble, classify, damage, inspect
from instar_host.store.errors import (
    CorruptStore,
    ForeignDatabase,
    MissingStore,
    NewerSchema,
    ReadOnlyStore,
)
from instar_host.store.sqlite import Migration, open_reader, open_writer, write_transaction

OURS = 0x1257A001
SCHEMA = Migration(
    title="rows",
    script="CREATE TABLE rows(n INTEGER PRIMARY KEY, word TEXT) STRICT;"
    "CREATE INDEX by_word ON rows(word);",
)


def opened(path: Path, application_id: int = OURS) -> apsw.Connection:
    return open_writer(
        path, application_id=application_id, migrations=[SCHEMA], synchronous="NORMAL"
    )


def fill(connection: apsw.Connection, word: str = "word", count: int = 2_000) -> None:
    with write_transaction(connection):
        connection.executemany(
            "INSERT INTO rows VALUES(?, ?)", ((n, f"{word} {n:06d}") for n in range(count))
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed database of ours with 2,000 rows, its log copied back."""
    path = tmp_path / "store.db"
    connection = opened(path)
    fill(connection)
    connection.close()
    return path


def state_of(path: Path) -> str:
    return inspect(path, application_id=OURS, user_version=1).state


def overwritten(content: bytes, at: int, data: bytes) -> bytes:
    return content[:at] + data + content[at + len(data) :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "zeroed header": lambda content: overwritten(content, 0, bytes(100)),
    "garbage": lambda content: random.Random(1).randbytes(len(content)),
    "text": lambda content: b"dear diary\n" * 50,
    "a few bytes": lambda content: content[:60],
    "a random page": lambda content: overwritten(
        content, 4096 * 4, random.Random(2).randbytes(4096)
    ),
    "half the file": lambda content: content[: len(content) // 8192 * 4096],
    "zero length": lambda content: b"",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_noticed_at_open(path: Path, name: str) -> None:
    """D6: whatever of this happened to the file, opening it says that it is damaged."""
    path.write_bytes(DAMAGES[name](path.read_bytes()))
    with pytest.raises(CorruptStore) as error:
        opened(path)
    assert classify(error.value) == "corrupt"


def test_a_changed_value_is_found_by_the_full_check(path: Path) -> None:
    """D6: one byte in an indexed value passes the quick check at open, not the daily full one."""
    content = path.read_bytes()
    path.write_bytes(overwritten(content, content.index(b"word 001000"), b"W"))
    connection = opened(path)
    assert damage(connection) == ""
    assert "by_word" in damage(connection, full=True)
    connection.close()


def test_the_sentence_about_a_damage_is_one_line_and_the_log_has_all(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite's whole report, ten lines of pages, stood in the middle of the sentence."""
    path.write_bytes(overwritten(path.read_bytes(), 4096 * 2, bytes(4096)))
    caplog.set_level(logging.INFO, logger="instar.store")

    with pytest.raises(CorruptStore) as refused:
        opened(path)

    assert str(refused.value) == (
        f"{path} is damaged (Tree 3 page 3: btreeInitPage() returns error code 11). "
        "Set it aside and restore the newest backup."
    )
    assert "Page 5: never used" in caplog.text


def test_flipped_bits_never_surprise(path: Path) -> None:
    """D6: any bit of the header, or 400 others, flipped: it opens or is refused by name."""
    content = path.read_bytes()
    chance = random.Random(20_26)
    header = [(at, bit) for at in range(100) for bit in range(8)]
    rest = [(chance.randrange(len(content)), chance.randrange(8)) for _ in range(400)]
    for at, bit in header + rest:
        path.write_bytes(overwritten(content, at, bytes([content[at] ^ 1 << bit])))
        try:
            connection = opened(path)
        except (CorruptStore, ForeignDatabase, NewerSchema):
            continue
        damage(connection, full=True)
        connection.close()


@pytest.mark.parametrize("content", [b"", None])
def test_a_log_without_its_database_is_a_loss(path: Path, content: bytes | None) -> None:
    """D7: the database gone or emptied with its log still there is not a new beginning."""
    connection = opened(path)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("DELETE FROM rows WHERE n < 10")
    connection.close()
    log = path.with_name("store.db-wal")
    before = log.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    assert state_of(path) == "empty"
    with pytest.raises(CorruptStore):
        opened(path)
    assert log.read_bytes() == before != b""


def test_a_garbled_index_of_the_log_is_rebuilt(path: Path) -> None:
    """D7: the -shm file is only an index; garbage in it after a crash changes nothing."""
    connection = opened(path)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("DELETE FROM rows WHERE n < 10")
    connection.close()
    path.with_name("store.db-shm").write_bytes(random.Random(3).randbytes(32_768))
    connection = opened(path)
    assert connection.execute("SELECT count(*) FROM rows").get == 1_990
    connection.close()


def test_the_log_of_another_database_is_not_served(path: Path, tmp_path: Path) -> None:
    """D7: a log left by somebody else's database beside ours is damage, not data."""
    other = tmp_path / "other.db"
    connection = opened(other, application_id=99)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    fill(connection, "alien")
    connection.pragma("user_version", 1)
    connection.close()
    other.with_name("other.db-wal").rename(path.with_name("store.db-wal"))
    assert state_of(path) == "corrupt"
    with pytest.raises(CorruptStore):
        open_reader(path, application_id=OURS)


def test_a_healthy_database_is_ours(path: Path, tmp_path: Path) -> None:
    """The states of nothing, ours and newer, with what was found in the file."""
    found = inspect(path, application_id=OURS, user_version=1)
    assert (found.state, found.application_id, found.user_version) == ("ours", OURS, 1)
    assert inspect(path, application_id=OURS, user_version=0).state == "newer"
    assert state_of(tmp_path / "nothing" / "at.db") == "missing"


def test_a_blank_database_is_empty(tmp_path: Path) -> None:
    """A database without ids and without a table holds nothing of anybody's."""
    connection = apsw.Connection(str(tmp_path / "blank.db"))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.close()
    assert state_of(tmp_path / "blank.db") == "empty"


def test_looking_drops_nobodys_locks(path: Path) -> None:
    """Inspecting a database that this process has locked leaves the lock where it is.

    A plain open and close of the file would drop it: locks belong to the process and the file.
    """
    ours = opened(path)
    with write_transaction(ours):
        assert state_of(path) == "ours"
        locked = apsw.Connection(str(path))
        with pytest.raises(apsw.BusyError):
            locked.execute("BEGIN IMMEDIATE")
        locked.close()
    ours.close()


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (apsw.CorruptError(), "corrupt"),
        (apsw.NotADBError(), "not-a-database"),
        (apsw.FullError(), "full"),
        (apsw.BusyError(), "busy"),
        (apsw.LockedError(), "busy"),
        (apsw.IOError(), "io"),
        (apsw.CantOpenError(), "cant-open"),
        (apsw.ReadOnlyError(), "read-only"),
        (apsw.SQLError(), "other"),
        (CorruptStore(), "corrupt"),
        (MissingStore(), "cant-open"),
        (ReadOnlyStore(), "read-only"),
        (OSError(errno.ENOSPC, ""), "full"),
        (OSError(errno.EDQUOT, ""), "full"),
        (OSError(errno.EFBIG, ""), "full"),
        (OSError(errno.EROFS, ""), "read-only"),
        (OSError(errno.EMFILE, ""), "cant-open"),
        (PermissionError(errno.EACCES, ""), "cant-open"),
        (OSError(errno.EIO, ""), "io"),
        (OSError(errno.EINTR, ""), "other"),
        (ValueError(), "other"),
    ],
)
def test_every_trouble_has_one_name(error: Exception, trouble: Trouble) -> None:
    """D4: only damage to the content is a reason to set a database aside."""
    assert classify(error) == trouble
