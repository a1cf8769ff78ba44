"""`python -m benchmarks.queries`: what every `/tokens/*` route costs on a year of five million
requests.

Calls the endpoints as the server does, without HTTP around them: a reader opened for each question,
the answer encoded. Windows of 0 (everything before an instant), 365, 30, 7 and 1 day end at random
milliseconds of the year; lists are asked for as the page does and for pages of any length at any
depth, series by hours and by days of zones with and without a summer time. Wall and CPU time of
each call; the first call of a route counts too.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.measure import at_share
from benchmarks.year import DAY_MS, END_MS, Shape, ledger_of
from instar_host.clock import Clock
from instar_host.config import Config
from instar_host.host import host_context
from instar_host.plugins import Plugins
from instar_host.records import HostContext, Request, Response, Route
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.routes import TokenRoutes
from instar_tokenledger.service import LedgerService

WINDOWS_DAYS = (0, 365, 30, 7, 1)
UNTIMED = frozenset({"/tokens/events"})
"""A stream: it asks the ledger nothing."""
GOAL_MS = 50.0
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe")
MAX_LIMIT = 500
DEEPEST = 100_000

Query = dict[str, tuple[str, ...]]


class Form(NamedTuple):
    """One way of asking a route."""

    name: str
    ask: Callable[[random.Random], Query]


class StandingClock:
    """The end of the year, for ever: what "now" means to a route."""

    def now_ms(self) -> int:
        return END_MS

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one route in one form with one kind of window, milliseconds."""

    route: str
    """Its path, and the form where there are several."""
    window: str
    calls: int
    p50: float
    p99: float
    worst: float
    cpu_p50: float
    cpu_p99: float
    answer_bytes: int
    """The largest answer."""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the ledger if need be, time every route, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queries", description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000_000)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--calls", type=int, default=100, help="of each route with each window")
    parser.add_argument("--routes", default="", help="only paths that contain this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ledger", type=Path, help="state directory of another ledger to ask")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "instar-benchmarks"
    )
    given = parser.parse_args(argv)
    shape = Shape(requests=given.requests, sessions=given.sessions)
    ledger = given.ledger or ledger_of(shape, given.cache)
    figures = time_routes(ledger, given.calls, given.seed, given.routes)
    if given.json:
        sys.stdout.buffer.write(msgspec.json.encode(figures) + b"\n")
    else:
        print(table(figures))
    return 0


def time_routes(state_dir: Path, calls: int, seed: int, only: str = "") -> list[Figure]:
    """Figures of every route whose path contains `only`, each window apart."""
    host = benchmark_host(state_dir, StandingClock())
    service = LedgerService(host, list)
    sessions = _sessions(service)
    found = []
    for route in TokenRoutes(host, service).routes():
        if route.method != "GET" or route.path in UNTIMED or only not in route.path:
            continue
        for form in _forms(route):
            for window, questions in _questions(route, form, random.Random(seed), calls, sessions):
                found.append(_time(route, form, window, questions))
    return found


def benchmark_host(state_dir: Path, clock: Clock) -> HostContext:
    """A host around a ledger; nothing of this machine's is looked at."""
    config = Config.load(state_dir, {})
    plugins = Plugins.load(config, entry_points=(), given={"tokenledger": TokenLedgerPlugin()})
    return host_context(state_dir, config, plugins, clock=clock)


def table(figures: Sequence[Figure]) -> str:
    """A line a route and window, then the worst p99 of all."""
    head = f"{'route':<30}{'window':>8}{'calls':>7}{'p50':>8}{'p99':>8}{'max':>8}"
    lines = [head + f"{'cpu50':>8}{'cpu99':>8}{'bytes':>9}   (ms)"]
    for f in figures:
        mark = "  <-- above" if f.p99 > GOAL_MS else "  <-- CPU above" * (f.cpu_p99 > GOAL_MS)
        lines.append(
            f"{f.route:<30}{f.window:>8}{f.calls:>7}{f.p50:>8.2f}{f.p99:>8.2f}{f.worst:>8.2f}"
            f"{f.cpu_p50:>8.2f}{f.cpu_p99:>8.2f}{f.answer_bytes:>9}{mark}"
        )
    worst = max(figures, key=lambda f: f.p99)
    lines.append(f"worst p99: {worst.p99:.1f} ms ({worst.route}, {worst.window})")
    return "\n".join(lines)


