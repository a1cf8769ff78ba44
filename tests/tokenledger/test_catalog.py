"""What is known of the files on a disk, and what it costs to know it."""

from __future__ import annotations

import os
import time
import tracemalloc
from array import array
from pathlib import Path
from typing import Any

import pytest

from instar_host.testing import START_MS, FakeClock
from instar_tokenledger.catalog import (
    DAY_MS,
    HOUR_MS,
    QUIET,
    ROWS_AT_A_TIME,
    WAITING,
    Catalog,
    stamp_of,
)
from instar_tokenledger.looking import LIST_ALL_S, Look
from instar_tokenledger.sources.claude_code import claude_code


def stat(size: int = 100, mtime_ms: int = START_MS, ctime_ns: int = 1) -> os.stat_result:
    """A stat of a file; its numbers are what matters here."""
    at_s = mtime_ms / 1000
    fields = (0o100644, 7, 3, 1, 0, 0, size, int(at_s), int(at_s), 0)
    times = (at_s, at_s, 0.0, mtime_ms * 1_000_000, mtime_ms * 1_000_000, ctime_ns)
    return os.stat_result((*fields, *times))


class Disk:
    """A projects folder, looked at through a catalogue."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.root = folder / "projects"
        self.listed: list[bytes] = []
        source = claude_code(lambda: [self.root])
        self.catalog = Catalog(clock)
        self.look = Look(self.catalog, [source], clock, lambda _source, _root: [], lambda: None)

    def write(self, name: str, data: str = "x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(data)
        return path

    def looked(self) -> list[str]:
        """Look at everything; the names of what waits, in the order of reading."""
        for _ in self.look.everything():
            pass
        return self.taken()

    def taken(self) -> list[str]:
        """Take all that waits, as if it were read."""
        rows = []
        while (row := self.catalog.take()) is not None:
            self.catalog.finished(row, read=True)
            rows.append(os.fsdecode(self.catalog.path(row))[len(str(self.root)) + 1 :])
        return rows


@pytest.fixture
def disk(tmp_path: Path, clock: FakeClock) -> Disk:
    return Disk(tmp_path, clock)


def test_a_known_file_costs_few_bytes(clock: FakeClock) -> None:
    """120,000 files fit 26 MiB while they are put into order, and 20 MiB after that."""
    catalog = Catalog(clock)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for folder in range(60):
        number = catalog.add_folder(b"/home/dev/.claude/projects/-home-dev-project-%d/" % folder)
        for name in range(200):
            row = catalog.add(number, b"%08x-0000-4000-8000-%012x.jsonl" % (folder, name))
            catalog.saw(row, stat(ctime_ns=row + 1))
    catalog.line_up(whole=True)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (held - before) / 12_000 < (20 << 20) / 120_000
    assert (peak - before) / 12_000 < (26 << 20) / 120_000


def test_what_was_written_last_comes_first_and_folders_stay_together(clock: FakeClock) -> None:
    """The last hour by the minute, then days from the newest, and within a day by folder."""
    catalog = Catalog(clock)
    folders = [catalog.add_folder(b"/a/"), catalog.add_folder(b"/b/")]
    ages = {
        b"now": 0, b"half-hour": HOUR_MS // 2, b"today1": 3 * HOUR_MS, b"today2": 2 * HOUR_MS,
        b"old": 40 * DAY_MS, b"week": 7 * DAY_MS, b"future": -DAY_MS,
        b"before-1970": 60 * 365 * DAY_MS,
    }  # fmt: skip
    clock.set(START_MS + DAY_MS - 1)
    for i, (name, age) in enumerate(ages.items()):
        for folder in folders:
            row = catalog.add(folder, name)
            catalog.saw(row, stat(mtime_ms=clock.now_ms() - age, ctime_ns=i + 1))
    catalog.line_up(whole=True)
    order = []
    while (taken := catalog.take()) is not None:
        order.append(os.path.basename(catalog.path(taken)))
        catalog.finished(taken, read=True)
    assert order[:6] == [b"future"] * 2 + [b"now"] * 2 + [b"half-hour"] * 2
    assert order[6:10] == [b"today2", b"today1"] * 2
    assert order[10:] == [b"week"] * 2 + [b"old"] * 2 + [b"before-1970"] * 2


def test_what_is_being_written_passes_the_backlog_in_turns(clock: FakeClock) -> None:
    """T20: of files that change again and again, the one that waits longest is next."""
    catalog = Catalog(clock)
    folder = catalog.add_folder(b"/a/")
    rows = [catalog.add(folder, b"%d" % i) for i in range(4)]
    for row in rows:
        catalog.saw(row, stat(mtime_ms=START_MS - 9 * DAY_MS))
    catalog.line_up(whole=True)
    catalog.saw(rows[2], stat(ctime_ns=2))
    catalog.line_up()
    catalog.saw(rows[0], stat(ctime_ns=3, mtime_ms=START_MS + 1))
    catalog.saw(rows[2], stat(ctime_ns=3, mtime_ms=START_MS + 2))
    catalog.line_up()
    assert [catalog.take(), catalog.take()] == [rows[2], rows[0]]


def test_counts_follow_every_turn(clock: FakeClock) -> None:
    """Files and bytes that wait are right after growth, reading, failure and disappearance."""
    catalog = Catalog(clock)
    row = catalog.add(catalog.add_folder(b"/a/"), b"one")
    catalog.saw(row, stat(size=100))
    assert (catalog.counts.waiting, catalog.counts.waiting_bytes) == (1, 100)
    catalog.advance(row, 60)
    catalog.saw(row, stat(size=150, ctime_ns=2))
    assert catalog.counts.waiting_bytes == 90
    catalog.finished(row, read=False)
    assert catalog.counts.waiting == 0
    catalog.saw(row, stat(size=150, ctime_ns=2))
    assert catalog.counts.waiting_bytes == 90
    catalog.committed(row, stamp_of(3, 7, 150, 2))
    assert catalog.drop(row) == b"/a/one"
    assert (catalog.counts.waiting, catalog.counts.waiting_bytes) == (0, 0)


def test_what_the_ledger_has_read_waits_for_nothing(clock: FakeClock) -> None:
    """A file whose stat is that of its mark is quiet from the first look on."""
    catalog = Catalog(clock)
    folder = catalog.add_folder(b"/a/")
    new = catalog.add(folder, b"new")
    read = array("q", [stamp_of(3, 7, 100, 1), stamp_of(3, 8, 50, 1)])
    catalog.add_read(array("i", [folder] * 2), [b"one", b"two"], read, array("q", [100, 50]))
    rows = {catalog.names[row]: row for row in catalog.files_of(folder)}
    assert set(rows) == {b"new", b"one", b"two"}
    assert [catalog.is_known(rows[name]) for name in (b"new", b"one", b"two")] == [0, 1, 1]
    catalog.saw(rows[b"one"], stat())
    assert catalog.state[rows[b"one"]] == QUIET
    catalog.saw(rows[b"two"], stat())
    assert (catalog.state[rows[b"two"]], catalog.done(rows[b"two"])) == (WAITING, 50)
    assert catalog.drop(rows[b"one"]) == b"/a/one"
    assert catalog.add(folder, b"three") not in (new, rows[b"two"])


def test_numbers_of_gone_files_are_given_again(clock: FakeClock) -> None:
    """C-35: a tree in which files come and go does not grow what is kept of it."""
    catalog = Catalog(clock)
    folder = catalog.add_folder(b"/a/")
    for i in range(1_000):
        row = catalog.add(folder, b"%d" % i)
        catalog.saw(row, stat(ctime_ns=i + 1))
        catalog.drop(row)
    assert len(catalog.names) == ROWS_AT_A_TIME


@pytest.mark.timeout(30)
@pytest.mark.parametrize("step", [1, 2, 3, -1, -2])
def test_any_order_of_letting_go_of_a_large_folder(clock: FakeClock, step: int) -> None:
    """C-35: letting go of a file costs the same wherever in its folder it stands; a hundred
    thousand of them would take an hour otherwise."""
    catalog = Catalog(clock)
    folder = catalog.add_folder(b"/a/")
    count = 30_000
    known = array("q", range(1, count + 1))
    names = [b"known-%d" % number for number in range(count)]
    catalog.add_read(array("i", [folder]) * count, names, known, known)
    rows = [*catalog.files_of(folder), *(catalog.add(folder, b"%d" % i) for i in range(count))]
    gone = rows[::step]
    for row in gone:
        catalog.drop(row)
    assert set(catalog.files_of(folder)) == set(rows) - set(gone)
    again = [catalog.add(folder, b"again-%d" % i) for i in range(len(gone))]
    assert sorted(catalog.files_of(folder)) == sorted({*rows} - {*gone} | {*again})


def test_looks_find_what_is_new_changed_and_gone(disk: Disk) -> None:
    """Files, folders and folders in folders, by the second look as by the first."""
    disk.write("-a/one.jsonl")
    disk.write("-a/s/subagents/agent-1.jsonl")
    assert sorted(disk.looked()) == ["-a/one.jsonl", "-a/s/subagents/agent-1.jsonl"]
    assert disk.looked() == []
    disk.write("-a/one.jsonl")
    disk.write("-b/two.jsonl")
    disk.write("-a/s/subagents/deeper/agent-2.jsonl")
    (disk.root / "-a/s/subagents/agent-1.jsonl").unlink()
    expected = ["-a/one.jsonl", "-a/s/subagents/deeper/agent-2.jsonl", "-b/two.jsonl"]
    assert sorted(disk.looked()) == expected
    assert disk.look.seen == 3


def test_a_folder_that_did_not_change_is_not_listed(
    disk: Disk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-27: a quiet tree costs a stat a folder and a stat a file, and a listing now and then."""
    path = disk.write("-a/one.jsonl")
    for folder in (disk.root, path.parent):
        os.utime(folder, (1_000_000_000, 1_000_000_000))
    disk.looked()
    listed: list[bytes] = []
    scandir = os.scandir

    def counting(at: bytes) -> Any:
        listed.append(at)
        return scandir(at)

    monkeypatch.setattr(os, "scandir", counting)
    disk.looked()
    assert listed == []
    clock.advance(LIST_ALL_S)
    disk.looked()
    assert len(listed) == 2


