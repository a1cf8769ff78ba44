"""The ledger under `kill -9`: whenever it comes, what was committed stays and the rest is read."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.corpus import build
from instar_host.store import sqlite
from instar_tokenledger.ingest import Budget
from instar_tokenledger.schema import APPLICATION_ID
from tests.faults.children import Child, Report
from tests.faults.ledgers import (
    answers_in,
    assert_rows_are_what_marks_imply,
    marks_of,
    opened,
    scan,
    total_of,
)
from tests.tokenledger.homes import EVER, true_answers

KILLS = 50


def scan_in_steps(report: Report, database: Path, claude: Path, step_bytes: int) -> None:
    """What the process to be killed does: a report after every step, the last one true."""
    ledger = opened(database)
    while not scan(ledger, claude, lambda: Budget(bytes=step_bytes), steps=1):
        report(False)
    report(True)


def read_so_far(database: Path) -> int:
    """Bytes before all marks of a ledger that nobody writes."""
    reader = sqlite.open_reader(database, application_id=APPLICATION_ID)
    try:
        return sum(marks_of(reader).values())
    finally:
        reader.close()


def killed_scan(database: Path, claude: Path, rng: random.Random, step_bytes: int) -> bool:
    """Scan in another process, kill it some time after its first steps; true if it was not done."""
    with Child(scan_in_steps, database, claude, step_bytes) as child:
        heard = [child.hear() for _ in range(rng.randint(1, 3))]
        time.sleep(rng.random() * 0.004)  # the fault itself: a kill at any moment of a step
        return not any(heard + child.kill())


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_fifty_kills_lose_and_double_nothing(quick_path: Path) -> None:
    """D1, I1, I2: each kill comes after the marks have moved and before the end; then the truth."""
    claude, database = quick_path / "claude", quick_path / "state" / "ledger.db"
    corpus = build(claude, seed=50, sessions=90, scale="mixed", damaged=False)
    rng = random.Random(50)
    step_bytes = total_of(claude) // (KILLS * 6)
    reached = [0]
    for kill in range(KILLS):
        assert killed_scan(database, claude, rng, step_bytes), f"kill {kill} came too late"
        reached.append(read_so_far(database))
        if kill % 10 == 0:
            ledger = opened(database)
            assert_rows_are_what_marks_imply(ledger.connection)
            ledger.close()
    whole = total_of(claude)
    assert all(before < after < whole for before, after in pairwise(reached))
    ledger = opened(database)
    assert scan(ledger, claude, Budget)
    found, skips = answers_in(ledger.connection)
    truth = corpus.truth()
    assert (found, skips) == (true_answers(truth, EVER), dict(truth.skips))
    ledger.close()
