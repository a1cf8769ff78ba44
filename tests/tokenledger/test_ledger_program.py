"""The ledger against a model, under random programs of writers, a rotator, scans and restarts.

The model is as plain as can be: at each scan it notes every row that the second oracle finds on the
disk, and the right answer is the truth of all rows ever noted.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from benchmarks.corpus import Row, emit_line, random_rows, read_tree, truth_of
from instar_host.testing import FakeClock
from instar_tokenledger.ingest import Budget, Ingest
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.queries import Queries
from instar_tokenledger.service import Reading
from instar_tokenledger.session_queries import SessionQueries
from instar_tokenledger.sources.claude_code import claude_code
from tests.tokenledger.arrangements import empty_ledger
from tests.tokenledger.homes import EVER, answers_of, true_answers

names = st.sampled_from(["a", "b", "c"])
seeds = st.integers(0, 2**32)


class LedgerProgram(RuleBasedStateMachine):
    """Whatever is done to the transcripts, the ledger has every row that was there at a scan."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "projects" / "-home"
        self.folder.mkdir(parents=True)
        self.connection = empty_ledger().connection
        self.noted: set[Row] = set()
        self.rows = 0
        self.scanned = True
        self._start()

    def teardown(self) -> None:
        self.connection.close()
        shutil.rmtree(self.root)

    @rule(name=names, seed=seeds, count=st.integers(1, 4))
    def append(self, name: str, seed: int, count: int) -> None:
        with self._path(name).open("ab") as file:
            file.write(self._lines(seed, count))
        self.scanned = False

    @rule(name=names, seed=seeds, share=st.floats(0.05, 0.99))
    def append_half_a_line(self, name: str, seed: int, share: float) -> None:
        line = self._lines(seed, 1)
        with self._path(name).open("ab") as file:
            file.write(line[: max(1, int(len(line) * share))])
        self.scanned = False

    @rule(name=names, line=st.sampled_from([b"broken\n", b"\n", b"null\n", b'{"type":"user"}\n']))
    def append_something_else(self, name: str, line: bytes) -> None:
        with self._path(name).open("ab") as file:
            file.write(line)
        self.scanned = False

    @rule(name=names, seed=seeds, count=st.integers(0, 5), keep=st.integers(0, 1500))
    def rewrite_in_place(self, name: str, seed: int, count: int, keep: int) -> None:
        path = self._path(name)
        before = path.read_bytes() if path.exists() else b""
        content = before[:keep] + b"\n" + self._lines(seed, count)
        if len(content) == len(before):
            content += b"\n"  # one size within one tick of the clock is one file to any reader
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(content)
            file.truncate()
        self.scanned = False

    @rule(name=names, size=st.integers(0, 3000))
    def truncate(self, name: str, size: int) -> None:
        if self._path(name).exists() and size < self._path(name).stat().st_size:
            os.truncate(self._path(name), size)
            self.scanned = False

    @rule(name=names, seed=seeds)
    def replace_by_another_file(self, name: str, seed: int) -> None:
        fresh = self.folder / "fresh.tmp"
        fresh.write_bytes(self._lines(seed, 2))
        fresh.replace(self._path(name))
        self.scanned = False

    @rule(name=names, other=names)
    def rename(self, name: str, other: str) -> None:
        if self._path(name).exists():
            self._path(name).replace(self._path(other))
            self.scanned = False

    @rule(name=names, other=names)
    def copy(self, name: str, other: str) -> None:
        if self._path(name).exists() and name != other:
            shutil.copyfile(self._path(name), self._path(other))
            self.scanned = False

    @rule(name=names)
    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)
        self.scanned = False

    @rule()
    def restart(self) -> None:
        self._start()

    @rule(budget=st.none() | st.integers(1, 3000))
    def scan(self, budget: int | None) -> None:
        """Read until caught up, in steps of so many bytes."""
        caught_up = False
        while not caught_up:
            self.ingest.look()
            for _ in self.ingest.read(Budget(bytes=budget)):
                pass
            caught_up = self.ingest.progress.caught_up
        found = read_tree(self.root)
        self.noted.update(replace(row, length=0) for row in found.rows)
        self.scanned = True

    @invariant()
    def the_ledger_is_the_truth_of_what_was_seen(self) -> None:
        if not self.scanned:
            return
        connection = self.connection
        reading = Reading(Queries(connection), SessionQueries(connection), connection)
        assert answers_of(reading, EVER) == true_answers(truth_of(self.noted), EVER)

    def _start(self) -> None:
        source = claude_code(lambda: [self.root / "projects"])
        self.ingest = Ingest(Ledger(self.connection), [source], FakeClock())

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def _lines(self, seed: int, count: int) -> bytes:
        """Some lines, each of an instant of its own, so that every origin is beyond dispute."""
        rows = random_rows(random.Random(seed), count)
        self.rows += count
        placed = [replace(row, ts=row.ts + (self.rows + i) * 10) for i, row in enumerate(rows)]
        return b"".join(emit_line(row) + b"\n" for row in placed)


LedgerProgram.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLedgerProgram = LedgerProgram.TestCase
TestLedgerProgram.__doc__ = "T1, I1: the ledger has every row that was on the disk at a scan, once."
