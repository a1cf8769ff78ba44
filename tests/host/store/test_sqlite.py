"""Opening databases: what appears, what is refused, what moves forward, what others see."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from instar_host.store import sqlite
from instar_host.store.diagnosis import classify
from instar_host.store.errors import (
    CorruptStore,
    ForeignDatabase,
    MissingStore,
    NetworkFilesystem,
    NewerSchema,
    StoreError,
    UnsafeFile,
)
from instar_host.store.sqlite import (
    Migration,
    close_writer,
    open_reader,
    open_writer,
    truncate_log,
    write_transaction,
)

OURS = 0x1257A001
FIRST = Migration(
    title="rows",
    script="CREATE TABLE rows(n INTEGER PRIMARY KEY, word TEXT) STRICT;"
    "CREATE INDEX by_word ON rows(word);",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server-data" / "store.db"


@pytest.fixture
def writer(path: Path) -> Iterator[apsw.Connection]:
    connection = opened(path)
    yield connection
    connection.close()


def opened(path: Path, *steps: Migration) -> apsw.Connection:
    return open_writer(path, application_id=OURS, migrations=[FIRST, *steps], synchronous="NORMAL")


def add(connection: apsw.Connection, count: int, start: int = 0) -> None:
    with write_transaction(connection):
        connection.executemany(
            "INSERT INTO rows VALUES(?, ?)", ((n, f"word {n}") for n in range(start, start + count))
        )


def prints(directory: Path) -> dict[str, str]:
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in directory.iterdir() if p.is_file()}


def theirs(path: Path, sql: str) -> None:
    """Make another program's database, its log not yet copied back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute(sql).fetchall()
    connection.close()


def test_a_new_database_is_private_and_complete(path: Path, writer: apsw.Connection) -> None:
    """C-21: modes 0600 below 0700, WAL, and auto_vacuum that really is incremental."""
    add(writer, 3)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert writer.pragma("auto_vacuum") == 2
    assert writer.pragma("journal_mode") == "wal"
    assert (writer.pragma("application_id"), writer.pragma("user_version")) == (OURS, 1)


def test_the_policy_is_in_force(path: Path, writer: apsw.Connection) -> None:
    """Each setting that a reader or writer must have is read back from SQLite itself."""
    reader = open_reader(path, application_id=OURS)
    both = {"foreign_keys": 1, "trusted_schema": 0, "cell_size_check": 1, "temp_store": 2}
    for connection in (writer, reader):
        assert {name: connection.pragma(name) for name in both} == both
        with pytest.raises(apsw.SQLError, match="no such column"):
            connection.execute('SELECT "typo"')
    assert (writer.pragma("synchronous"), writer.pragma("busy_timeout")) == (1, 5_000)
    assert (reader.pragma("query_only"), reader.pragma("busy_timeout")) == (1, 1_000)
    assert reader.pragma("wal_autocheckpoint") == 0
    assert writer.pragma("journal_size_limit") == 64 << 20
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM rows")
    reader.close()


def test_what_is_acknowledged_outward_is_synced_fully(path: Path) -> None:
    """`synchronous="FULL"` reaches the connection."""
    connection = open_writer(path, application_id=OURS, migrations=[FIRST], synchronous="FULL")
    assert connection.pragma("synchronous") == 2
    connection.close()


def test_a_database_that_others_could_read_is_closed_to_them(path: Path) -> None:
    """A file of ours that an older program left 0644 becomes 0600 at the next open."""
    opened(path).close()
    path.chmod(0o644)
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_migrations_run_once_and_in_order(path: Path) -> None:
    """Each step runs from the version before it, in one transaction with its version."""
    connection = opened(path)
    add(connection, 2)
    connection.close()
    ran: list[object] = []

    def count_rows(connection: apsw.Connection) -> None:
        ran.append(connection.execute("SELECT count(*) FROM rows").get)

    steps = [
        Migration(title="column", script="SELECT 1; ALTER TABLE rows ADD COLUMN extra INTEGER"),
        Migration(title="look", script=count_rows),
    ]
    for _ in range(2):
        connection = opened(path, *steps)
        assert connection.pragma("user_version") == 3
        connection.close()
    assert ran == [2]


def test_a_failing_migration_leaves_the_version_before_it(path: Path) -> None:
    """D17: a step that fails is undone whole; the ones before it stand, and it runs again later."""
    opened(path).close()
    good = Migration(title="good", script="CREATE TABLE other(x INTEGER) STRICT")
    bad = Migration(title="bad", script="CREATE TABLE half(x INTEGER); SELECT no_such_column")
    with pytest.raises(apsw.SQLError):
        opened(path, good, bad)
    connection = opened(path, good, Migration(title="mended", script="CREATE TABLE half(x)"))
    assert connection.pragma("user_version") == 3
    connection.close()


def test_a_creation_that_fails_leaves_no_database(path: Path) -> None:
    """A new database appears whole or not at all, whatever its first migration does."""
    with pytest.raises(apsw.SQLError):
        opened(path, Migration(title="bad", script="SELECT no_such_column"))
    assert not path.exists()
    opened(path).close()
    assert os.listdir(path.parent) == ["store.db"]


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)",
        "PRAGMA application_id=99; PRAGMA journal_mode=WAL; CREATE TABLE t(x)",
        "PRAGMA application_id=99; CREATE TABLE t(x)",
    ],
)
def test_a_foreign_database_is_refused_untouched(path: Path, sql: str) -> None:
    """D8: somebody else's database, log included, is byte for byte what it was."""
    theirs(path, sql)
    before = prints(path.parent)
    with pytest.raises(ForeignDatabase, match="left untouched"):
        opened(path)
    with pytest.raises(ForeignDatabase):
        open_reader(path, application_id=OURS)
    assert prints(path.parent) == before


