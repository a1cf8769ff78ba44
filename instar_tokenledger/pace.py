"""How a long piece of work goes along with whatever else runs in the process.

In a host it rests between slices, so that the host's loop gets the interpreter when it wants it.

Measured at the first reading of a tree, with a loop that is asked every 20 ms (the table is in
`benchmarks/README.md`): without rests the loop waits for the interpreter's switch interval several
times an answer; 1 ms of rest after 5 ms of work takes a third off its slowest answers for a sixth
of the speed, and a second millisecond of rest little more for as much again. Work is the thread's
own processor time: on a busy machine waiting for one's turn is rest enough.

In a process of its own it need not be looked through for garbage every few hundred objects: reading
makes no cycles, and the looking costs a twentieth of a first scan.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WORK_S = 0.005
REST_S = 0.001
YOUNG_OBJECTS = 50_000
"""So many more than went before the collector looks, in a process of our own: a few MiB."""


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


@contextmanager
def alone() -> Iterator[None]:
    """For work that has the process to itself: the collector of garbage looks seldom."""
    before = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
