"""Times whole processes as the kernel accounts them, two commands in turns.

Promises: user and system CPU, wall and peak memory of a finished child by `wait4` (with all that it
waited for itself), nothing of ours in it; A B A B ..., so that a machine whose speed drifts is
fair to both; medians, and the ratio pair by pair. It never judges, and never runs a shell.

A child's peak begins with what its parent weighs when it starts it: whoever measures memory stays
small (`floor_bytes` says how small).
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

import msgspec


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One finished process."""

    user_s: float
    system_s: float
    wall_s: float
    peak_bytes: int
    """Of the process itself or of the largest child that it waited for."""
    written_bytes: int = 0
    """Handed to the disk, as far as the kernel charges it to the process."""
    exit_code: int = 0

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A command and what has to be put right before each run of it."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Added to this process's own."""
    prepare: Callable[[], None] = lambda: None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two commands, measured in turns."""

    first: list[Run]
    second: list[Run]

    def ratios(self, figure: Callable[[Run], float]) -> list[float]:
        """First to second, turn by turn."""
        both = zip(self.first, self.second, strict=True)
        return [figure(a) / figure(b) for a, b in both if figure(b)]


def run(job: Job, output: IO[bytes] | None = None) -> Run:
    """Prepare, run to the end, account. Raises `ChildProcessError` when the command fails."""
    job.prepare()
    sink = output if output is not None else subprocess.DEVNULL
    began = time.perf_counter()
    child = subprocess.Popen(
        job.command,
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **job.environ},
    )
    _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise ChildProcessError(f"{job.name} ended with {child.returncode}: {job.command}")
    return Run(
        user_s=usage.ru_utime,
        system_s=usage.ru_stime,
        wall_s=wall_s,
        peak_bytes=usage.ru_maxrss * 1024,
        written_bytes=usage.ru_oublock * 512,
        exit_code=child.returncode,
    )


def floor_bytes() -> int:
    """The peak of a program that does nothing: no smaller one can be told from it."""
    return run(Job(name="nothing", command=("true",))).peak_bytes


def in_turns(first: Job, second: Job, turns: int, *, warm_up: bool = True) -> Pair:
    """Run the two alternately `turns` times, after one run of each that does not count."""
    if warm_up:
        run(first)
        run(second)
    pair = Pair(first=[], second=[])
    for _ in range(turns):
        pair.first.append(run(first))
        pair.second.append(run(second))
    return pair


def median(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """The median of one figure."""
    return statistics.median(figure(one) for one in runs)


def at_share(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed: 0.99 is p99."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def line(name: str, runs: Sequence[Run]) -> str:
    """Medians of one command, with the spread of its CPU time."""
    cpu = [one.cpu_s for one in runs]
    return (
        f"{name:<28} cpu {median(runs, lambda r: r.cpu_s):7.3f} s ({min(cpu):.3f}-{max(cpu):.3f})"
        f"  wall {median(runs, lambda r: r.wall_s):7.3f} s"
        f"  peak {median(runs, lambda r: r.peak_bytes) / 2**20:6.1f} MiB"
        f"  wrote {median(runs, lambda r: r.written_bytes) / 1e6:6.1f} MB"
    )


def ratio_line(pair: Pair, first: str, second: str) -> str:
    """CPU and wall of the first to the second: the median and every pair."""
    texts = []
    for name, figure in (("cpu", _cpu), ("wall", _wall)):
        ratios = pair.ratios(figure)
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        texts.append(f"{name} {statistics.median(ratios):.3f} ({each})")
    return f"{first} / {second}: " + "; ".join(texts)


def _cpu(one: Run) -> float:
    return one.cpu_s


def _wall(one: Run) -> float:
    return one.wall_s
