"""Letting go of old detail: what it adds up to never changes, and nothing comes back twice."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from benchmarks.corpus import START_MS, build
from instar_tokenledger import answers, retention
from instar_tokenledger.journal import LONG_LOG_BYTES, log_bytes
from instar_tokenledger.retention import ROWS_A_STEP, horizon_of
from instar_tokenledger.schema import DAY_MS, QUARTER_MS
from instar_tokenledger.windows import Window
from tests.tokenledger.homes import EVER, SESSION, LedgerHome, clock_of, said
from tests.tokenledger.test_age_window import CONTROL, a_tick, settings

YEAR_MS = 365 * DAY_MS


def prune(home: LedgerHome, days: int, now_ms: int, steps: int = 1_000) -> bool:
    """Let go of detail as a tick does, at most so many steps."""
    left = iter(range(steps))
    ledger = home.service._ledger
    assert ledger is not None
    return retention.prune(ledger.connection, days, now_ms, lambda: next(left, None) is not None)


def rows_left(home: LedgerHome) -> int:
    with home.reading() as reading:
        rows: list[Any] = reading.connection.execute("SELECT count(*) FROM requests").fetchall()
        return int(rows[0][0])


def newest(home: LedgerHome) -> int:
    return int(home.summary()["newestEventTs"])


@pytest.fixture
def full(home: LedgerHome) -> LedgerHome:
    """A home with some months of every kind of session, read."""
    build(home.claude, seed=7, sessions=40)
    home.scan()
    return home


def quarter_windows(home: LedgerHome) -> list[Window]:
    """Windows with ends at quarters of an hour, over the whole life of the ledger."""
    first = home.summary()["oldestEventTs"] // QUARTER_MS
    last = newest(home) // QUARTER_MS + 1
    step = max(1, (last - first) // 7)
    cuts = [q * QUARTER_MS for q in range(first, last + step, step)]
    return [EVER, *(Window(a, b) for a in cuts for b in cuts if a < b)]


def test_no_total_changes(full: LedgerHome) -> None:
    """Every view at quarters of an hour is the same before, half-way and after."""
    windows = quarter_windows(full)
    before = [full.answers(window) for window in windows]
    rows, now_ms = rows_left(full), newest(full)
    for days in (20, 5, 1):
        prune(full, days, now_ms)
        assert [full.answers(window) for window in windows] == before
    assert rows_left(full) < rows


def test_a_step_is_bounded_and_the_rest_is_done_next_time(home: LedgerHome) -> None:
    """Not more than 2,000 requests a transaction; what is left is said and done later."""
    lines = [said(f"m{i}", f"r{i}", ts=START_MS + i) for i in range(ROWS_A_STEP + 500)]
    home.write(SESSION, *lines, said("new", "new", ts=START_MS + YEAR_MS))
    home.scan()
    before = home.answers()
    now_ms = START_MS + YEAR_MS
    assert prune(home, 30, now_ms, steps=1)
    assert rows_left(home) == 501
    assert home.answers() == before
    assert not prune(home, 30, now_ms)
    assert rows_left(home) == 1
    assert home.answers() == before


def test_what_is_read_again_is_sealed(full: LedgerHome) -> None:
    """A rebuild and copies of old transcripts add nothing below the horizon, and are counted."""
    prune(full, 1, newest(full))
    before = full.answers()
    full.service.forget_marks()
    full.scan()
    assert full.answers() == before
    assert full.skips()["sealed"] > 0
    shutil.copytree(full.claude / "projects", full.claude / "projects" / "-copy")
    full.scan()
    assert full.answers() == before


def test_a_late_row_after_the_horizon_still_counts(full: LedgerHome) -> None:
    """Sealed is what lies below the horizon, and nothing else."""
    prune(full, 1, newest(full))
    requests = full.summary()["eventCount"]
    full.write(SESSION, said("late", "late", ts=newest(full) - 1_000))
    full.scan()
    assert full.summary()["eventCount"] == requests + 1


def test_a_session_that_goes_on_keeps_its_beginning(home: LedgerHome) -> None:
    """The first instant of a session whose beginning was let go of stays when a later request of
    it changes."""
    later = START_MS + YEAR_MS
    home.write(SESSION, said("a", "a"), said("b", "b", ts=later, output=1))
    home.scan()
    prune(home, 30, later)
    home.append(SESSION, said("b", "b", ts=later, output=70))
    home.scan()
    (row,) = home.answers()["sessions"]
    assert (row["firstTs"], row["lastTs"], row["eventCount"]) == (START_MS, later, 2)
    assert home.tokens() == (20, 970)


def test_a_session_that_goes_on_keeps_its_project(home: LedgerHome) -> None:
    """Where two projects began at one instant, the one that was first stays so once the detail
    that told it has gone, whatever the session does later."""
    later = START_MS + YEAR_MS
    home.write("projects/a/z.jsonl", said("a", "a", cwd="/other"))
    home.scan()
    home.write("projects/a/a.jsonl", said("b", "b", cwd="/first"))
    home.write("projects/a/b.jsonl", said("c", "c", ts=later, output=1))
    home.scan()
    assert home.answers()["sessions"][0]["projectPath"] == "/first"
    prune(home, 30, later)
    home.append("projects/a/b.jsonl", said("c", "c", ts=later, output=70))
    home.scan()
    assert home.answers()["sessions"][0]["projectPath"] == "/first"


def test_a_clock_that_jumped_ahead_takes_nothing(home: LedgerHome) -> None:
    """T18: age is measured from the newest request, not from a clock that is years ahead."""
    home.write(SESSION, said("a", "a"))
    home.scan()
    prune(home, 30, START_MS + 10 * YEAR_MS)
    assert rows_left(home) == 1


def test_no_days_keep_everything(full: LedgerHome) -> None:
    """By default nothing is ever let go of, and there is no horizon."""
    rows = rows_left(full)
    assert not prune(full, 0, newest(full) + YEAR_MS)
    assert rows_left(full) == rows
    with full.reading() as reading:
        assert horizon_of(reading.connection).detail_from_ms == 0


def test_windows_before_the_horizon_answer_at_quarters(full: LedgerHome) -> None:
    """Ends before the horizon go back to their quarter, and the answer says from when it is
    exact; windows that meet still do."""
    prune(full, 1, newest(full))
    oldest = full.summary()["oldestEventTs"]
    cut = (oldest + newest(full)) // 2 // QUARTER_MS * QUARTER_MS + 123_456
    with full.reading() as reading:
        asked: list[Any] = [
            answers.summary(reading, window)
            for window in (Window(0, cut), Window(cut, EVER.until), EVER)
        ]
        after = answers.summary(reading, Window(newest(full), EVER.until))
    one, other, both = (answer["summary"]["totalTokens"] for answer in asked)
    assert one + other == both
    assert all(answer["exactFromMs"] > cut for answer in asked)
    assert "exactFromMs" not in after


def test_the_disk_gets_its_pages_back_while_somebody_reads(home: LedgerHome) -> None:
    """A reader in the middle of an answer neither stops it nor sees it, and the file shrinks."""
    lines = [said(f"m{i}" * 9, f"r{i}" * 9, ts=START_MS + i) for i in range(6_000)]
    home.write(SESSION, *lines, said("new", "new", ts=START_MS + YEAR_MS))
    home.scan()
    home.service.tidy(0, lambda: True)
    with home.reading() as reading:
        before = reading.totals.summary(EVER)
        assert not prune(home, 30, START_MS + YEAR_MS)
        assert reading.totals.summary(EVER) == before
        assert len(reading.sessions.requests("session-1", 10_000)) == 6_001
    size = os.path.getsize(home.database)
    assert home.service._ledger is not None
    home.service._ledger.connection.wal_checkpoint(mode=3)
    assert os.path.getsize(home.database) < size / 2


def test_the_status_shows_the_horizon(full: LedgerHome) -> None:
    """From when there is detail, and below what nothing is added, stands in the status."""
    assert full.status()["detail"] == {"days": 0, "fromMs": None, "sealedBeforeMs": None}
    prune(full, 2, newest(full))
    detail = full.status()["detail"]
    assert detail["sealedBeforeMs"] - detail["fromMs"] == DAY_MS


def test_a_tick_lets_go_of_what_the_setting_says(home: LedgerHome) -> None:
    """`detailDays` is read by each tick; without it the same tick leaves everything."""
    now_ms = clock_of(home).now_ms()
    home.write(SESSION, said("a", "a", ts=now_ms - 60 * DAY_MS), said("b", "b", ts=now_ms))
    tick = a_tick(home)
    tick.run(CONTROL)
    assert rows_left(home) == 2
    before = home.answers()
    settings(home, detailDays=30)
    tick.run(CONTROL)
    assert rows_left(home) == 1
    assert home.answers() == before
    assert home.status()["detail"]["days"] == 30


def test_a_long_log_is_cut_when_nothing_waits(home: LedgerHome) -> None:
    """D11: a log that a reader let grow is cut once it has gone; a reader in the way is not
    waited for."""
    lines = [said(f"m{i}", f"r{i}", ts=START_MS + i) for i in range(12_000)]
    home.write(SESSION, *lines[:10])
    tick = a_tick(home)
    tick.run(CONTROL)
    with home.reading() as reading:
        reading.totals.summary(EVER)
        home.append(SESSION, *lines[10:])
        tick.run(CONTROL)
        assert log_bytes(home.database) > LONG_LOG_BYTES
    tick.run(CONTROL)
    assert log_bytes(home.database) == 0
