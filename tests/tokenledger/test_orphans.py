"""Sessions gone quiet since an instant: the sessions of that span, without those that go on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks.corpus import START_MS, build
from instar_host.endpoints import HttpError
from instar_host.records import Request
from instar_host.testing import FakeClock, MakeHost
from instar_tokenledger import answers
from instar_tokenledger.routes import TokenRoutes
from instar_tokenledger.windows import END_OF_TIME, Window
from tests.tokenledger.command_lines import Shell
from tests.tokenledger.homes import MANY, SESSION, LedgerHome, clock_of, said

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def full(tmp_path: Path, state_dir: Path, make_host: MakeHost) -> LedgerHome:
    """The ledger of a corpus with iterations, forks and sessions of many days."""
    home = LedgerHome(tmp_path, state_dir, make_host)
    build(home.claude, seed=9, sessions=60, scale="small")
    home.scan()
    return home


def quiet(home: LedgerHome, since_ms: int, idle_ms: int, now_ms: int) -> list[tuple[Any, ...]]:
    """What is answered for an instant."""
    with home.reading() as reading:
        found = answers.orphans(reading, idle_ms, now_ms, since_ms, MANY, 0)
    rows = found["orphans"]
    assert [row["lastTs"] for row in rows] == sorted((r["lastTs"] for r in rows), reverse=True)
    return sorted((r["sessionId"], r["projectPath"], r["lastTs"], r["totalTokens"]) for r in rows)


def quiet_by_sessions(
    home: LedgerHome, since_ms: int, idle_ms: int, now_ms: int
) -> list[tuple[Any, ...]]:
    """The same from the list of sessions."""
    with home.reading() as reading:
        rows = answers.sessions(reading, Window(since_ms, END_OF_TIME), MANY, 0)["sessions"]
    return sorted(
        (r["sessionId"], r["projectPath"], r["lastTs"], r["totalTokens"])
        for r in rows
        if r["lastTs"] < now_ms - idle_ms
    )


def test_since_means_what_it_means_for_sessions(full: LedgerHome) -> None:
    """Inclusive, to the millisecond: tokens are those from then on, at any instant."""
    with full.reading() as reading:
        rows = answers.sessions(reading, Window(0, END_OF_TIME), MANY, 0)["sessions"]
    edges = [edge for row in rows for edge in (row["firstTs"], row["lastTs"])]
    chance = random.Random(9)
    newest = max(edges)
    cut = 0
    for _ in range(150):
        since_ms = chance.choice(edges) + chance.choice((-1, 0, 1, HOUR_MS))
        idle_ms = chance.choice((1, HOUR_MS, DAY_MS))
        now_ms = newest + chance.choice((0, 1, DAY_MS))
        found = quiet(full, since_ms, idle_ms, now_ms)
        assert found == quiet_by_sessions(full, since_ms, idle_ms, now_ms)
        cut += found != [row for row in quiet(full, 0, idle_ms, now_ms) if row[2] >= since_ms]
    assert cut > 20  # the tokens of sessions that began earlier were taken apart


def test_the_command_takes_since(home: LedgerHome, clock: FakeClock) -> None:
    """`instar tokens orphans --since 1d --idle 30m`, with the instant in its JSON."""
    now_ms = START_MS + 2 * DAY_MS
    clock.set(now_ms)
    home.write(
        SESSION,
        said("m0", "r0", session="old"),
        said("m1", "r1", session="both"),
        said("m2", "r2", session="both", ts=now_ms - HOUR_MS, output=7),
        said("m3", "r3", session="busy", ts=now_ms - 60_000),
    )
    shell = Shell(home, clock)
    shell("tokens", "scan")

    found = shell("tokens", "orphans", "--since", "1d", "--idle", "30m", "--json").json()

    assert found["sinceMs"] == now_ms - DAY_MS
    assert [(row["sessionId"], row["totalTokens"]) for row in found["orphans"]] == [("both", 17)]
    ever = shell("tokens", "orphans", "--json").json()["orphans"]
    assert [(row["sessionId"], row["totalTokens"]) for row in ever] == [("both", 927), ("old", 910)]
    assert shell("tokens", "orphans", "--since", "soon").code == 2


def test_the_route_takes_since(home: LedgerHome) -> None:
    """The same over HTTP: `since` is an instant, and ever where it is not said."""
    home.write(SESSION, said("m0", "r0", session="old"))
    home.scan()
    clock_of(home).set(START_MS + DAY_MS)
    (route,) = [
        one
        for one in TokenRoutes(home.host, home.service).routes()
        if one.path == "/tokens/orphans"
    ]

    def ask(**query: str) -> Any:
        values = {name: (value,) for name, value in query.items()}
        return route.endpoint(Request(method="GET", path=route.path, query=values))

    assert b'"old"' in ask().body
    assert b'"old"' in ask(since=str(START_MS)).body
    assert b'"old"' not in ask(since=str(START_MS + 1)).body
    with pytest.raises(HttpError):
        ask(since="soon")
