"""A plugin that writes down what happens to it in a host."""

from __future__ import annotations

import asyncio
import threading

import pytest

from instar_host import HostContext, Response, Route, Tick, TickControl, hookimpl


class Diary:
    """A plugin that writes down what happens to it, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ticked = threading.Event()
        self.ready = threading.Event()
        self.host: HostContext | None = None
        self.hook_threads: set[str] = set()

    @hookimpl
    def instar_routes(self, host: HostContext) -> list[Route]:
        """Asks, while it may, who writes."""
        self.note("routes")
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        self.host = host
        return [Route(method="GET", path="/diary", endpoint=lambda _request: Response())]

    @hookimpl
    def instar_ticks(self) -> list[Tick]:
        """One tick that notes whether it runs under the lease."""
        self.note("ticks")
        return [Tick(name="diary", func=self.tick)]

    @hookimpl
    def instar_host_ready(self) -> None:
        """The last word of the start."""
        self.note("ready")
        self.ready.set()

    @hookimpl
    def instar_host_stopping(self, host: HostContext) -> None:
        """By now no tick may run."""
        self.note(f"stopping, lease {host.holds_lease()}")

    def tick(self, control: TickControl) -> None:
        """Notes once that it ran."""
        if not self.ticked.is_set():
            assert self.host is not None
            self.note(f"tick, lease {self.host.holds_lease()}")
        self.ticked.set()

    def note(self, line: str) -> None:
        """One more line."""
        self.lines.append(line)
