"""The first boot over a large tree, at a hundredth of its size: bounded, answering, live first."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from instar_host.testing import FakeClock
from instar_host.testing_web import RunHost, RunningHost
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.routes import TICK
from tests.tokenledger.homes import said

FILES = 1_190
A_TICK = 10
POLL_S = 0.01
PATIENCE = 4_000


@pytest.fixture
def tree(tmp_path: Path, clock: FakeClock) -> list[Path]:
    """A hundredth of 119,000 transcripts, in folders of twenty, none written to within hours."""
    paths = []
    for number in range(FILES):
        folder = tmp_path / "claude" / "projects" / f"-p{number // 20}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number}.jsonl"
        path.write_bytes(said(f"m{number}", f"r{number}", session=f"s{number}") + b"\n")
        at_s = clock.now_ms() / 1000 - 7_200 - 60 * number
        os.utime(path, (at_s, at_s))
        paths.append(path)
    return paths


@pytest.fixture
def running(run_host: RunHost, tree: list[Path]) -> RunningHost:
    """A host that has just begun to read it."""
    claude = str(tree[0].parents[2])
    settings = {"claudeDirs": [claude], "dailyBackups": 0, "watch": False, "maxFileAgeMs": 0}
    config = {"tokenLedger": {**settings, "maxFilesPerScan": A_TICK, "maxScanMs": 100}}
    return run_host({"tokenledger": TokenLedgerPlugin()}, config)


def asked(running: RunningHost, path: str) -> Any:
    answer = running.client.get(path)
    assert answer.status_code == 200
    return answer.json()


def ticks_run(running: RunningHost) -> int:
    (tick,) = [one for one in running.host.runtime.ticks() if one.name == TICK]
    return int(tick.runs)


def next_tick(running: RunningHost, clock: FakeClock) -> None:
    """Let one more tick begin and end."""
    before = ticks_run(running)
    for _ in range(PATIENCE):
        if ticks_run(running) > before:
            return
        clock.advance(0.05)
        running.host.wake(TICK)
        threading.Event().wait(POLL_S)
    pytest.fail("no tick has run")


def test_the_host_answers_and_the_live_file_is_read_first(
    running: RunningHost, tree: list[Path], clock: FakeClock
) -> None:
    """T10, I5, C-29: each answer comes in the middle of the boot, and a line in the very oldest
    file is there two ticks later, with backlog still waiting."""
    answered, read = 0, [0]
    live = False
    while asked(running, "/tokens/status")["files"]["waiting"] != 0 or read[-1] < FILES:
        assert running.stranger.get("/health").status_code == 200
        answered += 1
        ticks = ticks_run(running)
        read.append(asked(running, "/tokens/status")["files"]["read"])
        if not live and read[-1] > 100:
            with tree[-1].open("ab") as file:
                file.write(said("live", "live", session="live") + b"\n")
            next_tick(running, clock)
            next_tick(running, clock)
            assert asked(running, "/tokens/sessions/live")["session"]["eventCount"] == 1
            assert asked(running, "/tokens/status")["files"]["waiting"] > 0
            live = True
        elif ticks_run(running) == ticks:
            next_tick(running, clock)
        assert answered < PATIENCE
    assert live
    assert answered >= FILES // (16 * A_TICK)
    assert asked(running, "/tokens/summary?since=0")["summary"]["eventCount"] == FILES + 1
