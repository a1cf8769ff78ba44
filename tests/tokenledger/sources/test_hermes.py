"""Hermes's running totals: read from outside, kept as readings, never added."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from instar_host.store.tail import Lines
from instar_tokenledger.errors import LedgerError
from instar_tokenledger.sources import hermes
from instar_tokenledger.sources.hermes import FILE, UNREADABLE, HermesReadings, decode
from instar_tokenledger.usage import Counters
from tests.tokenledger.hermes_home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_total_that_grows_is_a_new_reading_of_the_same_total(home: Home) -> None:
    """One key, so the ledger takes the last one and adds nothing."""
    home.use(100, 1_767_225_600.5)
    assert home.readings.refresh()
    home.use(300, 1_767_225_700.0)
    assert home.readings.refresh()
    first, last = home.rows()
    assert first.request_id == last.request_id
    assert last.counters == Counters(input=300, output=5, cache_read=7, thinking=2)
    assert (first.at_ms, first.session, first.project, first.branch) == (
        1_767_225_600_500, "s", "/app", "main",
    )  # fmt: skip


def test_what_has_not_changed_is_not_kept_twice(home: Home) -> None:
    """Neither in one process nor in the next."""
    home.use(100, 1.0)
    assert home.readings.refresh()
    assert not home.readings.refresh()
    assert not home.reopened().refresh()
    assert len(home.rows()) == 1


def test_the_hosts_transaction_keeps_its_lock_while_we_read(home: Home) -> None:
    """The database is opened and closed in another process, so no lock of this one is dropped."""
    home.use(100, 1.0)
    home.database.execute("BEGIN IMMEDIATE")
    home.readings.refresh()
    other = apsw.Connection(str(home.path / "state.db"))
    with pytest.raises(apsw.BusyError):
        other.execute("BEGIN IMMEDIATE")
    home.database.execute("COMMIT")
    other.close()


def test_another_schema_is_a_sentence(home: Home) -> None:
    """A Hermes that counts otherwise is reported, and tried again."""
    home.database.execute("DROP TABLE session_model_usage")
    with pytest.raises(LedgerError, match=r"cannot be read: .*session_model_usage"):
        home.readings.refresh()


def test_without_a_database_there_is_nothing(tmp_path: Path) -> None:
    """Hermes has not run yet, or there is none."""
    assert not HermesReadings(lambda: tmp_path, tmp_path / "kept").refresh()
    assert not HermesReadings(lambda: None, tmp_path / "kept").refresh()
    assert not (tmp_path / "kept").exists()


def test_a_line_cut_off_is_counted_and_harmless(home: Home) -> None:
    """A crash in the middle of an append loses no reading: it is made again."""
    home.use(100, 1.0)
    home.readings.refresh()
    data = (home.kept / FILE).read_bytes()
    said = decode(Lines(data=data + data[:20] + b"\n", offset=0), b"")
    assert (len(said.rows), sum(said.skips.values())) == (1, 1)


def test_an_append_after_a_line_cut_off_is_whole(home: Home) -> None:
    """The reading that follows a crash is not glued to the rest of another."""
    home.use(100, 1.0)
    home.readings.refresh()
    with (home.kept / FILE).open("ab") as file:
        file.write(b'{"session":"s","mo')
    home.use(200, 2.0)
    assert home.reopened().refresh()
    assert [row.counters.input for row in home.rows()] == [100, 200]


def test_a_file_that_has_grown_is_written_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last reading of each total: it stays bounded, and no sum changes."""
    monkeypatch.setattr(hermes, "COMPACT_BYTES", 2000)
    for total in range(1, 20):
        home.use(total, float(total))
        assert home.readings.refresh()
        assert (home.kept / FILE).stat().st_size <= 2000
        assert home.rows()[-1].counters.input == total
    assert not home.reopened().refresh()


@pytest.mark.parametrize("line", [b"null", b"\xff", b'{"session":1}', b'{"a":' * 100_000, b"[" * 9])
def test_a_reading_that_is_none_is_a_counted_skip(home: Home, line: bytes) -> None:
    """L1: whatever stands in the file of readings, those around it count, also after a restart."""
    home.use(10, 1.0)
    assert home.readings.refresh()
    with (home.kept / FILE).open("ab") as file:
        file.write(line + b"\n")
    home.use(20, 2.0)
    home.readings = home.reopened()
    assert home.readings.refresh()
    found = decode(Lines(data=(home.kept / FILE).read_bytes(), offset=0), b"")
    assert [row.counters.input for row in found.rows] == [10, 20]
    assert dict(found.skips) == {UNREADABLE: 1}
