"""`python -m benchmarks.queries`: what every `/tokens/*` route costs on a year of five million
requests.

Calls the endpoints as the server does, without HTTP around them: a reader opened for each question,
the answer encoded. Windows of 0 (everything before an instant), 365, 30, 7 and 1 day end at random
milliseconds of the year. Wall and CPU time of each call; the first call of a route counts too.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

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

Query = dict[str, tuple[str, ...]]


class StandingClock:
    """The end of the year, for ever: what "now" means to a route."""

    def now_ms(self) -> int:
        return END_MS

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one route with one kind of window, milliseconds."""

    route: str
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
        for window, questions in _questions(route, random.Random(seed), calls, sessions):
            found.append(_time(route, window, questions))
    return found


def benchmark_host(state_dir: Path, clock: Clock) -> HostContext:
    """A host around a ledger; nothing of this machine's is looked at."""
    config = Config.load(state_dir, {})
    plugins = Plugins.load(config, entry_points=(), given={"tokenledger": TokenLedgerPlugin()})
    return host_context(state_dir, config, plugins, clock=clock)


def table(figures: Sequence[Figure]) -> str:
    """A line a route and window, then the worst p99 of all."""
    head = f"{'route':<26}{'window':>8}{'calls':>7}{'p50':>8}{'p99':>8}{'max':>8}"
    lines = [head + f"{'cpu50':>8}{'cpu99':>8}{'bytes':>9}   (ms)"]
    for f in figures:
        mark = "  <-- above" if f.p99 > GOAL_MS else ""
        lines.append(
            f"{f.route:<26}{f.window:>8}{f.calls:>7}{f.p50:>8.2f}{f.p99:>8.2f}{f.worst:>8.2f}"
            f"{f.cpu_p50:>8.2f}{f.cpu_p99:>8.2f}{f.answer_bytes:>9}{mark}"
        )
    worst = max(figures, key=lambda f: f.p99)
    lines.append(f"worst p99: {worst.p99:.1f} ms ({worst.route}, {worst.window})")
    return "\n".join(lines)


def _questions(
    route: Route, rng: random.Random, calls: int, sessions: Sequence[str]
) -> list[tuple[str, list[Request]]]:
    """Requests to one route, by kind of window."""
    named = {parameter.name for parameter in route.parameters}
    if "since" in named:
        return [
            (
                f"{days} d" if days else "all",
                [_asked(route, _span(rng, days)) for _ in range(calls)],
            )
            for days in WINDOWS_DAYS
        ]
    if "id" in named:
        return [("-", [_asked(route, {}, rng.choice(sessions)) for _ in range(calls)])]
    if "idleMs" in named:
        quiet_ms = [str(rng.randrange(1, 365 * DAY_MS)) for _ in range(calls)]
        return [("-", [_asked(route, {"idleMs": (ms,)}) for ms in quiet_ms])]
    return [("-", [_asked(route, {}) for _ in range(calls)])]


def _span(rng: random.Random, days: int) -> Query:
    until = END_MS - rng.randrange(365 * DAY_MS)
    since = max(0, until - days * DAY_MS) if days else 0
    return {"since": (str(since),), "until": (str(until),)}


def _asked(route: Route, query: Query, session: str = "") -> Request:
    more: Query = {}
    if any(parameter.name == "bucket" for parameter in route.parameters):
        more = {"bucket": ("hour",), "tz": ("America/New_York",)}
    return Request(method="GET", path=route.path, query={**query, **more}, params={"id": session})


def _time(route: Route, window: str, questions: Sequence[Request]) -> Figure:
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
        route=route.path,
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
