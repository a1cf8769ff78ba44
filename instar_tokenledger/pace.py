"""Rests between slices of work, so that a host's loop gets the interpreter when it wants it.

Measured with a loop that answers a request every 20 ms, while a thread reads at full speed: without
rests the 99th percentile is 4.9 ms and the loop waits for the interpreter's switch interval again
and again; with 2 ms of rest after 5 ms of work it is below 1 ms, for a third of the speed. Work is
the thread's own processor time: on a busy machine waiting for one's turn is rest enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable

WORK_S = 0.005
REST_S = 0.002


class Pace:
    """Called between slices; rests when enough was done. One thread at a time."""

    def __init__(
        self,
        rest: Callable[[float], None] = time.sleep,
        worked_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """`worked_s` tells how much this thread has worked, from an arbitrary start."""
        self._rest = rest
        self._worked_s = worked_s
        self._rested_at_s = 0.0

    def __call__(self) -> None:
        worked_s = self._worked_s()
        if worked_s < self._rested_at_s:  # another thread than last time
            self._rested_at_s = worked_s
        if worked_s - self._rested_at_s >= WORK_S:
            self._rest(REST_S)
            self._rested_at_s = worked_s
