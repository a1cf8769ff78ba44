"""The engine: start from anywhere, ticks under the lease, an end that is one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from instar_host import HostContext, InstarError, Route, Tick, TickControl, hookimpl
from instar_host.lease import Lease
from instar_host.runtime import Runtime
from instar_host.testing import MakeHost
from tests.host.diary import Diary

GUARD_S = 20.0


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def test_a_host_goes_up_and_down_in_order(make_runtime: Callable[..., Runtime]) -> None:
    """Contributions, lease, ready; ticks end, then stopping, and the lease goes last."""
    diary = Diary()
    runtime = make_runtime(diary)
    runtime.start()
    assert runtime.wait_ready(GUARD_S)
    assert diary.ticked.wait(GUARD_S)
    assert diary.ready.wait(GUARD_S)
    assert runtime.stop(GUARD_S)
    assert diary.lines[:2] == ["routes", "ticks"]
    assert sorted(diary.lines[2:4]) == ["ready", "tick, lease True"]
    assert diary.lines[4:] == ["stopping, lease True"]
    assert not runtime.holds_lease()
    assert runtime.state == "stopped"


def test_starting_twice_is_starting_once(make_runtime: Callable[..., Runtime]) -> None:
    """Rule 4: idempotent, from any thread."""
    diary = Diary()
    runtime = make_runtime(diary)
    starters = [threading.Thread(target=runtime.start) for _ in range(8)]
    for one in starters:
        one.start()
    for one in starters:
        one.join()
    assert runtime.wait_ready(GUARD_S)
    assert diary.lines.count("routes") == 1


def test_starting_from_a_loop_that_is_thrown_away(make_runtime: Callable[..., Runtime]) -> None:
    """Rule 4, H4: hosts load plugins on a loop they drop; ours lives in a thread of its own."""
    diary = Diary()
    runtime = make_runtime(diary)

    async def load() -> None:
        runtime.start()

    asyncio.run(load())
    assert runtime.wait_ready(GUARD_S)
    assert diary.ticked.wait(GUARD_S)


def test_a_stopped_host_starts_anew(make_runtime: Callable[..., Runtime]) -> None:
    """Stop is no end of the object; stopping twice is stopping once."""
    diary = Diary()
    runtime = make_runtime(diary)
    assert runtime.stop()
    for _ in range(2):
        runtime.start()
        assert runtime.wait_ready(GUARD_S)
        assert runtime.stop(GUARD_S)
        assert runtime.stop(GUARD_S)
    assert diary.lines.count("routes") == 2


def test_a_hundred_starts_leave_nothing_behind(make_runtime: Callable[..., Runtime]) -> None:
    """H3: no thread and no descriptor more than before."""
    runtime = make_runtime(Diary())

    def once() -> None:
        runtime.start()
        assert runtime.wait_ready(GUARD_S)
        assert runtime.stop(GUARD_S)

    once()
    threads, files = threading.active_count(), descriptors()
    for _ in range(100):
        once()
    assert (threading.active_count(), descriptors()) == (threads, files)


def test_stopping_in_the_middle_of_a_start_is_a_stop(make_runtime: Callable[..., Runtime]) -> None:
    """H3: whatever had begun is ended; no tick runs afterwards."""
    for _ in range(20):
        diary = Diary()
        runtime = make_runtime(diary)
        runtime.start()
        assert runtime.stop(GUARD_S)
        told = list(diary.lines)
        assert not runtime.holds_lease()
        assert diary.lines == told


class Slow:
    """A plugin whose tick does not end before it is let go."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.leave = threading.Event()
        self.closed = threading.Event()
        self.wrote_after_close = False

    @hookimpl
    def instar_ticks(self) -> list[Tick]:
        """One tick that ignores the request to end."""
        return [Tick(name="slow", func=self.tick)]

    @hookimpl
    def instar_host_stopping(self) -> None:
        """Where a store closes."""
        self.closed.set()

    def tick(self, control: TickControl) -> None:
        """Holds on, then writes."""
        self.inside.set()
        assert self.leave.wait(GUARD_S)
        self.wrote_after_close = self.closed.is_set()


def test_a_tick_that_will_not_end_keeps_its_store_and_the_lease(
    make_runtime: Callable[..., Runtime], make_host: MakeHost
) -> None:
    """Rule 5, B-10: stop gives up waiting, never the order: no write after close, one writer."""
    slow = Slow()
    runtime = make_runtime(slow)
    runtime.start()
    assert slow.inside.wait(GUARD_S)
    assert not runtime.stop(0.05)
    assert not slow.closed.is_set()
    assert not Lease(make_host().state_dir).try_acquire()
    with pytest.raises(InstarError, match="still stopping"):
        runtime.start()
    slow.leave.set()
    assert runtime.stop(GUARD_S)
    assert slow.closed.is_set()
    assert not slow.wrote_after_close


