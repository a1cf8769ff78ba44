"""`python -m benchmarks.growth`: how a tick and each question grow as the ledger does, at 1, 4 and
16 times.

A tick over unchanged files, and one that finds ten appended lines, are timed over trees of 2,000,
8,000 and 32,000 files; questions over ledgers of 250,000, 1 and 4 million requests, where a tick
is also timed against a ledger that much fuller. CPU time of the thread, medians. The slope is the
exponent of growth between the smallest and the largest: 0 is no growth, 1 is growth in step.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.queries import benchmark_host, time_routes
from benchmarks.scan import transcript_line, transcripts
from benchmarks.year import Shape, ledger_of
from instar_host.clock import SystemClock
from instar_tokenledger.ingest import Budget
from instar_tokenledger.service import LedgerService
from instar_tokenledger.sources.claude_code import claude_code

SCALES = (1, 4, 16)
FILES = 2_000
FILE_BYTES = 12_000
REQUESTS = 250_000
SESSIONS = 5_000
APPENDED = 10

Curve = dict[int, float]
"""Milliseconds by scale."""


def main(argv: Sequence[str] | None = None) -> int:
    """Make trees and ledgers, time, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--scales", default=",".join(map(str, SCALES)))
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "instar-benchmarks"
    )
    given = parser.parse_args(argv)
    scales = [int(scale) for scale in given.scales.split(",")]
    curves: dict[str, Curve] = {}
    for scale in scales:
        _take(curves, scale, ticks_by_files(scale, given.turns, given.cache))
    for scale in scales:
        shape = Shape(requests=REQUESTS * scale, sessions=SESSIONS * scale)
        state = ledger_of(shape, given.cache)
        _take(curves, scale, {"tick, full ledger": tick_in(state, given.turns)})
        questions = {
            f"{f.route}, {f.window}": f.cpu_p50 for f in time_routes(state, given.turns, 1)
        }
        _take(curves, scale, questions)
    print(table(curves, scales))
    return 0


def ticks_by_files(scale: int, turns: int, cache: Path) -> dict[str, float]:
    """A tick over a tree of `scale` times as many files: nothing new, and ten lines more."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="growth-", dir=cache))
    try:
        files = FILES * scale
        _write_tree(folder / "tree", files)
        state = folder / "state"
        state.mkdir(mode=0o700)
        service = _service(state, folder / "tree")
        _tick(service)
        found = [entry.path for entry in transcripts(folder / "tree")]
        unchanged = _median_ms(lambda: _tick(service), turns)
        appended = _median_ms(lambda: _tick(service), turns, lambda n: _append(found, n))
        service.close()
    finally:
        shutil.rmtree(folder)
    return {"tick, nothing new": unchanged, "tick, 10 lines more": appended}


def tick_in(state: Path, turns: int) -> float:
    """A tick that finds ten lines, in a ledger that holds much; the ledger is left as it was."""
    with tempfile.TemporaryDirectory(prefix="growth-", dir=state.parent) as folder:
        copy, tree = Path(folder) / "state", Path(folder) / "tree"
        shutil.copytree(state, copy)
        paths = [str(tree / "projects" / "-home-dev" / f"{n:08d}.jsonl") for n in range(APPENDED)]
        os.makedirs(os.path.dirname(paths[0]))
        service = _service(copy, tree)
        _append(paths, 0)
        _tick(service)
        took = _median_ms(lambda: _tick(service), turns, lambda n: _append(paths, n + 1))
        service.close()
    return took


def table(curves: dict[str, Curve], scales: Sequence[int]) -> str:
    """A line each: milliseconds by scale, and the slope."""
    lines = [f"{'':<38}" + "".join(f"{f'{scale}x':>10}" for scale in scales) + f"{'slope':>8}"]
    for name, curve in curves.items():
        figures = "".join(f"{curve[scale]:>10.2f}" for scale in scales)
        lines.append(f"{name:<38}{figures}{slope(curve):>8.2f}")
    return "\n".join(lines)


def slope(curve: Curve) -> float:
    """The exponent of growth between the smallest and the largest scale."""
    first, last = min(curve), max(curve)
    return math.log(curve[last] / curve[first]) / math.log(last / first) if last > first else 0.0


def _take(curves: dict[str, Curve], scale: int, figures: dict[str, float]) -> None:
    for name, figure in figures.items():
        curves.setdefault(name, {})[scale] = figure


def _write_tree(root: Path, files: int) -> None:
    """In a process of its own, whose memory goes with it."""
    command = (
        sys.executable, "-m", "benchmarks.corpus", "--bulk", "--root", str(root), "--shape", "even",
        "--files", str(files), "--bytes", str(files * FILE_BYTES),
    )  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _service(state: Path, tree: Path) -> LedgerService:
    host = benchmark_host(state, SystemClock())
    return LedgerService(host, lambda: [claude_code(lambda: [tree / "projects"])])


def _tick(service: LedgerService) -> None:
    for _ in service.step(Budget(), lambda: False):
        pass


def _append(paths: Sequence[str], turn: int) -> None:
    step = max(1, len(paths) // APPENDED)
    for number, path in enumerate(paths[::step][:APPENDED]):
        with open(path, "ab") as file:
            file.write(transcript_line(number, turn * APPENDED + number))


def _median_ms(
    work: Callable[[], None], turns: int, before: Callable[[int], None] = lambda _turn: None
) -> float:
    found = []
    for turn in range(turns):
        before(turn)
        began = time.thread_time()
        work()
        found.append((time.thread_time() - began) * 1000)
    return statistics.median(found)


if __name__ == "__main__":
    raise SystemExit(main())
