"""The measuring itself: a child is accounted as the kernel saw it, turns alternate, ratios pair."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.measure import Job, Pair, Run


def job(code: str) -> Job:
    """A Python program as a job."""
    return Job(name="program", command=(sys.executable, "-S", "-c", code))


def finished(cpu_s: float) -> Run:
    """A run that took this long."""
    return Run(user_s=cpu_s, system_s=0.0, wall_s=1.0, peak_bytes=1, exit_code=0)


def test_a_child_that_works_and_holds_memory_is_seen_to() -> None:
    """Memory and time of a child are its own, above the floor of what started it."""
    floor = measure.floor_bytes()
    idle = measure.run(job("pass"))
    busy = measure.run(job(f"x = b'.' * {floor + (32 << 20)}; sum(range(3_000_000))"))
    assert busy.peak_bytes > floor + (32 << 20)
    assert busy.cpu_s > idle.cpu_s
    assert busy.wall_s > 0


def test_a_command_that_fails_is_no_measurement() -> None:
    """A program that ended badly did not do what was to be timed."""
    with pytest.raises(ChildProcessError, match="ended with 3"):
        measure.run(job("raise SystemExit(3)"))


def test_two_commands_take_turns_after_a_run_that_does_not_count(tmp_path: Path) -> None:
    """A B, then A B as often as asked, so that a machine that slows down is fair to both."""
    log = tmp_path / "log"
    first, second = (job(f"open({str(log)!r}, 'a').write({letter!r})") for letter in "AB")
    pair = measure.in_turns(first, second, 2)
    assert log.read_text() == "ABABAB"
    assert (len(pair.first), len(pair.second)) == (2, 2)


def test_each_run_is_prepared() -> None:
    """What has to be put right before a run is put right before every run."""
    prepared: list[int] = []
    ready = Job(name="nothing", command=("true",), prepare=lambda: prepared.append(1))
    measure.in_turns(ready, Job(name="nothing", command=("true",)), 2)
    assert len(prepared) == 3


def test_ratios_are_taken_turn_by_turn() -> None:
    """A drift that both feel leaves the ratio as it is."""
    pair = Pair(first=[finished(1), finished(4)], second=[finished(2), finished(8)])
    assert pair.ratios(lambda one: one.cpu_s) == [0.5, 0.5]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_share_is_the_smallest_value_that_covers_it(share: float, value: int) -> None:
    """Of a hundred values p99 is the 99th, p50 the 50th."""
    assert measure.at_share(list(range(100, 0, -1)), share) == value