class Broken:
    """A plugin that fails at every step."""

    @hookimpl
    def instar_routes(self) -> list[Route]:
        """Fails."""
        raise RuntimeError("no routes")

    @hookimpl
    def instar_ticks(self) -> list[Tick]:
        """Fails."""
        raise SystemExit(1)

    @hookimpl
    def instar_host_ready(self) -> None:
        """Fails."""
        raise RuntimeError("not ready")

    @hookimpl
    def instar_host_stopping(self) -> None:
        """Fails."""
        raise RuntimeError("not stopping")


def test_a_broken_plugin_takes_nobody_along(make_runtime: Callable[..., Runtime]) -> None:
    """H1, rule 6: its neighbours start, run and stop."""
    diary = Diary()
    runtime = make_runtime(Broken(), diary)
    runtime.start()
    assert runtime.wait_ready(GUARD_S)
    assert diary.ticked.wait(GUARD_S)
    assert diary.ready.wait(GUARD_S)
    assert runtime.stop(GUARD_S)
    assert diary.lines[-1] == "stopping, lease True"


class Interrupts:
    """Raises what a Ctrl-C would, where none can be."""

    @hookimpl
    def instar_ticks(self, host: HostContext) -> list[Tick]:
        """No ticks."""
        raise KeyboardInterrupt

    @hookimpl
    def instar_host_ready(self, host: HostContext) -> None:
        """Not even then."""
        raise KeyboardInterrupt


def test_an_interrupt_of_a_plugin_does_not_end_the_host(
    make_runtime: Callable[..., Runtime],
) -> None:
    """Signals reach the main thread alone: in a hook elsewhere it is the plugin's failure."""
    diary = Diary()
    runtime = make_runtime(Interrupts(), diary)
    runtime.start()
    assert runtime.wait_ready(GUARD_S)
    assert diary.ready.wait(GUARD_S)
    assert runtime.host is not None
    assert "KeyboardInterrupt" in (runtime.host.plugins.statuses()[0].error or "")
    assert runtime.state == "running"


def test_a_loop_that_something_ended_is_a_failure_and_said(
    make_runtime: Callable[..., Runtime], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits is told, the lease is free, and it can be started again."""
    diary = Diary()
    runtime = make_runtime(diary)
    runtime.start()
    assert runtime.wait_ready(GUARD_S)
    runtime.loop.call_soon_threadsafe(sys.exit, 3)
    assert runtime.stop(GUARD_S)
    assert runtime.state == "failed"
    with pytest.raises(InstarError, match="loop ended: SystemExit: 3"):
        runtime.wait_ready(0)
    assert diary.lines[-1] == "stopping, lease True"
    assert not runtime.holds_lease()
    runtime.start()
    assert runtime.wait_ready(GUARD_S)


def test_a_host_that_cannot_be_made_says_why_and_may_be_tried_again(make_host: MakeHost) -> None:
    """Rule 6: no latch; the next start makes it anew."""
    faults = [InstarError("config.json is broken")]

    def make() -> HostContext:
        if faults:
            raise faults.pop()
        return make_host()

    runtime = Runtime(make)
    runtime.start()
    with pytest.raises(InstarError, match="is broken"):
        runtime.wait_ready(GUARD_S)
    while runtime.state != "failed":
        pass
    assert runtime.stop(GUARD_S)
    runtime.start()
    assert runtime.wait_ready(GUARD_S)
    assert runtime.stop(GUARD_S)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_no_host(make_runtime: Callable[..., Runtime]) -> None:
    """Rule 4: a child holds no lease, stops nothing of its parent's, and may start its own."""
    diary = Diary()
    runtime = make_runtime(diary)
    runtime.start()
    assert diary.ticked.wait(GUARD_S)
    child = os.fork()
    if child == 0:
        fine = not runtime.holds_lease() and runtime.state == "stopped" and runtime.stop()
        runtime.start()
        fine = fine and runtime.wait_ready(GUARD_S) and not runtime.holds_lease()
        os._exit(0 if fine and runtime.stop(GUARD_S) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert runtime.holds_lease()


def test_the_runtime_needs_no_web_library() -> None:
    """Hosts that serve nothing, and the plain command line, live without the extra."""
    code = (
        "import sys, instar_host.runtime, instar_host.serve, instar_host.testing_web\n"
        "bad = {'starlette', 'uvicorn', 'httpx', 'apsw'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_forgets_to_stop_still_ends_in_order(tmp_path: os.PathLike[str]) -> None:
    """Rule 4: at interpreter exit the host is stopped, and a stuck tick cannot prevent the exit."""
    code = """
import sys, threading
from pathlib import Path
from instar_host import Tick, hookimpl
from instar_host.config import Config
from instar_host.host import host_context
from instar_host.plugins import Plugins
from instar_host.runtime import Runtime

class P:
    @hookimpl
    def instar_ticks(self):
        return [Tick(name="good", func=lambda c: None)]
    @hookimpl
    def instar_host_stopping(self):
        print("stopped in order", flush=True)

state = Path(sys.argv[1])
config = Config.load(state, {})
plugins = Plugins.load(config, entry_points=(), given={"p": P})
runtime = Runtime(lambda: host_context(state, config, plugins))
runtime.start()
assert runtime.wait_ready(20)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "stopped in order\n"
    assert done.stderr == ""
