"""Whatever lies at the ledger's path: nothing, ours, damaged, newer or somebody else's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from instar_host.store import soundness
from instar_host.store.errors import (
    ForeignDatabase,
    NewerSchema,
    StoreError,
    UnsafeFile,
)
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.opening import backup_folder, open_ledger
from instar_tokenledger.schema import APPLICATION_ID, MIGRATIONS
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said, with_backups, written
from tests.tokenledger.recounting import recounted, rollups_of

DAY_S = 86_400


def contents(folder: str) -> dict[str, str]:
    """Every file of a folder by its hash."""
    return {
        name: sha256(Path(folder, name).read_bytes()).hexdigest()
        for name in sorted(os.listdir(folder))
    }


def trouble(home: LedgerHome) -> str | None:
    return home.service.health.trouble


def stored(home: LedgerHome, sql: str) -> object:
    with home.reading() as reading:
        return reading.connection.execute(sql).fetchall()[0][0]


def test_a_new_ledger_is_private_and_marked(home: LedgerHome) -> None:
    """C-34, C-21: 0600 in a folder 0700, our application id, and space that can be given back."""
    written(home)
    assert stat.S_IMODE(os.stat(home.database).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(home.database)).st_mode) == 0o700
    assert stored(home, "PRAGMA application_id") == APPLICATION_ID
    assert stored(home, "PRAGMA user_version") == len(MIGRATIONS)
    assert stored(home, "PRAGMA auto_vacuum") == 2
    assert stored(home, "PRAGMA journal_mode") == "wal"


def test_every_table_is_strict(home: LedgerHome) -> None:
    """C-22: nothing can be stored as another type than its column's."""
    written(home)
    loose = "SELECT count(*) FROM pragma_table_list WHERE type = 'table' AND NOT strict"
    assert stored(home, f"{loose} AND name NOT LIKE 'sqlite_%'") == 0


def test_a_foreign_database_is_refused_untouched(home: LedgerHome) -> None:
    """D8: somebody's database at our path stays as it is, byte for byte."""
    folder = os.path.dirname(home.database)
    os.makedirs(folder, mode=0o700)
    connection = apsw.Connection(home.database)
    connection.execute("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup')")
    connection.close()
    before = contents(folder)
    for _ in range(2):
        with pytest.raises(ForeignDatabase):
            home.scan()
    with pytest.raises(ForeignDatabase), home.reading():
        pass
    assert contents(folder) == before


def test_a_newer_ledger_is_read_and_not_written(home: LedgerHome) -> None:
    """D8: what a later version wrote is answered from, and never changed."""
    written(home)
    connection = apsw.Connection(home.database)
    connection.pragma("user_version", 1000)
    connection.close()
    with pytest.raises(NewerSchema):
        home.scan()
    assert home.summary()["eventCount"] == 2
    assert stored(home, "PRAGMA user_version") == 1000


def test_a_ledger_of_the_first_schema_moves_forward(home: LedgerHome) -> None:
    """D17: every released schema is brought up to date with its rows."""
    for version in range(1, len(MIGRATIONS) + 1):
        os.makedirs(os.path.dirname(home.database), mode=0o700, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            Path(home.database + suffix).unlink(missing_ok=True)
        connection = apsw.Connection(home.database)
        for step in MIGRATIONS[:version]:
            if isinstance(step.script, str):
                connection.execute(step.script)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", version)
        connection.close()
        home.write(SESSION, said("m1", "r1"))
        home.scan()
        assert stored(home, "PRAGMA user_version") == len(MIGRATIONS)
        assert home.summary()["eventCount"] == 1
        home.service.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not a database at all" * 400,
        lambda data: data[: len(data) // 2],
        lambda data: b"\0" * 100 + data[100:],
        lambda data: data[:4096] + b"\xff" * 4096 + data[8192:],
    ],
    ids=["empty", "text", "half", "no header", "bad page"],
)
def test_a_damaged_ledger_is_set_aside_and_read_again(
    home: LedgerHome, damage: Callable[[bytes], bytes]
) -> None:
    """D6, D7: damage is never served; the wreck is kept, and the transcripts give the truth."""
    written(home)
    database = Path(home.database)
    database.write_bytes(damage(database.read_bytes()))
    wreck = database.read_bytes()
    home.scan()
    home.assert_true()
    assert rollups_of(home) == recounted(home)
    (aside,) = (database.parent / "quarantine").iterdir()
    assert (aside / database.name).read_bytes() == wreck
    assert home.service.health.notes


def test_a_damaged_ledger_comes_back_from_its_backup(home: LedgerHome) -> None:
    """D6: what deleted transcripts left is restored from the newest good backup."""
    home = with_backups(home)
    path = home.write(SESSION, said("m1", "r1"))
    home.scan()
    path.unlink()
    clock_of(home).advance(DAY_S)
    home.write("projects/a/late.jsonl", said("m2", "r2"))
    home.scan()
    home.service.close()
    Path(home.database).write_bytes(b"wreck" * 1000)
    home.scan()
    assert home.tokens() == (20, 1800)
    assert "was restored" in " ".join(home.service.health.notes)


def test_a_bad_backup_is_passed_over(home: LedgerHome) -> None:
    """D6: the newest backup that passes its check is restored, not the newest file."""
    home = with_backups(home)
    home.write(SESSION, said("m1", "r1"))
    home.scan()
    clock_of(home).advance(DAY_S)
    home.scan()
    clock_of(home).advance(DAY_S)
    home.append(SESSION, said("m2", "r2"))
    home.scan()
    newest = max(Path(backup_folder(home.state_dir)).iterdir())
    newest.write_bytes(b"wreck" * 1000)
    (home.claude / SESSION).unlink()
    home.service.close()
    Path(home.database).write_bytes(b"wreck" * 1000)
    home.scan()
    assert home.tokens() == (10, 900)


