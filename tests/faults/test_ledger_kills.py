"""The ledger under `kill -9`: whenever it comes, what was committed stays and the rest is read."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.corpus import START_MS, build
from instar_host.store import sqlite
from instar_host.store.diagnosis import damage
from instar_tokenledger import retention
from instar_tokenledger.ingest import Budget
from instar_tokenledger.schema import APPLICATION_ID, DAY_MS, MIGRATIONS
from tests.faults.children import Child, Report
from tests.faults.ledgers import (
    answers_in,
    assert_rows_are_what_marks_imply,
    marks_of,
    opened,
    scan,
    total_of,
)
from tests.faults.vfs import FaultyVFS, Operation
from tests.tokenledger.homes import EVER, said, true_answers

KILLS = 200
DAYS = 30
YEAR_MS = 365 * DAY_MS


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
def test_two_hundred_kills_lose_and_double_nothing(quick_path: Path) -> None:
    """D1, I1, I2: each kill comes after the marks have moved and before the end; then the truth."""
    claude, database = quick_path / "claude", quick_path / "state" / "ledger.db"
    corpus = build(claude, seed=50, sessions=360, scale="mixed", damaged=False)
    rng = random.Random(50)
    step_bytes = total_of(claude) // (KILLS * 6)
    reached = [0]
    for kill in range(KILLS):
        assert killed_scan(database, claude, rng, step_bytes), f"kill {kill} came too late"
        reached.append(read_so_far(database))
        if kill % 20 == 0:
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


def keep_house(_report: Report, database: Path, operation: Operation, nth: int) -> None:
    """Bring the schema up to date, let go of old detail, copy the log: killed at the `nth`
    operation."""
    vfs = FaultyVFS("dying")
    vfs.die(operation, nth)
    ledger = opened(database, vfs.vfs_name)
    retention.prune(ledger.connection, DAYS, START_MS + YEAR_MS)
    sqlite.truncate_log(ledger.connection)
    ledger.close()


def killed_everywhere(template: Path, operation: Operation, every: int) -> Iterator[Path]:
    """Copies of the template after a kill at every `every`-th operation, and one after none."""
    for nth in range(1, 10_000, every):
        database = template.with_name(f"{operation}-{nth}.db")
        shutil.copyfile(template, database)
        with Child(keep_house, database, operation, nth) as child:
            code = child.wait()
        assert code in (0, -signal.SIGKILL)
        yield database
        if code == 0:
            return


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", ["write", "sync", "truncate"])
def test_a_kill_in_the_middle_of_housekeeping(quick_path: Path, operation: Operation) -> None:
    """D2: while detail is let go of or the log is copied: no total moves, and the next time ends
    it."""
    folder = quick_path / "claude" / "projects" / "a"
    folder.mkdir(parents=True)
    lines = [said(f"m{i}", f"r{i}", ts=START_MS + i, session=f"s{i % 40}") for i in range(2_400)]
    lines.append(said("new", "new", ts=START_MS + YEAR_MS))
    (folder / "one.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    template = quick_path / "template.db"
    ledger = opened(template)
    assert scan(ledger, quick_path / "claude", Budget)
    before = answers_in(ledger.connection)
    ledger.close()
    places = 0
    for database in killed_everywhere(template, operation, 9 if operation == "write" else 1):
        ledger = opened(database)
        assert damage(ledger.connection, full=True) == ""
        assert answers_in(ledger.connection) == before
        assert not retention.prune(ledger.connection, DAYS, START_MS + YEAR_MS)
        assert answers_in(ledger.connection) == before
        assert len(ledger.connection.execute("SELECT id FROM requests").fetchall()) == 1
        ledger.close()
        places += 1
    assert places > {"write": 20, "sync": 2, "truncate": 1}[operation]


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", ["write", "sync"])
@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_kill_in_the_middle_of_a_migration(
    quick_path: Path, operation: Operation, version: int
) -> None:
    """D2, D17: from every released schema: the next start goes on from one whole version."""
    (quick_path / "claude" / "projects" / "a").mkdir(parents=True)
    (quick_path / "claude/projects/a/one.jsonl").write_bytes(said() + b"\n")
    template = quick_path / "template.db"
    sqlite.open_writer(
        template,
        application_id=APPLICATION_ID,
        migrations=MIGRATIONS[:version],
        synchronous="FULL",
    ).close()
    for database in killed_everywhere(template, operation, 1):
        ledger = opened(database)
        assert damage(ledger.connection, full=True) == ""
        assert ledger.connection.pragma("user_version") == len(MIGRATIONS)
        assert scan(ledger, quick_path / "claude", Budget)
        assert answers_in(ledger.connection)[0]["summary"]["eventCount"] == 1
        ledger.close()
