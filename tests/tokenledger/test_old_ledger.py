"""A ledger of instar 0.28 at our path: taken over whole, once, and never while it is in use."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from benchmarks.corpus import START_MS
from instar_tokenledger.errors import LedgerError, LedgerInUse
from instar_tokenledger.old_ledger import SUFFIX, is_old_ledger
from tests.tokenledger.homes import SESSION, LedgerHome, said
from tests.tokenledger.old_ledgers import held_open, make_old_ledger, old_row
from tests.tokenledger.recounting import recounted, rollups_of

ROWS = [
    old_row("r1"),
    old_row("r2", output_tokens=50, cache_read_tokens=7, session_id="session-2"),
    old_row("r3", project_path=None, model=None, service_tier=None, ts=START_MS + 1),
]


@pytest.mark.parametrize("head_hash", [True, False])
@pytest.mark.parametrize("further", [(), ("attribution_key TEXT", "agent TEXT DEFAULT 'main'")])
@pytest.mark.parametrize("clean", [True, False])
def test_every_shape_is_taken_over_whole(
    home: LedgerHome, head_hash: bool, further: tuple[str, ...], clean: bool
) -> None:
    """D17: with or without head hash, with later columns, with a log left by a kill: every row."""
    make_old_ledger(home.database, ROWS, head_hash=head_hash, further=further, clean=clean)
    home.scan()
    summary = home.summary()
    assert (summary["eventCount"], summary["totalInput"]) == (3, 30)
    assert (summary["totalOutput"], summary["totalCacheRead"]) == (1850, 7)
    assert summary["partial"]["requests"] == 0
    assert rollups_of(home) == recounted(home)
    assert is_old_ledger(home.database + SUFFIX)
    (note,) = home.service.health.notes
    assert "Took over" in note


def test_the_fields_of_an_old_row_are_kept(home: LedgerHome) -> None:
    """Session, project, instant, model, tier and counters come along; there is no provenance."""
    make_old_ledger(home.database, ROWS)
    home.scan()
    first, third = home.requests()
    kept = ("requestId", "messageId", "ts", "model", "serviceTier", "projectPath", "file")
    opus = "claude-opus-4-5"
    assert [first[k] for k in kept] == [
        "r1", None, START_MS, opus, "standard", "/home/dev/app", None,
    ]  # fmt: skip
    assert [third[k] for k in kept] == ["r3", None, START_MS + 1, None, None, None, None]


def test_an_old_row_and_its_transcript_are_one_request(home: LedgerHome) -> None:
    """The first snapshot that 0.28 kept merges into the request that bears its request id."""
    make_old_ledger(home.database, [old_row("r1", output_tokens=2)])
    home.write(SESSION, said("m1", "r1", output=2), said("m1", "r1", output=900))
    home.scan()
    (request,) = home.requests()
    assert (request["messageId"], request["output"]) == ("m1", 900)
    assert request["file"].endswith(SESSION)
    assert home.tokens() == (10, 900)


def test_a_transcript_that_turns_up_later_is_not_counted_twice(home: LedgerHome) -> None:
    """The merge does not depend on which of the two was there first, nor on a restart between."""
    make_old_ledger(home.database, [old_row("r1"), old_row("r2")])
    home.scan()
    home.restart()
    home.write(SESSION, said("m1", "r1"), said("m3", "r3"))
    home.scan()
    assert home.tokens() == (30, 2700)
    assert rollups_of(home) == recounted(home)


def test_an_old_ledger_in_use_is_refused_and_untouched(home: LedgerHome) -> None:
    """While a process of 0.28 has it open, nothing is changed, and the next try after it works."""
    make_old_ledger(home.database, ROWS)
    with held_open(home.database):
        with pytest.raises(LedgerInUse, match="Stop that process"):
            home.scan()
        assert not os.path.lexists(home.database + SUFFIX)
        assert is_old_ledger(home.database)
        assert "still has open" in (home.service.health.trouble or "")
    home.scan()
    assert home.summary()["eventCount"] == 3
    assert home.service.health.trouble is None


def test_what_no_request_could_be_is_left_out(home: LedgerHome) -> None:
    """C-22: rows without ids or instant, and local errors, stay behind; odd counters are 0."""
    odd = [
        old_row("r1"), {**old_row(""), "request_id": None}, old_row(""),
        old_row("r4", session_id=""),
        old_row("r5", ts=-1), old_row("r6", ts="yesterday"), old_row("r7", ts=2**60),
        old_row("r8", model="<synthetic>"), old_row("r9", output_tokens="abc", input_tokens=-5),
        old_row("r10", output_tokens=1.0, input_tokens=1.5),
    ]  # fmt: skip
    make_old_ledger(home.database, odd)
    home.scan()
    found = {request["requestId"]: request for request in home.requests()}
    assert set(found) == {"r1", "r9", "r10"}
    assert (found["r9"]["input"], found["r9"]["output"]) == (0, 0)
    assert (found["r10"]["input"], found["r10"]["output"]) == (0, 1)


def test_a_crash_before_the_new_file_is_in_place(home: LedgerHome) -> None:
    """D2: a draft left by a crash is thrown away and the take-over begins anew."""
    make_old_ledger(home.database, ROWS)
    Path(home.database + ".taking-over").write_bytes(b"half a database")
    home.scan()
    assert home.summary()["eventCount"] == 3


def test_a_crash_between_setting_aside_and_putting_in_place(home: LedgerHome) -> None:
    """D2: the old file under both names is still the old file, and is taken over."""
    make_old_ledger(home.database, ROWS)
    os.link(home.database, home.database + SUFFIX)
    home.scan()
    assert home.summary()["eventCount"] == 3
    assert is_old_ledger(home.database + SUFFIX)


def test_a_second_old_ledger_is_not_lost_over_the_first(home: LedgerHome) -> None:
    """Where an earlier one was set aside already, a person has to say which is right."""
    make_old_ledger(home.database, ROWS)
    make_old_ledger(home.database + SUFFIX, [old_row("r9")])
    with pytest.raises(LedgerError, match="Move one of the two away"):
        home.scan()
    assert is_old_ledger(home.database)


@pytest.mark.faults
def test_many_rows_take_several_commits(home: LedgerHome) -> None:
    """A year of rows is imported in bounded batches."""
    rows = [old_row(f"r{i}", ts=START_MS + i, session_id=f"s{i % 7}") for i in range(10_500)]
    make_old_ledger(home.database, rows)
    home.scan()
    assert home.tokens() == (105_000, 9_450_000)


def test_somebody_elses_database_is_no_old_ledger(tmp_path: Path) -> None:
    """Only the tables tell; a table of that name with other columns is not ours to take."""
    path = str(tmp_path / "other.db")
    connection = apsw.Connection(path)
    connection.execute("CREATE TABLE token_events (request_id TEXT)")
    connection.close()
    assert not is_old_ledger(path)