def _forms(route: Route) -> list[Form]:
    """The ways of asking a route: as the page does, then the dearer ones that are allowed."""
    named = {parameter.name for parameter in route.parameters}
    if "bucket" in named:
        return [Form("by hour", _series("hour")), Form("by day", _series("day"))]
    if "limit" in named:
        return [Form("", lambda _rng: {}), Form("any page", _any_page)]
    return [Form("", lambda _rng: {})]


def _series(bucket: str) -> Callable[[random.Random], Query]:
    return lambda rng: {"bucket": (bucket,), "tz": (rng.choice(ZONES),)}


def _any_page(rng: random.Random) -> Query:
    """A page of any length, the near ones as likely as the deep ones."""
    offset = int(DEEPEST ** rng.random())
    return {"limit": (str(rng.randint(1, MAX_LIMIT)),), "offset": (str(offset),)}


def _questions(
    route: Route, form: Form, rng: random.Random, calls: int, sessions: Sequence[str]
) -> list[tuple[str, list[Request]]]:
    """Requests to one route in one form, by kind of window."""
    named = {parameter.name for parameter in route.parameters}
    windows = {f"{days} d" if days else "all": days for days in WINDOWS_DAYS}
    if "since" not in named:
        windows = {"-": 0}
    return [
        (
            window,
            [
                Request(
                    method="GET",
                    path=route.path,
                    query=_span(rng, days, named) | form.ask(rng),
                    params={"id": rng.choice(sessions)} if "id" in named else {},
                )
                for _ in range(calls)
            ],
        )
        for window, days in windows.items()
    ]


def _span(rng: random.Random, days: int, named: Container[str]) -> Query:
    """What of a window a route can be told; quiet since its end where that is what it asks."""
    until = END_MS - rng.randrange(1, 365 * DAY_MS)
    since = max(0, until - days * DAY_MS) if days else 0
    said = {"since": since, "until": until, "idleMs": END_MS - until}
    return {name: (str(value),) for name, value in said.items() if name in named}


def _time(route: Route, form: Form, window: str, questions: Sequence[Request]) -> Figure:
    walls, cpus, largest = [], [], 0
    endpoint: Callable[[Request], object] = route.endpoint
    for question in questions:
        began, began_cpu = time.perf_counter(), time.thread_time()
        answer = endpoint(question)
        cpus.append((time.thread_time() - began_cpu) * 1000)
        walls.append((time.perf_counter() - began) * 1000)
        assert isinstance(answer, Response)
        assert isinstance(answer.body, bytes)
        assert answer.status == 200, answer.body
        largest = max(largest, len(answer.body))
    return Figure(
        route=f"{route.path} {form.name}".rstrip(),
        window=window,
        calls=len(walls),
        p50=at_share(walls, 0.5),
        p99=at_share(walls, 0.99),
        worst=max(walls),
        cpu_p50=at_share(cpus, 0.5),
        cpu_p99=at_share(cpus, 0.99),
        answer_bytes=largest,
    )


def _sessions(service: LedgerService) -> list[str]:
    """Names of every session, the longest first a thousand times over: a page shows those."""
    with service.reading() as reading:
        found = [row[0] for row in reading.connection.execute("SELECT name FROM sessions")]
        longest = reading.connection.execute(
            "SELECT name FROM session_totals JOIN sessions ON sessions.id = session"
            " ORDER BY requests DESC LIMIT 100"
        ).fetchall()
    return found + [name for (name,) in longest] * (len(found) // 100)


if __name__ == "__main__":
    raise SystemExit(main())
