"""The newer cases of the original's own tests that concern the ledger, D9, as far as they mean
anything here: a native module that heals itself, burn attribution and its sentinel do not exist.
The cases of Codex stand with the plugin that reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw
import pytest

from benchmarks.corpus import START_MS
from instar_host.errors import InstarError
from instar_host.records import Request, Response, TickControl
from instar_tokenledger import answers, retention
from instar_tokenledger.cadence import BUSY_S, CATCHING_UP_S
from instar_tokenledger.ingest import Budget
from instar_tokenledger.old_ledger import SUFFIX
from instar_tokenledger.routes import TokenRoutes
from instar_tokenledger.schema import DAY_MS
from instar_tokenledger.ticking import TIDY_S, LedgerTick
from instar_tokenledger.windows import END_OF_TIME, Window
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said
from tests.tokenledger.old_ledgers import make_old_ledger, old_row
from tests.tokenledger.test_age_window import CONTROL, a_tick, settings
from tests.tokenledger.test_retention import YEAR_MS, prune, rows_left

MINUTE_MS = 60_000
STOPPED = TickControl(stopping=lambda: True)


def backlog(home: LedgerHome, count: int) -> None:
    for number in range(count):
        home.write(f"projects/-a/{number}.jsonl", said(f"m{number}", f"r{number}"))


def test_closing_in_the_middle_of_a_scan(home: LedgerHome) -> None:
    """D9: a scan that is closed at its first piece ends there, and the next one has the rest."""
    backlog(home, 8)
    stopped: list[bool] = []
    home.service.pause = lambda: stopped.append(True)
    steps = home.service.step(Budget(), lambda: bool(stopped))
    assert list(steps)[-1].files_read < 4
    home.close()
    home.restart()
    home.scan()
    home.assert_true()


def test_letting_go_of_a_scan_in_the_middle(home: LedgerHome) -> None:
    """D9: the same where nobody asks for the rest."""
    backlog(home, 8)
    steps = home.service.step(Budget(), lambda: False)
    next(steps)
    next(steps)
    del steps
    home.close()
    home.restart()
    home.scan()
    home.assert_true()


@pytest.mark.parametrize(("since_ms", "count"), [(0, 2), (1, 1), (2 * DAY_MS, 0)])
def test_what_a_session_did_since(home: LedgerHome, since_ms: int, count: int) -> None:
    """D9: of two events the one in the window; all old: none. An unknown session: none."""
    home.write(SESSION, said("m1", "r1"), said("m2", "r2", ts=START_MS + DAY_MS))
    home.scan()
    with home.reading() as reading:
        window = Window(START_MS + since_ms, END_OF_TIME)
        rows = answers.sessions(reading, window, 10, 0)["sessions"]
        assert sum(row["eventCount"] for row in rows) == count
        assert answers.session(reading, "nobody", 10, 0) is None


def asked(home: LedgerHome, path: str, **query: str) -> Any:
    (route,) = [one for one in TokenRoutes(home.host, home.service).routes() if one.path == path]
    values = {name: (value,) for name, value in query.items()}
    answer = route.endpoint(Request(method="GET", path=path, query=values))
    assert isinstance(answer, Response)
    return answer


def test_an_old_database_is_answered_from_and_taken_over_once(home: LedgerHome) -> None:
    """D9: 200, one event, forty tokens; the second start finds it done and does nothing again."""
    rows = [old_row("r1", session_id="sess-old", input_tokens=10, output_tokens=30)]
    make_old_ledger(home.database, rows, head_hash=False)
    for _ in range(2):
        home.scan()
        answer = asked(home, "/tokens/summary", since="0")
        assert answer.status == 200
        assert b'"totalTokens":40,' in answer.body
        assert b'"eventCount":1,' in answer.body
        (session,) = home.answers()["sessions"]
        assert session["sessionId"] == "sess-old"
        taken = os.stat(home.database + SUFFIX)
        home.restart()
    assert os.stat(home.database + SUFFIX).st_ino == taken.st_ino
    assert home.service.health.notes == ()


def test_pruning_goes_by_steps(home: LedgerHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: of 25 rows, two steps of ten take twenty and say there is more; the next takes five."""
    monkeypatch.setattr(retention, "ROWS_A_STEP", 10)
    old = [said(f"m{i}", f"r{i}", ts=START_MS + i) for i in range(25)]
    home.write(SESSION, *old, said("new", "new", ts=START_MS + YEAR_MS))
    home.scan()
    assert not prune(home, 0, START_MS + YEAR_MS)
    assert rows_left(home) == 26
    assert prune(home, 30, START_MS + YEAR_MS, steps=2)
    assert rows_left(home) == 6
    assert not prune(home, 30, START_MS + YEAR_MS)
    assert rows_left(home) == 1
    assert home.summary()["eventCount"] == 26


