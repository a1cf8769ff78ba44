"""The fixtures that plugin authors get."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from functools import partial

import pytest

from instar_host import HostContext, Tick, TickControl, hookimpl
from instar_host.testing import START_MS, FakeClock, MakeHost, RunHost, name_of


class TickingPlugin:
    @hookimpl
    def instar_host_ready(self, host: HostContext) -> None: ...


def test_the_clock_stands_until_it_is_moved(clock: FakeClock) -> None:
    """`advance` moves both readings, `set` only the wall clock."""
    clock.advance(1.5)
    assert (clock.now_ms(), clock.monotonic_s()) == (START_MS + 1500, 1.5)

    clock.set(0)
    assert (clock.now_ms(), clock.monotonic_s()) == (0, 1.5)


def test_a_wait_ends_when_time_has_passed_or_the_event_is_set(clock: FakeClock) -> None:
    """And not before: an hour passes in no time."""
    answers: list[bool] = []
    event = threading.Event()

    def wait() -> None:
        answers.append(clock.wait(event, 3600))

    acts: list[Callable[[], None]] = [partial(clock.advance, 3600), event.set]
    for act in acts:
        thread = threading.Thread(target=wait)
        thread.start()
        clock.await_waiters(1)
        act()
        thread.join(10)

    assert answers == [False, True]
    assert clock.waiters == 0


def test_a_host_has_what_it_was_given_and_nothing_else(make_host: MakeHost) -> None:
    """Neither installed plugins nor the environment leak in."""
    host = make_host([TickingPlugin], {"port": 1}, environ={"A": "b"})

    assert [(s.name, s.state) for s in host.plugins.statuses()] == [("ticking", "loaded")]
    assert (host.config.port, host.config.environ) == (1, {"A": "b"})
    assert stat.S_IMODE(host.state_dir.stat().st_mode) == 0o700
    assert host.clock.now_ms() == START_MS


def test_a_plugin_is_named_after_itself() -> None:
    """The class without `Plugin`; the module without our prefix."""
    import instar_host.clock

    assert name_of(TickingPlugin()) == name_of(TickingPlugin) == "ticking"
    assert name_of(instar_host.clock) == "clock"


class Counting:
    """A plugin whose tick counts its runs, and fails at the second one."""

    def __init__(self) -> None:
        self.runs = 0

    @hookimpl
    def instar_ticks(self) -> list[Tick]:
        return [Tick(name="counting", func=self.count, every_s=3600)]

    def count(self, _control: TickControl) -> None:
        self.runs += 1
        if self.runs == 2:
            raise ValueError("two is too many")


def test_a_tick_is_run_until_something_is_so(run_host: RunHost) -> None:
    """The answer is handed back; a tick that failed rests by the test's clock, which goes on."""
    plugin = Counting()
    running = run_host([plugin])

    assert running.until(lambda: plugin.runs > 3 and plugin.runs, "counting", advance_s=5) > 3


def test_a_wait_in_vain_says_what_went_wrong(run_host: RunHost) -> None:
    """The status of the plugins and the ticks stands in the test's failure."""
    running = run_host([Counting()])
    failed = "plugin counting: tick counting: ValueError: two is too many"
    running.until(
        lambda: any("two" in (t.last_error or "") for t in running.host.runtime.ticks()), "counting"
    )

    with pytest.raises(AssertionError, match=failed):
        running.until(lambda: False, guard_s=0)


def test_everything_of_the_fixtures_is_in_one_module() -> None:
    """`instar_host.testing` has the types of all of them, for tests that name theirs."""
    import instar_host.testing

    missing = [
        name for name in instar_host.testing.__all__ if not hasattr(instar_host.testing, name)
    ]
    assert missing == []
    assert {"RunHost", "RunningHost", "MakeHost"} <= set(instar_host.testing.__all__)
