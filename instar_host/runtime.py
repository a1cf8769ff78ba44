"""The engine of a host: one daemon thread with an event loop, plugins, ticks and the lease.

Promises: `start` never blocks and may be called from anywhere, any number of times; ticks run only
while this process holds the lease; `stop` ends everything in order and nothing writes after it.
Knows no web framework: a server joins through `add_closer`. Never does anything in a forked child
that did not start it.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from instar_host.errors import InstarError
from instar_host.records import HostContext, LeaseStatus
from instar_host.run import Closer, Run, RunSettings, State
from instar_host.surface import Surface
from instar_host.workers import Workers

LEASE_RETRY_S = 1.0
STOP_S = 2.0
MAX_ENDPOINT_THREADS = 8


class Runtime:
    """Start and stop of one host. `make_host` is called once per start, off any loop."""

    def __init__(
        self,
        make_host: Callable[[], HostContext],
        *,
        endpoint_threads: int = MAX_ENDPOINT_THREADS,
        lease_retry_s: float = LEASE_RETRY_S,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._make_host = make_host
        self._settings = RunSettings(
            endpoint_threads=endpoint_threads,
            lease_retry_s=lease_retry_s,
            stop_s=STOP_S,
            spread=spread,
        )
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._run: Run | None = None

    def start(self) -> None:
        """Begin, unless it runs already. Returns at once; `wait_ready` says how it went.

        Raises InstarError while an earlier run has not ended yet.
        """
        if self._pid != os.getpid():  # a forked child: nothing of the parent's runs here
            self._pid, self._lock, self._run = os.getpid(), threading.Lock(), None
        with self._lock:
            if self._run is not None and self._run.alive:
                if self._run.stopping:
                    raise InstarError(
                        "The host is still stopping; start it again when it has ended."
                    )
                return
            self._run = Run(self._make_host, self._settings)
            self._run.begin()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """End everything in order; true when nothing is left running within `timeout_s`.

        After False the rest goes on in the background in the same order: whatever still runs keeps
        the lease, and stores close after it. Idempotent; does nothing in a forked child.
        """
        run = self._mine()
        return True if run is None else run.end(timeout_s)

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Wait until plugins are loaded and routes answer. Raises what kept the host from
        starting.
        """
        run = self._mine()
        return False if run is None else run.wait_ready(timeout_s)

    @property
    def state(self) -> State:
        """Where it stands: `failed` when the host could not be made."""
        run = self._mine()
        return "stopped" if run is None else run.state

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The host's own event loop. Raises InstarError when it does not run."""
        return self._running().loop

    @property
    def workers(self) -> Workers:
        """The pool that sync endpoints run in. Raises InstarError when the host does not run."""
        return self._running().workers

    @property
    def file_workers(self) -> Workers:
        """The pool that static files are read in, so that slow endpoints do not hold up the page.

        Raises InstarError when the host does not run.
        """
        return self._running().file_workers

    @property
    def surface(self) -> Surface | None:
        """What the plugins contribute; None before they are loaded."""
        run = self._mine()
        return None if run is None else run.surface

    @property
    def host(self) -> HostContext | None:
        """What plugins are told; None before there is a host."""
        run = self._mine()
        return None if run is None else run.host

    def holds_lease(self) -> bool:
        """True while this process is the one that writes."""
        run = self._mine()
        return run is not None and run.holds_lease()

    def lease_status(self) -> LeaseStatus:
        """Who writes in this state directory. Reads the lease's file: not on a loop."""
        run = self._mine()
        return LeaseStatus() if run is None else run.lease()

    def late(self) -> tuple[str, ...]:
        """What a stop still waits for, by name."""
        run = self._mine()
        return () if run is None else run.late

    def wake(self, name: str) -> None:
        """Let a tick run as soon as it may; nothing where ticks do not run. From any thread."""
        run = self._mine()
        if run is not None:
            run.wake(name)

    def publish_address(self, address: str) -> None:
        """Tell other processes, through the lease, where this one answers HTTP."""
        self._running().publish(address)

    def spawn(self, work: Coroutine[Any, Any, None], closer: Closer | None = None) -> None:
        """Run `work` on the host's loop; `closer(seconds)` is awaited there first when it stops."""
        self._running().spawn(work, closer)

    def on_stopping(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell` when the stop begins, or now if it has; returns what takes that back."""
        return self._running().on_stopping(tell)

    def _mine(self) -> Run | None:
        return self._run if self._pid == os.getpid() else None

    def _running(self) -> Run:
        run = self._mine()
        if run is None:
            raise InstarError("The host does not run; start it first.")
        return run
