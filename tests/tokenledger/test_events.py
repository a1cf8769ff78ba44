"""What the ledger tells those who listen: seldom, whole, and never at the reader's cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instar_host.broadcast import Broadcast
from instar_host.endpoints import HttpError
from instar_host.records import TickControl
from instar_host.testing import FakeClock, MakeHost
from instar_host.testing_web import RunHost
from instar_tokenledger.cadence import LISTENING_S
from instar_tokenledger.committed import Committed
from instar_tokenledger.events import GAP_S, MAX_SESSIONS, LedgerEvents
from instar_tokenledger.ingest import Budget, Progress
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.service import TROUBLE
from tests.tokenledger.homes import SESSION, LedgerHome, said

Events = list[tuple[str, Any]]


def heard(events: LedgerEvents, act: Callable[[], object]) -> Events:
    """What a listener hears of `act`, after the `hello`."""

    async def listen() -> list[bytes]:
        stream = events.stream()
        frames = [await anext(stream), await anext(stream)]
        assert frames[1].startswith(b"event: hello\n")
        act()
        events.close()
        return [frame async for frame in stream]

    return [parsed(frame) for frame in asyncio.run(listen()) if not frame.startswith(b":")]


def parsed(frame: bytes) -> tuple[str, Any]:
    name, data = frame.decode().rstrip("\n").split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def progress(waiting: int, seen: int = 10) -> Progress:
    return Progress(
        files_seen=seen,
        files_waiting=waiting,
        bytes_waiting=waiting * 1000,
        files_read=seen - waiting,
        bytes_read=0,
        errors={},
    )


def commit(*sessions: str) -> Committed:
    return Committed(added=2, changed=1, sessions=sessions, files=1)


def test_a_busy_reader_tells_at_most_four_times_a_second(clock: FakeClock) -> None:
    """A thousand pieces in one second are told in a few events, the last of them always."""
    events = LedgerEvents(clock)

    def read() -> None:
        for waiting in range(999, -1, -1):
            events.progress(progress(waiting, seen=1000), 5000.0)
            clock.advance(0.001)
        events.settled()

    told = heard(events, read)
    assert len(told) <= 1 / GAP_S + 1
    assert [data["filesWaiting"] for _, data in told] == sorted(
        (data["filesWaiting"] for _, data in told), reverse=True
    )
    assert told[-1][1]["state"] == "up-to-date"


def test_commits_between_two_events_are_told_as_one(clock: FakeClock) -> None:
    """Sums of what was added and changed, and each session once."""
    events = LedgerEvents(clock)

    def read() -> None:
        for session in ("b", "a", "b", "c"):
            events.committed(commit(session))
        events.settled()

    told = heard(events, read)
    assert sum(data["added"] for _, data in told) == 8
    assert sum(data["changed"] for _, data in told) == 4
    assert sorted({s for _, data in told for s in data["sessions"]}) == ["a", "b", "c"]
    assert len(told) == 2


def test_an_event_names_few_sessions(clock: FakeClock) -> None:
    """A first scan changes thousands of sessions: some are named, and that there are more."""
    events = LedgerEvents(clock)
    many = tuple(f"session-{n:05}" for n in range(MAX_SESSIONS + 1))
    [(name, data)] = heard(events, lambda: events.committed(commit(*many)))
    assert (name, len(data["sessions"]), data["more"]) == ("committed", MAX_SESSIONS, True)


def test_nothing_new_is_not_told(clock: FakeClock) -> None:
    """Looks that find nothing are silent."""
    events = LedgerEvents(clock)

    def look() -> None:
        for _ in range(3):
            clock.advance(60)
            events.progress(progress(0), None)
            events.settled()

    assert [name for name, _ in heard(events, look)] == ["progress"]


def test_without_listeners_nothing_piles_up(clock: FakeClock) -> None:
    """A listener hears what happens from then on, not what nobody heard."""
    events = LedgerEvents(clock)
    for _ in range(10_000):
        events.committed(commit("a"))
    assert heard(events, events.settled) == []


def test_too_many_listeners_are_refused_as_busy(clock: FakeClock) -> None:
    """One more than may listen gets a 503, not an error of ours."""
    events = LedgerEvents(clock, Broadcast(max_subscribers=0))
    with pytest.raises(HttpError) as refused:
        heard(events, lambda: None)
    assert refused.value.status == 503


def test_a_step_tells_its_commit_and_its_end(home: LedgerHome) -> None:
    """What a step read is told with its session, then that reading is up to date."""
    home.write(SESSION, said())
    told = heard(home.service.events, home.scan)
    assert ("committed", {"added": 1, "changed": 0, "files": 1, "sessions": ["session-1"],
                          "more": False}) in told  # fmt: skip
    name, data = told[-1]
    assert (name, data["state"], data["filesSeen"]) == ("progress", "up-to-date", 1)


def test_trouble_is_told(home: LedgerHome) -> None:
    """A ledger that cannot be written is said to whoever watches."""
    blocked = Path(home.database).parent
    blocked.write_text("in the way")

    def step() -> None:
        with pytest.raises(TROUBLE):
            list(home.service.step(Budget(), lambda: False))

    told = heard(home.service.events, step)
    assert [name for name, _ in told] == ["trouble"]
    assert told[0][1]["reason"]


def test_a_watched_ledger_is_looked_at_more_often(
    make_host: MakeHost, tmp_path: Path, clock: FakeClock
) -> None:
    """With a listener the tick comes back within seconds, without one it waits its time."""
    plugin = TokenLedgerPlugin()
    host = make_host([plugin], {"tokenLedger": {"claudeDirs": [str(tmp_path)], "dailyBackups": 0}})
    [tick] = plugin.instar_ticks(host)
    control = TickControl(stopping=lambda: False)
    clock.advance(1_000)
    assert tick.func(control) == tick.every_s
    wanted: list[float | None] = []
    heard(plugin.service(host).events, lambda: wanted.append(tick.func(control)))
    assert wanted == [LISTENING_S]
    plugin.instar_host_stopping(host)


def test_the_route_streams_and_ends_with_the_host(run_host: RunHost) -> None:
    """`/tokens/events` needs the token, says hello at once, and does not keep the host up."""
    running = run_host({"tokenledger": TokenLedgerPlugin()})
    assert running.stranger.get("/tokens/events").status_code == 401
    with running.client.stream("GET", "/tokens/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert "event: hello" in (next(lines), next(lines), next(lines))
        assert running.runtime.stop(20)