@pytest.fixture
def ageing(home: LedgerHome) -> LedgerHome:
    """Thirty days are kept, and a margin of one: one request is past that, one soon will be."""
    now_ms = clock_of(home).now_ms()
    limit_ms = now_ms - 31 * DAY_MS
    home.write(
        SESSION,
        said("past", "past", ts=limit_ms - DAY_MS),
        said("soon", "soon", ts=limit_ms + 10 * MINUTE_MS),
        said("new", "new", ts=now_ms),
    )
    settings(home, detailDays=30)
    return home


def after(home: LedgerHome, tick: LedgerTick, minutes: int) -> int:
    """Requests whose detail is left after a tick so much later."""
    clock_of(home).advance(minutes * 60)
    tick.run(CONTROL)
    return rows_left(home)


def test_pruning_comes_with_the_first_tick_then_seldom(ageing: LedgerHome) -> None:
    """D9: at once, then once an hour."""
    tick = a_tick(ageing)
    assert after(ageing, tick, 0) == 2
    assert [after(ageing, tick, 25), after(ageing, tick, 25)] == [2, 2]
    assert after(ageing, tick, int(TIDY_S / 60) - 50) == 1


def test_pruning_that_was_cut_short_goes_on_with_the_next_tick(ageing: LedgerHome) -> None:
    """D9: while there is more, every tick prunes, without a wait in between."""
    settings(ageing, detailDays=0)
    tick = a_tick(ageing)
    tick.run(CONTROL)
    settings(ageing, detailDays=30)
    assert tick.run(STOPPED) == CATCHING_UP_S
    assert rows_left(ageing) == 3
    tick.run(CONTROL)
    assert rows_left(ageing) == 2


@contextmanager
def locked(home: LedgerHome) -> Iterator[None]:
    """Somebody holds the write lock, and nobody waits for it."""
    ledger = home.service._ledger
    assert ledger is not None
    ledger.connection.set_busy_timeout(1)
    other = apsw.Connection(home.database)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_pruning_that_fails_is_reported_and_ticks_go_on(ageing: LedgerHome) -> None:
    """D9: the tick fails with a sentence, the next one does what this one could not."""
    settings(ageing, detailDays=0)
    tick = a_tick(ageing)
    tick.run(CONTROL)
    settings(ageing, detailDays=30)
    with locked(ageing), pytest.raises(InstarError, match="the ledger cannot be written"):
        tick.run(CONTROL)
    assert ageing.service.health.trouble
    tick.run(CONTROL)
    assert rows_left(ageing) == 2
    assert ageing.service.health.trouble is None


def test_the_wait_is_worked_out_anew_by_each_tick(home: LedgerHome) -> None:
    """D9: a second after a change, a minute when nothing changed for ten, a second again."""
    tick = a_tick(home)
    clock = clock_of(home)
    settings(home, idleIntervalMs=60_000)
    home.write(SESSION, said("m1", "r1"))
    assert tick.run(CONTROL) == BUSY_S
    clock.advance(600)
    assert tick.run(CONTROL) == 60
    clock.advance(60)
    home.append(SESSION, said("m2", "r2"))
    assert tick.run(CONTROL) == BUSY_S
