"""Whatever happens to a tree while it is looked at, in the end the ledger is that of the disk."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instar_host.testing import FakeClock
from instar_tokenledger.catalog import DAY_MS
from instar_tokenledger.ingest import Budget, Ingest
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.queries import Queries
from instar_tokenledger.sources.claude_code import claude_code
from tests.faults.ledgers import marks_of
from tests.tokenledger.arrangements import empty_ledger
from tests.tokenledger.homes import EVER
from tests.tokenledger.shifting_trees import ShiftingTree


class Scans:
    """A ledger over a tree that does not hold still."""

    def __init__(self, folder: Path, seed: int, ledger: Ledger) -> None:
        self.chance = random.Random(seed)
        self.tree = ShiftingTree(folder, self.chance)
        self.ledger = ledger
        self.clock = FakeClock(time.time_ns() // 1_000_000 + DAY_MS)
        self.begin()

    def begin(self) -> None:
        """As a new process would."""
        source = claude_code(lambda: [self.tree.root])
        self.ingest = Ingest(self.ledger, [source], self.clock)

    def step(self) -> None:
        """A thing or two happen, then one of what a tick may do."""
        paths = [self.tree.change() for _ in range(self.chance.randrange(3))]
        match self.chance.randrange(6):
            case 0 | 1:
                self.ingest.look(0.0)
            case 2:
                self.ingest.look()
            case 3 if not self.ingest.progress.looking:
                self.ingest.look_at_paths(paths)
            case 4 if not self.ingest.progress.looking:
                self.ingest.look_at_hot_files()
            case 5 if self.chance.random() < 0.1:
                self.begin()
        list(self.ingest.read(Budget(files=self.chance.choice((1, 3, 100)))))

    def settle(self) -> None:
        """Nothing happens any more: two looks have to find all there is, after that which was
        under way."""
        self.tree.settle()
        for _ in range(2 + self.ingest.progress.looking):
            while not self.ingest.look():
                pass
            list(self.ingest.read(Budget()))

    def assert_true(self) -> None:
        """The ledger holds what the disk holds, each line once, and knows of nothing else."""
        found = self.tree.transcripts()
        assert self.ingest.progress.files_seen == len(found)
        assert self.ingest.progress.caught_up
        assert marks_of(self.ledger.connection) == {path: len(data) for path, data in found.items()}
        ids = {
            line.split(b'"id":"', 1)[1].split(b'"', 1)[0].decode()
            for data in found.values()
            for line in data.splitlines()
            if line != b"broken"
        }
        rows = self.ledger.connection.execute("SELECT message_id FROM requests_in_full").fetchall()
        assert ids <= {row[0] for row in rows}
        summary = Queries(self.ledger.connection).summary(EVER)
        assert len(ids) <= summary["eventCount"] <= self.tree.written
        assert summary["totalOutput"] == 900 * summary["eventCount"]
        skipped = self.ledger.connection.execute("SELECT sum(lines) FROM skips").fetchall()[0][0]
        assert (skipped or 0) == sum(data.count(b"broken") for data in found.values())


def run(seed: int, steps: int, share: float) -> None:
    ledger = empty_ledger()
    with tempfile.TemporaryDirectory() as folder:
        scans = Scans(Path(folder), seed, ledger)
        with scans.tree.meddling(share):
            for _ in range(steps):
                scans.step()
        scans.settle()
        scans.assert_true()
    ledger.close()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_a_tree_that_shifts_ends_as_a_fresh_scan(seed: int, steps: int, share: float) -> None:
    """T15, T16: any changes between any two system calls, in looks cut anywhere."""
    run(seed, steps, share)
