"""Copies of the ledger: made by a command, put back by hand, and what damage is told."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import apsw
import pytest

from benchmarks.corpus import START_MS, build
from instar_host.testing import FakeClock
from instar_tokenledger.schema import APPLICATION_ID
from tests.tokenledger.command_lines import Shell, transcripts_at
from tests.tokenledger.homes import SESSION, LedgerHome, said


@pytest.fixture
def shell(home: LedgerHome) -> Shell:
    return Shell(home, FakeClock(START_MS))


def test_a_snapshot_opens_and_verifies(home: LedgerHome, shell: Shell, tmp_path: Path) -> None:
    """The copy is one whole, private database with every request, for any program to open."""
    build(home.claude, seed=40, sessions=12, scale="small")
    count = shell("tokens", "scan", "--json").json()["summary"]["eventCount"]
    target = tmp_path / "copy.db"
    assert shell("tokens", "snapshot", str(target)).code == 0
    assert os.stat(target).st_mode & 0o777 == 0o600
    copy = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READONLY)
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert copy.pragma("application_id") == APPLICATION_ID
    assert copy.execute("SELECT count(*) FROM requests").fetchall() == [(count,)]
    copy.close()
    assert os.listdir(tmp_path / "state" / "server-data")


def test_a_snapshot_put_back_is_the_ledger(home: LedgerHome, shell: Shell, tmp_path: Path) -> None:
    """The way back that the page on operating names: stop, move the old files away, copy."""
    home.write(SESSION, said("m1", "r1"), said("m2", "r2"))
    shell("tokens", "scan")
    shell("tokens", "snapshot", str(tmp_path / "copy.db"))
    for path in Path(home.database).parent.glob("token-ledger.db*"):
        path.unlink()
    shutil.copy(tmp_path / "copy.db", home.database)
    assert shell("tokens", "summary", "--json").json()["summary"]["eventCount"] == 2
    nothing = transcripts_at(tmp_path)
    assert shell("tokens", "scan", "--json", *nothing).json()["summary"]["eventCount"] == 2


def test_a_damaged_ledger_says_which_command_mends_it(home: LedgerHome, shell: Shell) -> None:
    """No class of an exception, and nothing for a person to move by hand."""
    home.write(SESSION, said("m1", "r1"), said("m2", "r2"))
    shell("tokens", "scan")
    Path(home.database).write_bytes(b"")
    said_so = shell("tokens", "summary")
    assert said_so.code == 1
    assert "CorruptStore" not in said_so.err
    assert "`instar tokens scan` does both" in said_so.err
    assert shell("tokens", "scan").code == 0
    assert shell("tokens", "summary").code == 0


def test_damage_in_the_middle_is_told_as_damage(home: LedgerHome, shell: Shell) -> None:
    """What only a question meets is named with the file and the command that mends it."""
    build(home.claude, seed=40, sessions=12, scale="small")
    shell("tokens", "scan")
    whole = Path(home.database).read_bytes()
    Path(home.database).write_bytes(whole[:8192] + b"\xa5" * (len(whole) - 8192))
    for words in (("summary",), ("snapshot", str(home.claude / "copy.db"))):
        told = shell("tokens", *words)
        assert told.code == 1
        assert told.err.startswith(f"instar: The ledger cannot be read: {home.database} is damaged")
        assert told.err.endswith(
            "`instar tokens scan` sets it aside and restores the newest backup.\n"
        )


@pytest.mark.parametrize("command", ["scan", "summary"])
def test_what_is_wrong_with_the_file_is_a_sentence(
    home: LedgerHome, shell: Shell, command: str
) -> None:
    """No name of a class stands before what a person is to do."""
    Path(home.database).parent.mkdir(exist_ok=True)
    connection = apsw.Connection(str(home.database))
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    told = shell("tokens", command)
    assert told.code == 1
    assert re.fullmatch(r"instar: The ledger cannot be (read|written): /.*\n", told.err)
    assert "another program's database" in told.err


def test_a_snapshot_of_nothing_or_to_nowhere(home: LedgerHome, shell: Shell) -> None:
    """Without a ledger, or without a folder to write to, it says so and ends in 1."""
    assert shell("tokens", "snapshot", str(home.claude / "copy.db")).code == 1
    home.write(SESSION, said("m1", "r1"), said("m2", "r2"))
    shell("tokens", "scan")
    for target in (home.claude / "no/such/folder/copy.db", home.claude):
        result = shell("tokens", "snapshot", str(target))
        assert result.code == 1
        assert result.err.startswith(f"instar: {target} cannot be written: ")
        assert "Error" not in result.err


def test_a_snapshot_replaces_an_earlier_one_and_nothing_else(
    home: LedgerHome, shell: Shell, tmp_path: Path
) -> None:
    """A name typed wrong costs no file, and a daily copy may have one name."""
    home.write(SESSION, said("m1", "r1"))
    shell("tokens", "scan")
    notes, link, other = (tmp_path / name for name in ("notes.txt", "link.db", "other.db"))
    notes.write_text("mine")
    link.symlink_to(notes)
    connection = apsw.Connection(str(other))
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for target in (notes, link, other, Path(home.database)):
        before = target.read_bytes()
        refused = shell("tokens", "snapshot", str(target))
        assert (refused.code, refused.err.count("\n")) == (1, 1)
        assert refused.err.startswith(f"instar: {target} ")
        assert (target.read_bytes(), target.is_symlink()) == (before, target == link)
    copy = tmp_path / "copy.db"
    copy.touch()  # as mktemp makes one
    for _again in range(2):
        assert shell("tokens", "snapshot", str(copy)).code == 0
    assert shell("tokens", "snapshot", "").code == 2
