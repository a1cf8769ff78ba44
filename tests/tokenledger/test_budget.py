"""What a tick may cost, in bytes, files and rows, whatever lies on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from instar_host.records import TickControl
from instar_tokenledger.ingest import SLICE_BYTES, Budget
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said
from tests.tokenledger.test_age_window import CONTROL, a_tick, settings

FOLDER = "projects/-home-dev-app"
MIB = 1 << 20


def one(number: int) -> bytes:
    return said(f"m{number}", f"r{number}")


def backlog(home: LedgerHome, count: int) -> list[Path]:
    """So many unread files, of one request each, a minute apart and the newest two hours old."""
    now_s = clock_of(home).now_ms() / 1000
    paths = [home.write(f"{FOLDER}/{i:04}.jsonl", one(i)) for i in range(count)]
    for i, path in enumerate(paths):
        os.utime(path, (now_s - 7_200 - 60 * i,) * 2)
    return paths


def read_files(home: LedgerHome) -> int:
    return int(home.status()["files"]["read"])


def test_a_tick_reads_so_many_files_and_no_more(home: LedgerHome) -> None:
    """D1-13: the rest waits for the next tick, and is said to."""
    backlog(home, 25)
    settings(home, maxFilesPerScan=10)
    tick = a_tick(home)
    counts = []
    for _ in range(3):
        tick.run(CONTROL)
        counts.append((read_files(home), home.status()["files"]["waiting"]))
    assert counts == [(10, 15), (20, 5), (25, 0)]


@pytest.mark.parametrize("limits", [{"maxBytesPerScan": 3_000}, {"maxRowsPerScan": 5}])
def test_a_tick_stops_inside_a_file_and_goes_on_there(
    home: LedgerHome, limits: dict[str, int]
) -> None:
    """Bytes and rows bound a tick to a block more; the next begins at that very byte."""
    lines = [one(i) for i in range(40)]
    path = home.write(SESSION, *lines)
    settings(home, **limits)
    tick = a_tick(home)
    steps = 0
    while read_files(home) == 0 or home.status()["files"]["waiting"]:
        tick.run(CONTROL)
        steps += 1
        assert steps < 50
    assert home.summary()["eventCount"] == 40
    assert home.status()["bytes"]["read"] == path.stat().st_size
    assert steps > 1 or "maxRowsPerScan" in limits


def test_a_new_line_anywhere_is_read_by_the_next_tick(home: LedgerHome) -> None:
    """C-29: with a backlog many times a tick's budget, the file that changes goes first: the
    oldest of the backlog, one half read, one read already, and one that is new."""
    paths = backlog(home, 60)
    settings(home, maxFilesPerScan=4)
    tick = a_tick(home)
    tick.run(CONTROL)
    for number, path in enumerate([paths[59], paths[30], paths[0]]):
        with path.open("ab") as file:
            file.write(said("live", f"live{number}", session=f"live{number}") + b"\n")
        tick.run(CONTROL)
        assert f"live{number}" in {row["sessionId"] for row in home.answers()["sessions"]}
    home.write("projects/-new/fresh.jsonl", said("fresh", "fresh", session="fresh"))
    tick.run(CONTROL)
    assert "fresh" in {row["sessionId"] for row in home.answers()["sessions"]}
    assert home.status()["files"]["waiting"] > 40


def test_the_backlog_is_read_newest_day_first(home: LedgerHome) -> None:
    """What was used last week is of more interest than what was used last year."""
    now_s = clock_of(home).now_ms() / 1000
    for days in (20, 3, 11, 7):
        path = home.write(f"{FOLDER}/{days}.jsonl", said(f"d{days}", "r", session=f"d{days}"))
        os.utime(path, (now_s - days * 86_400,) * 2)
    settings(home, maxFilesPerScan=1)
    tick = a_tick(home)
    order: list[str] = []
    for _ in range(4):
        tick.run(CONTROL)
        seen = {row["sessionId"] for row in home.answers()["sessions"]}
        order += sorted(seen - set(order))
    assert order == ["d3", "d7", "d11", "d20"]


def test_live_files_take_turns(home: LedgerHome) -> None:
    """T20: files that are written to all the time are each read again within two rounds."""
    names = [f"{FOLDER}/{i:02}.jsonl" for i in range(20)]
    for i, name in enumerate(names):
        home.write(name, said(f"a{i}", "r", session=f"s{i}"))
    home.scan()
    settings(home, maxFilesPerScan=5)
    tick = a_tick(home)
    for round_ in range(8):
        for i, name in enumerate(names):
            home.append(name, said(f"b{round_}-{i}", "r", session=f"s{i}"))
        tick.run(CONTROL)
    counts = [row["eventCount"] for row in home.answers()["sessions"]]
    assert min(counts) >= 1 + 4


def test_a_line_of_300_megabytes_costs_each_tick_its_budget(home: LedgerHome) -> None:
    """C-26, T8: passed over in pieces, counted once, with other files read meanwhile."""
    path = home.write(SESSION, one(1), b"", end=b"")
    with path.open("ab") as file:
        for _ in range(300):
            file.write(b"x" * MIB)
        file.write(b"\n" + one(2) + b"\n")
    settings(home, maxBytesPerScan=32 * MIB)
    tick = a_tick(home)
    before = steps = 0
    while home.status()["files"]["waiting"] or steps == 0:
        tick.run(CONTROL)
        steps += 1
        read = home.status()["bytes"]["read"]
        assert read - before <= 32 * MIB + SLICE_BYTES + MIB
        before = read
        home.write(f"{FOLDER}/other{steps}.jsonl", one(steps + 10))
    assert steps >= 300 // 48
    home.scan()
    assert home.summary()["eventCount"] == 2 + steps
    assert home.skips() == {"too-long": 1}


def test_time_is_looked_at_inside_a_file(home: LedgerHome) -> None:
    """A step whose time is over stops after the slice it is in, and commits what it has."""
    path = home.write(SESSION, *(said(f"m{i}", "r", cwd="/" + "x" * 4_000) for i in range(9_000)))
    clock = clock_of(home)

    def asked() -> bool:
        clock.advance(2.0)
        return False

    list(home.service.step(Budget(seconds=1.0), asked))
    assert 0 < home.status()["bytes"]["read"] < path.stat().st_size
    home.scan()
    assert home.summary()["eventCount"] == 9_000


def test_a_tree_that_shrinks_under_the_reader(home: LedgerHome) -> None:
    """C-28: files that go between two ticks shift nobody's place in the line."""
    paths = backlog(home, 30)
    settings(home, maxFilesPerScan=10)
    tick = a_tick(home)
    tick.run(CONTROL)
    for path in paths[5:15]:
        path.unlink()
    for _ in range(3):
        tick.run(CONTROL)
    status = home.status()
    assert (status["files"]["waiting"], status["files"]["seen"]) == (0, 20)
    assert home.summary()["eventCount"] == 25


def test_a_tick_that_is_told_to_stop_keeps_what_it_read(home: LedgerHome) -> None:
    """C-33: a host that stops in the middle of a tick loses nothing and leaves nothing open."""
    backlog(home, 30)
    asked = iter([False] * 12)
    a_tick(home).run(TickControl(stopping=lambda: next(asked, True)))
    home.service.close()
    assert home.summary()["eventCount"] < 30
    home.restart()
    a_tick(home).run(CONTROL)
    assert home.summary()["eventCount"] == 30
