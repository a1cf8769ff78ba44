"""Whatever happens to a tree while it is looked at, in the end the ledger is that of the disk."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
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
from tests.tokenledger.shifting_trees import ShiftingTree, is_selected


class Scans:
    """A ledger over a tree that does not hold still."""

    def __init__(self, folder: Path, seed: int, ledger: Ledger, below: Sequence[str]) -> None:
        self.chance = random.Random(seed)
        self.tree = ShiftingTree(folder, self.chance)
        self.roots = [self.tree.root / name for name in below]
        self.ledger = ledger
        self.clock = FakeClock(time.time_ns() // 1_000_000 + DAY_MS)
        self.begin()

    def begin(self) -> None:
        """As a new process would."""
        source = msgspec.structs.replace(
            claude_code(lambda: self.roots), selects=is_selected, descends=lambda _folder: True
        )
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
        found = self.tree.transcripts(self.roots)
        assert self.ingest.progress.files_seen == len(found)
        assert self.ingest.progress.caught_up
        marks = marks_of(self.ledger.connection)
        away = tuple(os.fsencode(root) + b"/" for root in self.roots if not root.is_dir())
        kept = {path for path in marks.keys() - found.keys() if path.startswith(away)}
        assert {path: mark for path, mark in marks.items() if path not in kept} == {
            path: len(data) for path, data in found.items()
        }
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
        assert kept or (skipped or 0) == sum(data.count(b"broken") for data in found.values())


def run(
    seed: int, steps: int, share: float, *, failing: float = 0.0, below: Sequence[str] = ("",)
) -> None:
    """Let a tree shift for some steps, and see what has become of it."""
    ledger = empty_ledger()
    with tempfile.TemporaryDirectory() as folder:
        scans = Scans(Path(folder), seed, ledger, below)
        with scans.tree.meddling(share, failing):
            for _ in range(steps):
                scans.step()
        scans.settle()
        scans.assert_true()
    ledger.close()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_a_tree_that_shifts_ends_as_a_fresh_scan(seed: int, steps: int, share: float) -> None:
    """T15, T16: any changes between any two system calls, in looks cut anywhere."""
    run(seed, steps, share)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_calls_that_fail_meanwhile_lose_nothing(seed: int, steps: int) -> None:
    """T14, T15, T17: a disk that fails, denies and runs out at any call is caught up with."""
    run(seed, steps, 0.05, failing=0.05)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 40),
    below=st.sampled_from((("", "p"), ("p", ""), ("p", "", "p/s"), ("q", "p/s"))),
)
def test_roots_in_each_other_share_what_shifts(seed: int, steps: int, below: Sequence[str]) -> None:
    """T21: of roots in each other, some of them links by now, each file is some one's, always."""
    run(seed, steps, 0.05, below=below)
