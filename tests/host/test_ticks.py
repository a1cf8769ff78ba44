"""Ticks: one at a time, with back-off, woken from anywhere, never after the stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from instar_host import Tick, TickControl
from instar_host.clock import SystemClock
from instar_host.testing import FakeClock
from instar_host.ticks import MAX_BACK_OFF_S, OwnedTick, Ticks, back_off_s

GUARD_S = 20.0


class Work:
    """A tick whose runs the test counts, holds and breaks."""

    def __init__(self, answer: Callable[[], float | None] = lambda: None) -> None:
        self.answer = answer
        self.ran = threading.Semaphore(0)
        self.running = 0
        self.most_at_once = 0

    def __call__(self, control: TickControl) -> float | None:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            return self.answer()
        finally:
            self.running -= 1
            self.ran.release()

    def await_run(self) -> None:
        """Wait for one more run."""
        assert self.ran.acquire(timeout=GUARD_S)

    def ran_again(self) -> bool:
        """True when there was a run nobody waited for."""
        return self.ran.acquire(blocking=False)


def ticks_of(clock: FakeClock, *ticks: Tick) -> Ticks:
    """Without spread: `random` in the middle."""
    owned = [OwnedTick(plugin="p", tick=tick) for tick in ticks]
    return Ticks(owned, clock=clock, random=lambda: 0.5)


def stopped(ticks: Ticks) -> bool:
    """Stop, and say whether all have ended."""
    ticks.ask_to_stop()
    return ticks.join(GUARD_S) == ()


def test_a_tick_runs_at_start_and_then_by_its_period(clock: FakeClock) -> None:
    """At once, and again when the period has passed, not before."""
    work = Work()
    ticks = ticks_of(clock, Tick(name="t", func=work, every_s=60))
    ticks.start()
    work.await_run()
    clock.await_waiters(1)
    clock.advance(59.9)
    assert not work.ran_again()
    clock.advance(0.2)
    work.await_run()
    assert stopped(ticks)


def test_a_tick_may_wait_for_its_first_period(clock: FakeClock) -> None:
    """`at_start=False` means not now."""
    work = Work()
    ticks = ticks_of(clock, Tick(name="t", func=work, every_s=60, at_start=False))
    ticks.start()
    clock.await_waiters(1)
    assert not work.ran_again()
    clock.advance(61)
    work.await_run()
    assert stopped(ticks)


def test_a_tick_says_when_it_wants_to_run_again(clock: FakeClock) -> None:
    """A returned number replaces the period, once."""
    work = Work(lambda: 5.0)
    ticks = ticks_of(clock, Tick(name="t", func=work, every_s=60))
    ticks.start()
    work.await_run()
    clock.await_waiters(1)
    clock.advance(5)
    work.await_run()
    assert stopped(ticks)


def test_waking_brings_a_tick_forward(clock: FakeClock) -> None:
    """No time passes at all."""
    work = Work()
    ticks = ticks_of(clock, Tick(name="t", func=work))
    ticks.start()
    work.await_run()
    assert ticks.wake("t")
    work.await_run()
    assert not ticks.wake("unknown")
    assert stopped(ticks)


@pytest.mark.parametrize("every_s", [float("inf"), 1e12])
def test_a_tick_without_a_period_runs_when_it_is_woken(every_s: float) -> None:
    """Longer than a thread can wait is for ever; its thread died of the number."""
    work = Work()
    tick = Tick(name="t", func=work, every_s=every_s)
    ticks = Ticks([OwnedTick(plugin="p", tick=tick)], clock=SystemClock(), random=lambda: 0.5)
    ticks.start()
    work.await_run()
    assert ticks.wake("t")
    work.await_run()
    assert stopped(ticks)


def test_waking_a_running_tick_runs_it_once_more_and_never_twice_at_once(
    clock: FakeClock,
) -> None:
    """PW-02: the original dropped such a tick; ours keeps the wish, and only one."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert leave.wait(GUARD_S)

    work = Work(hold)
    ticks = ticks_of(clock, Tick(name="t", func=work))
    ticks.start()
    assert inside.wait(GUARD_S)
    for _ in range(10):
        ticks.wake("t")
    leave.set()
    work.await_run()
    work.await_run()
    clock.await_waiters(1)
    assert not work.ran_again()
    assert work.most_at_once == 1
    assert stopped(ticks)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RuntimeError("disk on fire"), "RuntimeError: disk on fire"),
        (SystemExit(2), "SystemExit: 2"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_failing_tick_is_told_about_and_goes_on(
    clock: FakeClock, fault: BaseException, said: str
) -> None:
    """PW-02: reported with its reason; the cadence goes on, slower."""
    faults = [fault]

    def sometimes() -> None:
        if faults:
            raise faults.pop()

    heard: list[tuple[str, str]] = []
    work = Work(sometimes)
    owned = OwnedTick(plugin="p", tick=Tick(name="t", func=work, every_s=60))
    ticks = Ticks([owned], clock=clock, random=lambda: 0.5, failed=lambda *a: heard.append(a))
    ticks.start()
    work.await_run()
    clock.await_waiters(1)
    [status] = ticks.statuses()
    assert (status.failures, status.failures_in_row) == (1, 1)
    assert (status.last_error or "").startswith(f"{said} (test_ticks.py:")
    assert heard == [("p", f"tick t: {status.last_error}")]
    while not work.ran_again():
        clock.advance(1)
    clock.await_waiters(1)
    [status] = ticks.statuses()
    assert (status.runs, status.failures, status.failures_in_row) == (2, 1, 0)
    assert stopped(ticks)


@pytest.mark.parametrize("answer", ["soon", -1.0, float("nan"), float("inf"), True])
def test_a_nonsense_answer_is_a_failure_of_the_tick(clock: FakeClock, answer: object) -> None:
    """Seconds from 0 up, or None: anything else stands in the status."""
    work = Work(lambda: answer)  # type: ignore[arg-type, return-value]
    ticks = ticks_of(clock, Tick(name="t", func=work))
    ticks.start()
    work.await_run()
    clock.await_waiters(1)
    assert ticks.statuses()[0].failures == 1
    assert stopped(ticks)


def test_an_asynchronous_tick_is_told_so(clock: FakeClock) -> None:
    """The author reads what to change; Python warned of a coroutine that nobody awaited."""

    async def later(_control: TickControl) -> None: ...

    heard = threading.Event()
    said: list[str] = []

    def failed(_plugin: str, why: str) -> None:
        said.append(why)
        heard.set()

    owned = OwnedTick(plugin="p", tick=Tick(name="t", func=later))  # type: ignore[arg-type]
    ticks = Ticks([owned], clock=clock, random=lambda: 0.5, failed=failed)
    ticks.start()
    assert heard.wait(GUARD_S)
    assert said == ["tick t: TypeError: a tick is a plain function, and this one is asynchronous"]
    assert stopped(ticks)


def test_back_off_doubles_and_is_capped() -> None:
    """A minute's tick rests at most five minutes, an hour's never less than its hour."""
    assert [back_off_s(60, n) for n in (1, 2, 3, 4)] == [60, 120, 240, MAX_BACK_OFF_S]
    assert back_off_s(0.01, 1) == 1
    assert back_off_s(3600, 10_000) == 3600


def test_a_woken_failing_tick_still_rests_a_moment(clock: FakeClock) -> None:
    """Events that wake a broken tick all the time must not make it spin."""

    def fail() -> None:
        raise RuntimeError

    work = Work(fail)
    ticks = ticks_of(clock, Tick(name="t", func=work))
    ticks.start()
    work.await_run()
    clock.await_waiters(1)
    ticks.wake("t")
    assert not work.ran_again()
    clock.advance(1.5)
    work.await_run()
    assert stopped(ticks)


def test_a_running_tick_learns_that_it_should_end(clock: FakeClock) -> None:
    """H3: a stop in mid-tick waits for the slice, and nothing runs after it."""
    inside = threading.Event()

    def until_asked(control: TickControl) -> None:
        inside.set()
        while not control.stopping():
            clock.wait(threading.Event(), 0)

    ticks = ticks_of(clock, Tick(name="t", func=until_asked))
    ticks.start()
    assert inside.wait(GUARD_S)
    assert ticks.join(0) == ("t",)
    assert stopped(ticks)
    ticks.wake("t")
    assert ticks.alive() == ()


def test_stuck_ticks_do_not_keep_waiting_ones_from_ending(clock: FakeClock) -> None:
    """At most four run at once; the fifth, still in line, ends without having run."""
    leave = threading.Event()
    stuck = [Tick(name=f"s{n}", func=Work(lambda: leave.wait(GUARD_S) and None)) for n in range(4)]
    work = Work()
    ticks = ticks_of(clock, *stuck, Tick(name="late", func=work))
    ticks.start()
    ticks.ask_to_stop()
    assert "late" not in ticks.join(1.0) or not work.ran_again()
    leave.set()
    assert ticks.join(GUARD_S) == ()