def test_a_newer_database_is_read_but_not_written(path: Path) -> None:
    """D8: an older program refuses to write what a newer one made; a reader may look."""
    connection = opened(path, Migration(title="newer", script="CREATE TABLE newer(x)"))
    add(connection, 2)
    connection.close()
    before = prints(path.parent)["store.db"]
    with pytest.raises(NewerSchema, match="Upgrade"):
        opened(path)
    reader = open_reader(path, application_id=OURS)
    assert reader.execute("SELECT count(*) FROM rows").get == 2
    reader.close()
    assert prints(path.parent)["store.db"] == before


def test_a_newer_version_that_is_still_in_the_log_counts(path: Path) -> None:
    """The version is read through the log, not from a header that may be older."""
    opened(path).close()
    connection = opened(path, Migration(title="newer", script="CREATE TABLE newer(x)"))
    with pytest.raises(NewerSchema):
        opened(path)
    connection.close()


def test_an_emptied_file_is_never_taken_for_a_new_database(path: Path) -> None:
    """D7: zero length opens without an error in SQLite; here it is a loss that must be noticed."""
    path.parent.mkdir()
    path.touch()
    with pytest.raises(CorruptStore, match="zero length"):
        opened(path)


def test_a_missing_database_has_no_reader(path: Path) -> None:
    """A reader never makes a file."""
    with pytest.raises(MissingStore):
        open_reader(path, application_id=OURS)
    assert not path.parent.exists()


def test_a_linked_or_odd_database_is_refused(path: Path, tmp_path: Path) -> None:
    """A database is a regular file at its own name."""
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(UnsafeFile, match="symbolic link"):
        opened(path)
    assert not (tmp_path / "elsewhere.db").exists()
    path.unlink()
    path.mkdir()
    with pytest.raises(UnsafeFile, match="not a regular file"):
        opened(path)


def test_a_name_that_sqlite_cannot_open_is_said_so(tmp_path: Path) -> None:
    """T13: a state directory whose name is not UTF-8 gives a sentence, not a codec error."""
    with pytest.raises(StoreError, match="not UTF-8"):
        open_writer(
            os.fsencode(tmp_path) + b"/\xff/store.db",
            application_id=OURS,
            migrations=[FIRST],
            synchronous="NORMAL",
        )


def test_a_network_file_system_gets_no_shared_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What must not be lost is refused there; the ledger falls back to a rollback journal."""
    monkeypatch.setattr(sqlite, "is_network_filesystem", lambda path: True)
    with pytest.raises(NetworkFilesystem, match="local disk"):
        open_writer(path, application_id=OURS, migrations=[FIRST], synchronous="FULL")
    connection = opened(path)
    add(connection, 2)
    assert connection.pragma("journal_mode") == "delete"
    assert connection.pragma("locking_mode") == "exclusive"
    connection.close()
    assert os.listdir(path.parent) == ["store.db"]


def test_a_transaction_is_all_or_nothing(writer: apsw.Connection) -> None:
    """An exception in the block undoes all of it, and the next transaction works."""
    with pytest.raises(apsw.ConstraintError), write_transaction(writer):
        writer.execute("INSERT INTO rows VALUES(1, 'a'); INSERT INTO rows VALUES(1, 'b')")
    assert not writer.in_transaction
    add(writer, 1)
    assert writer.execute("SELECT count(*) FROM rows").get == 1


def test_a_held_lock_is_busy_and_nothing_more(path: Path, writer: apsw.Connection) -> None:
    """D10: while another holds the write lock a transaction fails as busy, then goes through."""
    other = opened(path)
    other.set_busy_timeout(0)
    with write_transaction(writer):
        with pytest.raises(apsw.BusyError) as error, write_transaction(other):
            pass
        assert classify(error.value) == "busy"
    add(other, 2)
    other.close()


def test_a_reader_sees_commits_and_stops_only_the_log_from_shrinking(
    path: Path, writer: apsw.Connection
) -> None:
    """D11: a cursor left open lets the log grow; once it is gone the log can be cut to nothing."""
    add(writer, 500)
    reader = open_reader(path, application_id=OURS)
    cursor = reader.execute("SELECT * FROM rows")
    next(cursor)
    add(writer, 500, start=500)
    writer.set_busy_timeout(0)
    assert truncate_log(writer) is False
    cursor.close()
    assert truncate_log(writer) is True
    assert path.with_name("store.db-wal").stat().st_size == 0
    assert reader.execute("SELECT count(*) FROM rows").get == 1000
    reader.close()


def test_a_closing_reader_leaves_the_log_to_the_writer(path: Path) -> None:
    """A reader that is the last to close does not checkpoint; the next writer finds all rows."""
    connection = opened(path)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    add(connection, 5)
    connection.close()
    size = path.with_name("store.db-wal").stat().st_size
    reader = open_reader(path, application_id=OURS)
    assert reader.execute("SELECT count(*) FROM rows").get == 5
    reader.close()
    assert path.with_name("store.db-wal").stat().st_size == size > 0
    connection = opened(path)
    assert connection.execute("SELECT count(*) FROM rows").get == 5
    close_writer(connection)
