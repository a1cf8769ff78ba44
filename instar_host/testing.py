"""Fixtures for tests of plugins, the ones that this project uses itself.

In a `conftest.py`: `pytest_plugins = ["instar_host.testing"]`. They promise a private state
directory, a clock that moves only when told, and a host with exactly the plugins and settings that
a test names; what is installed and the user's own environment are never looked at.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from instar_host.config import FILE_NAME, Config
from instar_host.host import host_context
from instar_host.plugins import Plugins
from instar_host.records import HostContext
from instar_host.testing_web import RunHost, RunningHost, run_host

__all__ = [
    "START_MS",
    "FakeClock",
    "MakeHost",
    "RunHost",
    "RunningHost",
    "clock",
    "make_host",
    "name_of",
    "run_host",
    "state_dir",
]

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z, where a FakeClock begins."""
_POLL_S = 0.002


class FakeClock:
    """A clock that stands still until `advance` or `set` moves it. Threads may share it."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 0.0
        self._waiting = 0
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        with self._lock:
            return self._now_ms

    def monotonic_s(self) -> float:
        with self._lock:
            return self._monotonic_s

    def set(self, now_ms: int) -> None:
        """Put the wall clock to an instant, as NTP would; what waits does not notice."""
        with self._lock:
            self._now_ms = now_ms

    def advance(self, seconds: float) -> None:
        """Let time pass: both clocks move, and waits that have become due return."""
        with self._lock:
            self._now_ms += round(seconds * 1000)
            self._monotonic_s += seconds

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until the event is set or the clock was advanced by `timeout_s`."""
        due_s = self.monotonic_s() + timeout_s
        with self._lock:
            self._waiting += 1
        try:
            while not event.is_set() and self.monotonic_s() < due_s:
                event.wait(_POLL_S)
            return event.is_set()
        finally:
            with self._lock:
                self._waiting -= 1

    @property
    def waiters(self) -> int:
        """Threads that wait on this clock at this moment."""
        with self._lock:
            return self._waiting

    def await_waiters(self, count: int, timeout_s: float = 10.0) -> None:
        """Wait, in real time, until at least `count` threads wait on this clock. Raises
        TimeoutError.
        """
        deadline = time.monotonic() + timeout_s
        while self.waiters < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.waiters} of {count} threads wait on the clock")
            time.sleep(_POLL_S)


class MakeHost(Protocol):
    """Makes a host from plugin objects and a `config.json`."""

    def __call__(
        self,
        plugins: Iterable[object] | Mapping[str, object] = (),
        config: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> HostContext:
        """`plugins`: modules, instances or classes; by name, or named after themselves."""
        ...


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A private, empty state directory."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test turns by hand."""
    return FakeClock()


@pytest.fixture
def make_host(state_dir: Path, clock: FakeClock) -> Iterator[MakeHost]:
    """Make hosts in `state_dir`; their observers are stopped when the test ends."""
    made: list[HostContext] = []

    def make(
        plugins: Iterable[object] | Mapping[str, object] = (),
        config: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> HostContext:
        if config is not None:
            (state_dir / FILE_NAME).write_text(json.dumps(config), encoding="utf-8")
        given = plugins if isinstance(plugins, Mapping) else {name_of(p): p for p in plugins}
        read = Config.load(state_dir, environ or {})
        loaded = Plugins.load(read, entry_points=(), given=given)
        made.append(host_context(state_dir, read, loaded, clock=clock))
        return made[-1]

    yield make
    for host in made:
        host.plugins.close()


def name_of(plugin: object) -> str:
    """The name of an object that nobody named: `TokenLedgerPlugin()` is `tokenledger`."""
    if isinstance(plugin, ModuleType):
        parts = plugin.__name__.removesuffix(".plugin").split(".")
        return parts[-1].removeprefix("instar_")
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return kind.__name__.removesuffix("Plugin").lower() or "plugin"
