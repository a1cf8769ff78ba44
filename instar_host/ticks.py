"""Repeated work on threads of its own: never on a loop, never one tick twice at once.

Promises that a tick that fails is told about and goes on with back-off, that `wake` brings a tick
forward from any thread, and that after `stop` returned true no tick runs any more. Never starts a
tick that was not handed to it, and knows nothing of the lease: its owner starts and stops it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Coroutine, Iterable

import msgspec

from instar_host.clock import Clock
from instar_host.places import explained
from instar_host.records import Tick, TickControl, TickStatus

MAX_AT_ONCE = 4
JITTER = 0.1
"""Waits are spread by this share either way, so that ticks of one period do not march in step."""
MAX_BACK_OFF_S = 300.0
MIN_GAP_AFTER_FAILURE_S = 1.0
"""A failing tick that is woken all the time still rests this long."""
MAX_WAIT_S = 24 * 3600.0

log = logging.getLogger("instar.ticks")


class OwnedTick(msgspec.Struct, frozen=True, kw_only=True):
    """A tick and the plugin that brought it."""

    plugin: str
    tick: Tick


class Ticks:
    """One run of a set of ticks, from `start` to `stop`. Not to be started twice."""

    def __init__(
        self,
        ticks: Iterable[OwnedTick],
        *,
        clock: Clock,
        random: Callable[[], float],
        failed: Callable[[str, str], None] = lambda _plugin, _error: None,
    ) -> None:
        """`random` returns a number in [0, 1); it only spreads the waits. `failed` hears of every
        run that failed: plugin, why.
        """
        self._clock = clock
        self._random = random
        self._failed = failed
        self._stopping = threading.Event()
        self._slots = threading.Semaphore(MAX_AT_ONCE)
        self._jobs = {owned.tick.name: _Job(owned) for owned in ticks}

    def start(self) -> None:
        """Begin every tick's thread."""
        for job in self._jobs.values():
            job.thread = threading.Thread(
                target=self._live, args=(job,), name=f"instar-tick-{job.name}", daemon=True
            )
            job.thread.start()

    def wake(self, name: str) -> bool:
        """Let the tick run as soon as it may, again if it runs now. False for an unknown name."""
        job = self._jobs.get(name)
        if job is None:
            return False
        job.wanted.set()
        return True

    def ask_to_stop(self) -> None:
        """Tell running ticks to end and start no other. Returns at once; idempotent."""
        self._stopping.set()
        for job in self._jobs.values():
            job.wanted.set()
            self._slots.release()  # whoever waits for its turn must see that there is none

    def join(self, timeout_s: float | None = None) -> tuple[str, ...]:
        """Wait for the threads, each at most `timeout_s`; the names of ticks still running."""
        for job in self._jobs.values():
            if job.thread is not None:
                job.thread.join(timeout_s)
        return self.alive()

    def alive(self) -> tuple[str, ...]:
        """Names of the ticks whose threads have not ended."""
        return tuple(
            name
            for name, job in self._jobs.items()
            if job.thread is not None and job.thread.is_alive()
        )

    def statuses(self) -> tuple[TickStatus, ...]:
        """How each tick fares, in the order they were given."""
        return tuple(job.status for job in self._jobs.values())

    def _live(self, job: _Job) -> None:
        delay_s = 0.0 if job.tick.at_start else self._spread(job.tick.every_s)
        while True:
            if job.status.failures_in_row:
                rest_s = min(delay_s, MIN_GAP_AFTER_FAILURE_S)
                self._clock.wait(self._stopping, rest_s)
                delay_s -= rest_s
            if delay_s > 0:
                self._clock.wait(job.wanted, min(delay_s, threading.TIMEOUT_MAX))
            with self._slots:
                if self._stopping.is_set():
                    return
                job.wanted.clear()
                delay_s = self._once(job)

    def _once(self, job: _Job) -> float:
        """Run the tick; seconds to wait afterwards."""
        began_ms, began_s = self._clock.now_ms(), self._clock.monotonic_s()
        job.change(running=True, last_run_at_ms=began_ms)
        error: str | None = None
        wish: float | None = None
        try:
            wish = _seconds(job.tick.func(TickControl(stopping=self._stopping.is_set)))
        except BaseException as exc:
            error = explained(exc)
            repeated = job.status.failures_in_row > 0 and error == job.status.last_error
            level = logging.DEBUG if repeated else logging.WARNING  # once is enough to read
            log.log(level, "tick %s of %s failed: %s", job.name, job.plugin, error)
            log.debug("tick %s", job.name, exc_info=exc)
        duration_ms = round((self._clock.monotonic_s() - began_s) * 1000)
        was = job.status
        if error is None:
            job.change(
                running=False, runs=was.runs + 1, failures_in_row=0, last_duration_ms=duration_ms
            )
            return self._spread(job.tick.every_s) if wish is None else wish
        self._failed(job.plugin, f"tick {job.name}: {error}")
        job.change(
            running=False,
            runs=was.runs + 1,
            failures=was.failures + 1,
            failures_in_row=was.failures_in_row + 1,
            last_error=error,
            last_duration_ms=duration_ms,
        )
        return self._spread(back_off_s(job.tick.every_s, was.failures_in_row + 1))

    def _spread(self, seconds: float) -> float:
        return seconds * (1 - JITTER + 2 * JITTER * self._random())


def back_off_s(every_s: float, failures_in_row: int) -> float:
    """Seconds a failing tick rests: its period, doubled with each failure, capped; at least 1."""
    period_s = max(every_s, MIN_GAP_AFTER_FAILURE_S)
    doubled_s = period_s * float(2 ** min(failures_in_row - 1, 16))
    return min(doubled_s, max(MAX_BACK_OFF_S, period_s))


def _seconds(answer: object) -> float | None:
    """The wait that a tick asked for. Raises TypeError or ValueError for what is none."""
    if answer is None:
        return None
    if isinstance(answer, Coroutine):
        answer.close()  # or Python warns, later and elsewhere, that it was never awaited
        raise TypeError("a tick is a plain function, and this one is asynchronous")
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        raise TypeError(f"a tick returns seconds or None, not {type(answer).__name__}")
    if not math.isfinite(answer) or answer < 0:
        raise ValueError(f"a tick returns seconds from 0 up, not {answer}")
    return min(float(answer), MAX_WAIT_S)


class _Job:
    """One tick and how it fares. Only its own thread changes the status."""

    def __init__(self, owned: OwnedTick) -> None:
        self.tick = owned.tick
        self.name = owned.tick.name
        self.plugin = owned.plugin
        self.wanted = threading.Event()
        self.thread: threading.Thread | None = None
        self.status = TickStatus(name=self.name, plugin=self.plugin, every_s=self.tick.every_s)

    def change(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)
