"""Hundreds of agents at once: nobody's transcript is left behind, however fast the others write."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from typing import Self

import pytest

from tests.faults.ledgers import marks_of
from tests.tokenledger.homes import LedgerHome, clock_of, said
from tests.tokenledger.test_age_window import CONTROL, a_tick, settings

FILES = 500
A_TICK = 50
TICKS = 80
ROUNDS = 3
"""At least so many ticks, and lines in every file."""
WRITERS = 2
PAUSE_S = 0.000_5
"""Between two lines of a writer, so that the reader gets a turn at all."""


class Agents:
    """Threads that append to all files, round and round, until they are told to end."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._ending = threading.Event()
        self.rounds = [0] * WRITERS
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        mine = self._paths[number::WRITERS]
        while not self._ending.is_set():
            random.Random(self.rounds[number]).shuffle(mine)
            for path in mine:
                line = said(f"{path.stem}-{self.rounds[number]}", "r", session=path.stem)
                with path.open("ab") as file:
                    file.write(line + b"\n")
                self._ending.wait(PAUSE_S)
            self.rounds[number] += 1


def marks_in(home: LedgerHome) -> dict[bytes, int]:
    with home.reading() as reading:
        return marks_of(reading.connection)


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_five_hundred_live_files_take_turns(home: LedgerHome) -> None:
    """T20: written to faster than it can be read, no file waits longer than two rounds of ticks."""
    folder = home.claude / "projects" / "-a"
    folder.mkdir(parents=True)
    paths = [folder / f"s{number}.jsonl" for number in range(FILES)]
    for path in paths:
        path.write_bytes(said(path.stem, "r0", session=path.stem) + b"\n")
    home.scan()
    settings(home, maxFilesPerScan=A_TICK, maxScanMs=60_000, watch=False)
    tick = a_tick(home)
    waited = dict.fromkeys((str(path).encode() for path in paths), 0)
    longest = 0
    before = marks_in(home)
    with Agents(paths) as agents:
        ticks = 0
        while ticks < TICKS or min(agents.rounds) < ROUNDS:
            ticks += 1
            unread = {name for name in waited if os.path.getsize(name) > before[name]}
            tick.run(CONTROL)
            clock_of(home).advance(1)
            marks = marks_in(home)
            for name in waited:
                passed_over = name in unread and marks[name] == before[name]
                waited[name] = waited[name] + 1 if passed_over else 0
            longest, before = max(longest, *waited.values()), marks
    assert longest <= 2 * FILES // A_TICK
    home.scan()
    home.assert_true()
