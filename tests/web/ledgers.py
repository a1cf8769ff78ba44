"""A served ledger over transcripts that a test writes, for page tests: real clock, real ticks.

Its ticks come of themselves once an hour only: a test says when to look (`look`).
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.corpus import Counters
from instar_host.clock import SystemClock
from instar_host.testing import MakeHost
from instar_host.testing_web import TOKEN, RunningHost, start_host
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.routes import TICK
from tests.tokenledger.homes import said

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOLDER = "projects/-home-ada-harbour"


class ServedLedger:
    """Transcripts below `claude`, and a host that serves the ledger of them."""

    def __init__(self, folder: Path, make_host: MakeHost, after: ExitStack) -> None:
        self.claude = folder / "claude"
        self.now_ms = SystemClock().now_ms()
        self._make_host = make_host
        self._after = after
        self._host: RunningHost | None = None
        (self.claude / FOLDER).mkdir(parents=True)

    @property
    def running(self) -> RunningHost:
        assert self._host is not None, "serve() comes first"
        return self._host

    def write(self, name: str, *lines: bytes) -> Path:
        """Append whole lines to the transcript `name` of the one project folder."""
        path = self.claude / FOLDER / name
        with path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        return path

    def serve(self, *, look: bool = True) -> RunningHost:
        """Serve, and read what there is."""
        settings = {"claudeDirs": [str(self.claude)], "idleIntervalMs": HOUR_MS, "dailyBackups": 0}
        host = self._make_host(
            {"tokenledger": TokenLedgerPlugin()}, {"authToken": TOKEN, "tokenLedger": settings}
        )
        self._host = start_host(msgspec.structs.replace(host, clock=SystemClock()), self._after)
        if look:
            self.await_read()
        return self._host

    def look(self) -> None:
        """Ask for a tick now."""
        self.running.host.wake(TICK)

    def await_read(self) -> None:
        """Wait until everything written so far was read: a tick that began now has ended."""
        tick = self.running.host.runtime.ticks
        before = sum(one.runs for one in tick() if one.name == TICK)
        self.look()
        while sum(one.runs for one in tick() if one.name == TICK and not one.running) <= before:
            assert self.running.client.get("/health").status_code == 200

    def get(self, path: str, **query: Any) -> Any:
        """What a route answers."""
        answer = self.running.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content)

    def line(self, number: int, session: str = "session-1", **more: Any) -> bytes:
        """A request an hour or more ago, told apart by its number."""
        at_ms = more.pop("ts", self.now_ms - (number + 1) * HOUR_MS)
        counters = more.pop(
            "counters",
            Counters(input=7, output=900 + number, cache_create=4_000, cache_read=60_000),
        )
        return said(
            f"msg_{number}", f"req_{number}", session=session, ts=at_ms, counters=counters, **more
        )
