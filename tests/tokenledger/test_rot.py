"""Damage that no stat shows, found by whoever meets it: a question, a backup, a scan."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from instar_host.store import soundness
from instar_host.store.errors import BackupFailed
from tests.tokenledger.command_lines import Shell
from tests.tokenledger.homes import LedgerHome, clock_of, said, with_backups, written
from tests.tokenledger.recounting import recounted, rollups_of

DAY_S = 86_400


def rot(home: LedgerHome, table: str) -> None:
    """Damage a page in such a way that no write shows."""
    database = Path(home.database)
    data = bytearray(database.read_bytes())
    pages = apsw.Connection(home.database)
    where = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
    page, size = pages.execute(where, (table,)).get, pages.pragma("page_size")
    pages.close()
    data[(page - 1) * size : page * size] = b"\xff" * size
    database.write_bytes(data)
    soundness.closed(home.database)


def forget_in_index(home: LedgerHome, index: str) -> None:
    """Make an index leave out every row that is there, which a quick check does not see."""
    connection = apsw.Connection(home.database)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    sql = str(connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index,)).get)
    connection.execute(f"DROP INDEX {index}")
    connection.execute(f"{sql} AND id > (2 << 30)")
    connection.pragma("writable_schema", "ON")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, index))
    connection.close()


def test_damage_that_a_question_meets_is_mended(home: LedgerHome) -> None:
    """D6: bits that rot within the day of a check are not looked for, but once a question has met
    them the next step sets the ledger aside and reads the transcripts again."""
    written(home)
    rot(home, "day_projects")
    home.scan()
    home.service.close()
    assert not home.service.health.notes
    with pytest.raises(apsw.CorruptError), home.reading() as reading:
        reading.connection.execute("SELECT count(*) FROM day_projects").fetchall()
    home.scan()
    home.assert_true()
    assert rollups_of(home) == recounted(home)
    assert home.service.health.notes


def test_damage_that_a_backup_meets_is_mended(home: LedgerHome) -> None:
    """D6: an index that lost rows has requests counted twice; the full check of the daily backup
    finds it, and the next step checks as fully, restores and reads again."""
    home = with_backups(home)
    written(home)
    home.restart()
    home.scan()
    home.service.close()
    forget_in_index(home, "requests_message")
    clock_of(home).advance(DAY_S)
    home.write("projects/a/fork.jsonl", said("m1", "r1"), said("m3", "r3"))
    with pytest.raises(BackupFailed):
        home.scan()
    assert home.summary()["eventCount"] == 4
    home.scan()
    home.assert_true()
    assert rollups_of(home) == recounted(home)
    assert "was restored" in " ".join(home.service.health.notes)
    home.scan()
    assert len(home.service.health.notes) == 2


@pytest.mark.parametrize("table", ["requests", "marks", "folders"])
def test_damage_that_a_scan_meets_is_mended_by_it(home: LedgerHome, table: str) -> None:
    """D6: the command that trips over what was not looked for checks and mends, and goes on."""
    written(home)
    rot(home, table)
    said = Shell(home, clock_of(home))("tokens", "scan")
    assert said.code == 0
    assert "was set aside" in said.err
    home.assert_true()
    assert rollups_of(home) == recounted(home)
