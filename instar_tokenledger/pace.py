"""Rests between slices of work, so that a host's loop gets the interpreter when it wants it.

Measured at the first reading of a tree, with a loop that is asked every 20 ms (the table is in
`benchmarks/README.md`): without rests the loop waits for the interpreter's switch interval several
times an answer; 1 ms of rest after 5 ms of work takes a third off its slowest answers for a sixth
of the speed, and a second millisecond of rest little more for as much again. Work is the thread's
own processor time: on a busy machine waiting for one's turn is rest enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable

WORK_S = 0.005
REST_S = 0.001


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
