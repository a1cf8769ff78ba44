"""The tick with a watch: what is told while a look is under way is looked at when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from instar_host.records import TickControl
from instar_tokenledger.catalog import DAY_MS
from instar_tokenledger.looking import FILES_A_SLICE
from instar_tokenledger.pace import Pace
from instar_tokenledger.ticking import LedgerTick
from instar_tokenledger.watch import MAX_PATHS, Watch
from tests.tokenledger.homes import LedgerHome, clock_of, said

FILES = FILES_A_SLICE + 6
WAIT_S = 20.0


class Told:
    """Ticks over a home, with a watch that tells what a test says."""

    def __init__(self, home: LedgerHome) -> None:
        self.home = home
        self.paths = [
            home.write(f"projects/p/{number}.jsonl", said(f"m{number}", "r"))
            for number in range(FILES)
        ]
        clock_of(home).set(time.time_ns() // 1_000_000 + 10 * DAY_MS)  # nothing is hot
        self._process: subprocess.Popen[bytes] | None = None
        self._woken = threading.Semaphore(0)
        self.watch = Watch(clock_of(home), self._woken.release, launch=self._launch)
        self._tick = LedgerTick(home.service, self.watch, Pace(rest=lambda _seconds: None))
        self.run()
        self.tell()
        self.run()

    def run(self, *, slices: int | None = None) -> None:
        """One tick, told to stop after so many slices of its look."""
        left = iter([False] * slices if slices is not None else ())
        stopped = slices is not None
        self._tick.run(TickControl(stopping=lambda: next(left, stopped)))

    def tell(self, *paths: Path) -> None:
        """Let the watch tell of these paths."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([os.fspath(path) for path in paths]).encode() + b"\n")
        self._process.stdin.flush()
        assert self._woken.acquire(timeout=WAIT_S)

    def _launch(self, _roots: Sequence[bytes]) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        return self._process


@pytest.fixture
def told(home: LedgerHome) -> Iterator[Told]:
    made = Told(home)
    yield made
    made.watch.stop()


def begin_a_look(told: Told) -> None:
    """A whole look is due and is left after its first files."""
    clock_of(told.home).advance(3_600)
    told.run(slices=0)
    assert told.home.service.health.progress is not None
    assert told.home.service.health.progress.looking


def test_what_is_told_during_a_look_is_read_when_it_ends(told: Told) -> None:
    """D1-14: a change where the look has been already does not wait for the next one."""
    begin_a_look(told)
    with told.paths[0].open("ab") as file:
        file.write(said("late", "r") + b"\n")
    told.tell(told.paths[0])
    told.run()
    assert told.home.summary()["eventCount"] == FILES + 1


def test_what_was_missed_during_a_look_makes_another_one_due(told: Told) -> None:
    """D1-14: more changes than are remembered, told during a look, are looked for at once."""
    begin_a_look(told)
    with told.paths[0].open("ab") as file:
        file.write(said("late", "r") + b"\n")
    told.tell(*(Path(f"/elsewhere/{number}") for number in range(MAX_PATHS + 1)))
    told.run()
    told.run()
    assert told.home.summary()["eventCount"] == FILES + 1
