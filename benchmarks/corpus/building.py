"""Builds a whole configuration folder from scenarios and keeps its truth.

Promises: the same bytes, paths and times for the same seed and options, whatever the machine; no
wall clock. Every scenario plays at least once when there are enough sessions.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus.damaged_scenarios import DAMAGED, too_long_line
from benchmarks.corpus.model import CostFigures, Row, Skip, Truth
from benchmarks.corpus.scenarios import SCENARIOS, Stage
from benchmarks.corpus.truth import truth_of

START_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z
SPREAD_DAYS = 60
TURNS = {"small": (1, 1), "mixed": (1, 4), "large": (6, 20)}
LONG_LINE_BYTES = {"small": 70_000, "mixed": 300_000, "large": 2_100_000}


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What was written: every usage row, skip and cost figure, and the transcripts' paths."""

    root: Path
    rows: tuple[Row, ...]
    skips: tuple[Skip, ...]
    costs: tuple[CostFigures, ...]
    files: tuple[bytes, ...]

    def truth(
        self, since_ms: int | None = None, until_ms: int | None = None, tz: str = "UTC"
    ) -> Truth:
        """The right answer for everything that was written."""
        return truth_of(self.rows, since_ms, until_ms, tz, skips=self.skips, costs=self.costs)


def build(
    root: Path,
    *,
    seed: int,
    sessions: int,
    scale: str = "mixed",
    start_ms: int = START_MS,
    spread_days: int = SPREAD_DAYS,
    damaged: bool = True,
    too_long: bool = False,
) -> Corpus:
    """Write `sessions` scenarios below `root` (a configuration folder) and return their truth.

    `scale` is "small", "mixed" or "large" turns a session; `damaged=False` leaves out bad lines,
    unfinished files and decoys; `too_long=True` adds one session with a line over
    16 MiB. Raises KeyError for an unknown scale.
    """
    few, many = TURNS[scale]
    scenarios = SCENARIOS + DAMAGED if damaged else SCENARIOS
    stages = []
    plays = [scenarios[number % len(scenarios)] for number in range(sessions)]
    for number, scenario in enumerate(plays + [too_long_line] * too_long):
        rng = random.Random(f"{seed}/{number}")
        start = start_ms + rng.randrange(spread_days * 86_400_000)
        stage = Stage(
            rng=rng,
            root=root,
            start_ms=start,
            turns=rng.randint(few, many),
            long_line_bytes=LONG_LINE_BYTES[scale],
        )
        scenario(stage)
        for transcript in stage.transcripts:
            transcript.save()
            transcript.chunks.clear()
        for path, data in stage.decoys.items():
            _save_decoy(os.path.join(root, path), data, start)
        stages.append(stage)
    written = [transcript for stage in stages for transcript in stage.transcripts]
    return Corpus(
        root=root,
        rows=tuple(row for transcript in written for row in transcript.rows),
        skips=tuple(skip for transcript in written for skip in transcript.skips),
        costs=tuple(cost for transcript in written for cost in transcript.costs),
        files=tuple(sorted(transcript.absolute for transcript in written)),
    )


def _save_decoy(path: str, data: bytes, ts_ms: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, ns=(ts_ms * 1_000_000, ts_ms * 1_000_000))
