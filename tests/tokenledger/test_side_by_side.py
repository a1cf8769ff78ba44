"""The ledger beside others: a second process, pruning while it reads, observers that meddle."""

from __future__ import annotations

import threading
from pathlib import Path

from benchmarks.corpus import START_MS
from instar_host import hookimpl
from instar_host.testing import FakeClock, MakeHost
from instar_host.testing_web import RunHost
from instar_tokenledger.committed import Committed
from instar_tokenledger.ingest import Budget
from instar_tokenledger.opening import ledger_path
from instar_tokenledger.plugin import TokenLedgerPlugin, sources_of
from instar_tokenledger.routes import TICK
from instar_tokenledger.service import LedgerService
from tests.host.third_party import status
from tests.tokenledger.homes import SESSION, LedgerHome, said
from tests.tokenledger.test_remote_scan import held
from tests.tokenledger.test_retention import YEAR_MS, prune, rows_left


def test_a_second_instance_only_reads_until_it_is_alone(
    run_host: RunHost, tmp_path: Path, state_dir: Path, clock: FakeClock
) -> None:
    """D12: beside a process that holds the lease no file is made or written; then it takes over."""
    claude = tmp_path / "claude"
    (claude / "projects" / "-a").mkdir(parents=True)
    (claude / "projects" / "-a" / "one.jsonl").write_bytes(said() + b"\n")
    settings = {"claudeDirs": [str(claude)], "dailyBackups": 0, "watch": False, "maxFileAgeMs": 0}

    with held(state_dir, "http://127.0.0.1:1") as pid:
        running = run_host({"tokenledger": TokenLedgerPlugin()}, {"tokenLedger": settings})
        for _ in range(5):
            running.host.wake(TICK)
            clock.advance(60)
            answer = running.client.get("/tokens/status").json()
            assert (answer["requests"], answer["lease"]) == (0, {"held": False, "pid": pid})
        assert not Path(ledger_path(state_dir)).exists()

    for _ in range(1_000):
        if running.client.get("/tokens/status").json()["requests"] == 1:
            return
        clock.advance(5)
        running.host.wake(TICK)
        threading.Event().wait(0.01)
    raise AssertionError("nobody took over")


def test_pruning_a_lot_while_transcripts_come_in(home: LedgerHome) -> None:
    """D16: a step of each in turn: each is bounded, and no total is lost or doubled."""
    old = [said(f"m{i}", f"r{i}", ts=START_MS + i) for i in range(9_000)]
    home.write(SESSION, *old, said("new", "new", ts=START_MS + YEAR_MS))
    home.scan()
    for number in range(12):
        line = said(f"n{number}", f"n{number}", session="live", ts=START_MS + YEAR_MS + number)
        home.write(f"projects/-a/{number}.jsonl", line)
    left = [rows_left(home)]
    more = True
    while more:
        more = prune(home, 30, START_MS + YEAR_MS, steps=1)
        home.scan(Budget(files=1))
        left.append(rows_left(home))
        assert left[-2] - left[-1] <= 2_000
    home.scan()
    assert len(left) > 5
    assert rows_left(home) == 13
    assert home.summary()["eventCount"] == len(home.truth().requests)


class Meddles:
    """An observer that would change what it is told."""

    @hookimpl
    def tokenledger_committed(self, batch: Committed) -> None:
        batch.added = 0  # type: ignore[misc]


class Notes:
    """One that takes down what it is told."""

    def __init__(self) -> None:
        self.added: list[int] = []

    @hookimpl
    def tokenledger_committed(self, batch: Committed) -> None:
        self.added.append(batch.added)


def test_an_observer_cannot_change_what_others_are_told(
    tmp_path: Path, make_host: MakeHost
) -> None:
    """H1: records are frozen: trying is an error of its own, and the ledger is right."""
    claude = tmp_path / "claude"
    (claude / "projects" / "-a").mkdir(parents=True)
    (claude / "projects" / "-a" / "one.jsonl").write_bytes(said() + b"\n")
    notes = Notes()
    plugins = {"tokenledger": TokenLedgerPlugin(), "notes": notes, "meddles": Meddles()}
    host = make_host(plugins, {"tokenLedger": {"claudeDirs": [str(claude)], "dailyBackups": 0}})
    service = LedgerService(host, lambda: sources_of(host))
    list(service.step(Budget(), lambda: False))
    service.close()
    assert host.plugins.flush(10)
    assert notes.added == [1]
    assert "immutable" in (status(host.plugins, "meddles").error or "")