def test_three_days_of_backups_are_kept(home: LedgerHome) -> None:
    """A verified backup a day, the oldest beyond three removed, none while one is there."""
    home = with_backups(home)
    home.write(SESSION, said("m1", "r1"))
    for _ in range(5):
        home.scan()
        home.scan()
        clock_of(home).advance(DAY_S)
    names = sorted(os.listdir(backup_folder(home.state_dir)))
    assert names == [f"token-ledger-2026-01-0{day}.db" for day in (3, 4, 5)]


def test_a_ledger_that_began_today_is_backed_up_from_tomorrow_on(home: LedgerHome) -> None:
    """What was read a minute ago can be read again; whoever finds rows there backs them up."""
    home = with_backups(home)
    home.write(SESSION, said("m1", "r1"))
    home.scan()
    assert not os.path.exists(backup_folder(home.state_dir))
    home.restart()
    home.scan()
    assert os.listdir(backup_folder(home.state_dir)) == ["token-ledger-2026-01-01.db"]


def test_a_ledger_is_checked_once_a_day(home: LedgerHome) -> None:
    """The next scan does without reading the whole file again; that of the next day does not."""
    home.write(SESSION, said("m1", "r1"))

    def sound() -> bool:
        home.scan()
        home.service.close()
        now_ms = clock_of(home).now_ms()
        return soundness.is_sound(home.database, schema=len(MIGRATIONS), now_ms=now_ms)

    assert sound()
    clock_of(home).advance(DAY_S - 1)
    assert sound()
    clock_of(home).advance(1)
    now_ms = clock_of(home).now_ms()
    assert not soundness.is_sound(home.database, schema=len(MIGRATIONS), now_ms=now_ms)
    assert sound()


def test_a_log_whose_database_is_missing(home: LedgerHome) -> None:
    """D7: a write-ahead log without its database is set aside, and the ledger begins anew."""
    written(home)
    os.unlink(home.database)
    Path(home.database + "-wal").write_bytes(b"\x37\x7f\x06\x82" + b"\0" * 4000)
    home.scan()
    home.assert_true()


def test_a_stale_log_of_another_database(home: LedgerHome) -> None:
    """D7: a log whose salts do not fit is not played into the ledger."""
    written(home)
    Path(home.database + "-wal").write_bytes(b"\x37\x7f\x06\x82\x00\x2d\xe2\x18" + os.urandom(9000))
    Path(home.database + "-shm").write_bytes(os.urandom(32768))
    home.scan()
    home.assert_true()


def test_a_link_at_the_ledgers_path_is_refused(home: LedgerHome) -> None:
    """Nothing is written through a link that somebody left there."""
    os.makedirs(os.path.dirname(home.database), mode=0o700)
    target = home.claude / "target.db"
    os.symlink(target, home.database)
    with pytest.raises((UnsafeFile, StoreError)):
        home.scan()
    assert not target.exists()


def test_another_process_that_writes_makes_us_wait_and_lose_nothing(home: LedgerHome) -> None:
    """D10: while somebody holds the write lock a step fails whole; the next one has everything."""
    written(home)
    other = apsw.Connection(home.database)
    other.execute("BEGIN IMMEDIATE")
    home.append(SESSION, said("m3", "r3"))
    connection, _ = open_ledger(home.state_dir, clock_of(home))
    connection.set_busy_timeout(1)
    ledger = Ledger(connection)
    with pytest.raises(apsw.BusyError):
        ledger.forget_marks()
    ledger.close()
    assert home.summary()["eventCount"] == 2
    other.execute("COMMIT")
    other.close()
    home.scan()
    home.assert_true()


def test_a_deleted_ledger_is_rebuilt_from_the_transcripts(home: LedgerHome) -> None:
    """D15: a ledger made from nothing answers as the one that grew step by step."""
    home.write(SESSION, said("m1", "r1", output=1))
    home.scan()
    home.append(SESSION, said("m1", "r1"), said("m2", "r2"))
    home.scan()
    before = home.answers()
    home.service.close()
    os.unlink(home.database)
    home.scan()
    assert home.answers() == before


def test_a_failure_is_not_for_good(home: LedgerHome) -> None:
    """C-HT-00: a ledger that could not be opened once is opened at the next try."""
    folder = os.path.dirname(home.database)
    os.makedirs(folder, mode=0o700)
    os.mkdir(home.database)
    home.write(SESSION, said())
    with pytest.raises((apsw.Error, OSError, StoreError)):
        home.scan()
    assert trouble(home)
    os.rmdir(home.database)
    home.scan()
    assert trouble(home) is None
    assert home.tokens() == (10, 900)


def test_a_missing_ledger_comes_back_from_its_backup(home: LedgerHome) -> None:
    """A crash between setting a ledger aside and restoring it, or a slip of the hand: what only
    the backup still knows is not lost, a log left behind spoils nothing, and a note says so."""
    written(home)
    backup = os.path.join(backup_folder(home.state_dir), "token-ledger-2026-01-01.db")
    os.makedirs(os.path.dirname(backup), mode=0o700)
    os.rename(home.database, backup)
    Path(home.database + "-wal").write_bytes(b"left behind")
    os.unlink(home.claude / SESSION)
    home.scan()
    assert home.summary()["eventCount"] == 2
    assert any("was restored" in note for note in home.service.health.notes)
    assert rollups_of(home) == recounted(home)
