"""Other processes at the ledger's file: a writer is waited for, a reader that stays is named."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from benchmarks.corpus import START_MS
from instar_host.testing import FakeClock
from instar_host.testing_web import RunHost, RunningHost
from instar_tokenledger.errors import LogHeld
from instar_tokenledger.ingest import Budget
from instar_tokenledger.journal import LIMIT_BYTES, log_bytes
from instar_tokenledger.opening import ledger_path
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.routes import TICK
from tests.faults.ledgers import marks_of
from tests.tokenledger.homes import EVER, SESSION, LedgerHome, said
from tests.tokenledger.neighbours import READS, WRITES, neighbour
from tests.tokenledger.test_age_window import CONTROL, a_tick
from tests.tokenledger.test_retention import YEAR_MS, prune, rows_left

MIB = 1 << 20
LIMIT = MIB
"""In place of the real one, so that a push need not write 64 MiB."""
PATIENCE_S = 0.02


def many(count: int, begin: int = 0) -> Iterator[bytes]:
    return (said(f"m{i}", f"r{i}", ts=START_MS + i) for i in range(begin, begin + count))


def stored(home: LedgerHome) -> tuple[dict[bytes, int], int]:
    """How far every file was read, and how many requests there are."""
    with home.reading() as reading:
        return marks_of(reading.connection), rows_left(home)


@pytest.mark.faults
@pytest.mark.timeout(180)
def test_a_write_lock_held_for_half_a_minute(home: LedgerHome) -> None:
    """D10: six steps wait their five seconds each; nothing moves, nothing is lost or doubled."""
    home.write(SESSION, *many(3))
    home.scan()
    before = stored(home)
    with neighbour(home.database, WRITES):
        home.append(SESSION, *many(3, 3))
        for _ in range(6):
            with pytest.raises(apsw.BusyError):
                home.scan()
            assert home.service.health.trouble
            assert stored(home) == before
    home.scan()
    assert home.service.health.trouble is None
    home.assert_true()


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    folder = tmp_path / "claude" / "projects" / "-a"
    folder.mkdir(parents=True)
    (folder / "one.jsonl").write_bytes(said("m0", "r0") + b"\n")
    return folder.parent.parent


@pytest.fixture
def running(run_host: RunHost, claude: Path) -> RunningHost:
    """A host that has read the one transcript."""
    settings = {"claudeDirs": [str(claude)], "dailyBackups": 0, "watch": False, "maxFileAgeMs": 0}
    return run_host({"tokenledger": TokenLedgerPlugin()}, {"tokenLedger": settings})


def requests_in(running: RunningHost) -> int:
    answer = running.client.get("/tokens/summary?since=0")
    assert answer.status_code == 200
    return int(answer.json()["summary"]["eventCount"])


def wait_for(running: RunningHost, clock: FakeClock, count: int) -> None:
    """Let time pass until the summary has so many requests."""
    for _ in range(1_000):
        if requests_in(running) == count:
            return
        clock.advance(5)
        running.host.wake(TICK)
        threading.Event().wait(PATIENCE_S)
    pytest.fail(f"there are {requests_in(running)} requests, not {count}")


def test_the_host_answers_while_its_tick_waits_for_a_lock(
    running: RunningHost, claude: Path, clock: FakeClock, state_dir: Path
) -> None:
    """D10: the loop is not blocked: every answer comes while the other still holds the lock."""
    wait_for(running, clock, 1)
    with neighbour(ledger_path(state_dir), WRITES) as other:
        with (claude / "projects/-a/one.jsonl").open("ab") as file:
            file.write(said("m1", "r1") + b"\n")
        for _ in range(20):
            clock.advance(5)
            assert running.stranger.get("/health").status_code == 200
            assert requests_in(running) == 1
            assert other.poll() is None
    wait_for(running, clock, 2)


def read_on(home: LedgerHome, rounds: int) -> list[int]:
    """Write and scan in turns while somebody reads; the log's sizes after each refusal."""
    sizes = []
    for round_ in range(rounds):
        home.append(SESSION, *many(400, 10_000 + round_ * 400))
        with pytest.raises(LogHeld, match="cannot be cut"):
            home.scan()
        sizes.append(log_bytes(home.database))
        assert "snapshot" in (home.service.health.trouble or "")
        assert home.summary()["eventCount"] >= 10
    return sizes


def test_a_reader_that_stays_stops_writing_not_the_disk(home: LedgerHome) -> None:
    """D11: at the limit writing stops with a reason, the log grows no further, and both go on by
    themselves once the reader has gone."""
    home.service.log_limit_bytes = LIMIT
    home.write(SESSION, *many(10))
    home.scan()
    with neighbour(home.database, READS):
        home.append(SESSION, *many(3_000, 10))
        with pytest.raises(LogHeld):
            home.scan_all(lambda: Budget(rows=100, bytes=50_000))
        grown = log_bytes(home.database)
        assert LIMIT < grown < 2 * LIMIT
        assert read_on(home, 2) == [grown] * 2
    home.scan()
    assert home.service.health.trouble is None
    assert log_bytes(home.database) <= 2 * LIMIT
    home.assert_true()


def test_a_reader_that_stays_holds_up_only_what_must_wait(home: LedgerHome) -> None:
    """D11: letting go of old detail waits at the limit too, a step at a time, and then goes on."""
    lines = [said(f"m{i}" * 9, f"r{i}" * 9, ts=START_MS + i) for i in range(9_000)]
    home.write(SESSION, *lines, said("new", "new", ts=START_MS + YEAR_MS))
    home.scan()
    before = home.summary()
    with home.reading() as reading:
        assert reading.totals.summary(EVER) == before
        os.truncate(home.database + "-wal", LIMIT_BYTES + 1)  # sparse, as long as it may become
        assert prune(home, 30, START_MS + YEAR_MS)
        assert rows_left(home) == 9_001
    os.truncate(home.database + "-wal", LIMIT_BYTES)
    assert not prune(home, 30, START_MS + YEAR_MS)
    assert rows_left(home) == 1
    assert home.summary() == before


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_reader_that_stays_at_the_real_limit(home: LedgerHome) -> None:
    """D11: hundreds of commits beside an open question: the limit that ships holds, and the log
    shrinks by itself afterwards."""
    home.write(SESSION, *many(10))
    home.scan()
    with neighbour(home.database, READS):
        home.append(SESSION, *many(60_000, 10))
        with pytest.raises(LogHeld):
            home.scan_all(lambda: Budget(rows=20, bytes=10_000))
        assert LIMIT_BYTES < log_bytes(home.database) < LIMIT_BYTES + MIB
    home.scan()
    a_tick(home).run(CONTROL)
    assert log_bytes(home.database) == 0
    assert home.summary()["eventCount"] == 60_010