def test_a_look_can_be_left_at_any_slice_and_gone_on_with(disk: Disk) -> None:
    """D1-14: sliced over ticks it finds the same, whatever happened to the tree between two."""
    for i in range(300):
        disk.write(f"-{i % 40}/{i}.jsonl")
    slices = 0
    for _ in disk.look.everything():
        slices += 1
        if slices == 2:
            (disk.root / "-7/7.jsonl").unlink()
            disk.write("-new/late.jsonl")
    assert slices > 5
    found = set(disk.taken()) | set(disk.looked())
    assert len(found) == 300
    assert "-new/late.jsonl" in found
    assert "-7/7.jsonl" not in found


def test_folders_that_are_renamed_while_they_are_listed(disk: Disk, clock: FakeClock) -> None:
    """T16: what another folder of that name holds is found by the next look, whichever of the two
    was listed."""
    clock.set(time.time_ns() // 1_000_000 + DAY_MS)
    for session in range(20):
        disk.write(f"p/s{session:02d}/subagents/agent-old.jsonl")
    look = disk.look.everything()
    next(look)
    (disk.root / "p").rename(disk.root / "q")
    for session in range(20):
        disk.write(f"p/s{session:02d}/subagents/agent-new.jsonl")
    for _ in look:
        pass
    names = set(disk.taken()) | set(disk.looked())
    for session in range(20):
        assert f"p/s{session:02d}/subagents/agent-new.jsonl" in names
        assert f"q/s{session:02d}/subagents/agent-old.jsonl" in names


@pytest.mark.parametrize("levels", ["p", "p/s", "p/s/subagents"])
def test_a_folder_that_became_a_link_is_no_folder(disk: Disk, levels: str, tmp_path: Path) -> None:
    """T11: what lies behind it is not looked at any more, and the link is counted."""
    disk.write("p/s/subagents/agent-a.jsonl")
    assert disk.looked() == ["p/s/subagents/agent-a.jsonl"]
    (disk.root / levels).rename(tmp_path / "elsewhere")
    (disk.root / levels).symlink_to(tmp_path / "elsewhere")
    disk.looked()
    assert (disk.look.seen, disk.look.errors) == (0, {"symlink": 1})
    assert disk.looked() == []
    assert (disk.look.seen, disk.look.errors) == (0, {"symlink": 1})


def test_paths_that_a_watch_tells_are_found_whatever_they_are(disk: Disk) -> None:
    """A known file, a new file, a file in new folders, a folder, nonsense and what has gone."""
    known = disk.write("-a/one.jsonl")
    disk.looked()
    known = disk.write("-a/one.jsonl")
    new = disk.write("-a/two.jsonl")
    deep = disk.write("-c/s/subagents/x/agent-1.jsonl")
    other = disk.write("-a/notes.txt")
    told = [known, new, deep.parent, other, disk.root / "gone.jsonl", Path("/elsewhere/x.jsonl")]
    disk.look.at_paths([os.fsencode(path) for path in told])
    expected = ["-a/one.jsonl", "-a/two.jsonl", "-c/s/subagents/x/agent-1.jsonl"]
    assert sorted(disk.taken()) == expected


def test_hot_files_are_looked_at_without_a_walk(disk: Disk, clock: FakeClock) -> None:
    """What changed within the hour is found by its own stat; what is older is left to looks."""
    paths = [disk.write(f"-a/{i}.jsonl") for i in range(3)]
    now_s = clock.now_ms() / 1000
    os.utime(paths[0], (now_s - 9_000, now_s - 9_000))
    disk.looked()
    for path in paths:
        with path.open("a") as file:
            file.write("more")
    disk.look.at_hot_files()
    assert sorted(disk.taken()) == ["-a/1.jsonl", "-a/2.jsonl"]
