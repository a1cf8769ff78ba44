"""Telling plugins what has happened, without waiting for them.

Promises that `put` never blocks and never raises: every plugin has a thread and a bounded line of
its own, so an observer that hangs loses only its own events, counted. Never keeps the interpreter
from leaving.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

CAPACITY = 1_000
"""Events that may wait for one plugin."""

Call = Callable[[], object]


class Observers:
    """One lane a plugin. A fork begins anew: no thread survives it."""

    def __init__(
        self,
        *,
        failed: Callable[[str, BaseException], None],
        dropped: Callable[[str], None],
        capacity: int = CAPACITY,
    ) -> None:
        """`failed(plugin, exc)` and `dropped(plugin)` are told what went wrong, on any thread."""
        self._failed = failed
        self._dropped = dropped
        self._capacity = capacity
        self._begin()

    def put(self, plugin: str, call: Call) -> None:
        """Have `call` run on the plugin's thread, after what waits there; dropped when the line is
        full.
        """
        if os.getpid() != self._pid:
            self._begin()
        with self._lock:
            lane = self._lanes.get(plugin)
            if lane is None and not self._closed:
                lane = _Lane(plugin, self._capacity, self._failed)
                self._lanes[plugin] = lane
        if lane is None or not lane.put(call):
            self._dropped(plugin)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything put so far has run; false when `timeout_s` passed first."""
        deadline = time.monotonic() + timeout_s
        return all(lane.flush(deadline) for lane in self._mine())

    def close(self, timeout_s: float) -> tuple[str, ...]:
        """Take nothing more, let the lines run out for `timeout_s`; the plugins that did not
        finish.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._closed = True
        lanes = self._mine()
        for lane in lanes:
            lane.end()
        return tuple(lane.plugin for lane in lanes if not lane.join(deadline))

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._closed = False

    def _mine(self) -> list[_Lane]:
        if os.getpid() != self._pid:
            return []
        with self._lock:
            return list(self._lanes.values())


class _Lane:
    """A plugin's line of events and the thread that works it off."""

    def __init__(
        self, plugin: str, capacity: int, failed: Callable[[str, BaseException], None]
    ) -> None:
        self.plugin = plugin
        self._capacity = capacity
        self._failed = failed
        self._calls: deque[Call] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._ending = False
        self._abandoned = False
        self._thread = threading.Thread(
            target=self._work, name=f"instar-observer-{plugin}", daemon=True
        )
        self._thread.start()

    def put(self, call: Call) -> bool:
        with self._changed:
            if self._ending or len(self._calls) >= self._capacity:
                return False
            self._calls.append(call)
            self._changed.notify_all()
            return True

    def flush(self, deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._calls and not self._busy, max(0.0, deadline - time.monotonic())
            )

    def end(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def join(self, deadline: float) -> bool:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            self._abandoned = True
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except BaseException as exc:  # noqa: BLE001 - a worker loop at a plugin boundary
                self._failed(self.plugin, exc)

    def _next(self) -> Call | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._calls or self._ending)
            if not self._calls or self._abandoned:
                return None
            self._busy = True
            return self._calls.popleft()
