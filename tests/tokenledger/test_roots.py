"""Roots that vanish, come back, nest, part, are the root of all, or are no path at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from instar_tokenledger.catalog import DAY_MS, Catalog
from instar_tokenledger.ingest import Budget, Ingest
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.looking import Look
from instar_tokenledger.tracing import known, trace
from tests.faults.ledgers import marks_of
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said

FOLDERS = 40


class Roots:
    """A ledger over roots that a test may change."""

    def __init__(self, home: LedgerHome, ledger: Ledger) -> None:
        self.home = home
        self.ledger = ledger
        self.roots = [home.claude / "projects"]
        self.source = msgspec.structs.replace(
            home.service.sources()[0],
            roots=lambda: list(self.roots),
            selects=lambda path: path.endswith(b".jsonl"),
        )
        self.clock = clock_of(home)
        self.clock.set(time.time_ns() // 1_000_000 + DAY_MS)
        self.ingest = Ingest(ledger, [self.source], self.clock)

    def scan(self) -> int:
        """Look and read; how many transcripts there are."""
        while not self.ingest.look():
            pass
        list(self.ingest.read(Budget()))
        return self.ingest.progress.files_seen

    def marks(self) -> set[bytes]:
        return set(marks_of(self.ledger.connection))

    def skips(self) -> int:
        rows: list[Any] = self.ledger.connection.execute(
            "SELECT coalesce(sum(lines), 0) FROM skips"
        ).fetchall()
        return int(rows[0][0])


@pytest.fixture
def roots(home: LedgerHome, ledger: Ledger) -> Roots:
    """A tree of many folders that was read."""
    for number in range(FOLDERS):
        home.write(f"projects/p{number}/s.jsonl", said(f"m{number}", "r"), b"broken")
    found = Roots(home, ledger)
    for folder in (found.roots[0], *found.roots[0].iterdir()):
        os.utime(folder, (1, 1))
    assert (found.scan(), found.scan()) == (FOLDERS, FOLDERS)
    return found


@pytest.mark.parametrize("slices", range(4))
def test_a_root_that_goes_during_a_look_takes_nothing_with_it(roots: Roots, slices: int) -> None:
    """T21: whatever slice it goes in, its files are as they were when it comes back."""
    root = roots.roots[0]
    for _ in range(slices):
        assert not roots.ingest.look(0.0)
    root.rename(root.with_name("away"))
    while not roots.ingest.look(0.0):
        pass
    assert len(roots.marks()) == FOLDERS
    root.with_name("away").rename(root)
    assert (roots.scan(), roots.ingest.progress.files_read) == (FOLDERS, FOLDERS)


def test_a_root_that_is_away_when_a_watch_tells_of_it_loses_nothing(roots: Roots) -> None:
    """T21: a told path in a root that is away for a moment leaves all that is known."""
    root = roots.roots[0]
    root.rename(root.with_name("away"))
    told = [f"{root}/p{number}/{name}.jsonl" for number in range(3) for name in ("new", "s")]
    roots.ingest.look_at_paths(map(os.fsencode, told))
    roots.ingest.look_at_hot_files()
    root.with_name("away").rename(root)
    assert (roots.scan(), roots.scan()) == (FOLDERS, FOLDERS)
    assert roots.ingest.progress.files_read == FOLDERS


def test_a_folder_that_comes_back_has_all_that_lay_below_it(roots: Roots) -> None:
    """T16: a folder that a watch's path found gone, and another one found again, is whole."""
    inner = roots.home.write("projects/p1/s/subagents/agent-1.jsonl", said("inner", "r"))
    for folder in list(inner.parents)[:4]:
        os.utime(folder, (2, 2))
    seen = roots.scan()
    folder = roots.roots[0] / "p1"
    folder.rename(folder.with_name("away"))
    roots.ingest.look_at_paths([os.fsencode(folder / "new.jsonl")])
    folder.with_name("away").rename(folder)
    roots.ingest.look_at_paths([os.fsencode(folder)])
    for _ in range(2):
        assert roots.scan() == seen
    assert os.fsencode(inner) in roots.marks()


def test_a_path_in_folders_that_are_made_anew_is_found_at_once(roots: Roots) -> None:
    """T16: where a folder on the way went, what a watch tells is looked for from above it."""
    roots.home.write("projects/p1/s/subagents/agent-1.jsonl", said("inner", "r"))
    roots.scan()
    folder = roots.roots[0] / "p1"
    folder.rename(folder.with_name("away"))
    roots.ingest.look_at_paths([os.fsencode(folder / "new.jsonl")])
    new = roots.home.write("projects/p1/s/new.jsonl", said("new", "r"))
    roots.ingest.look_at_paths([os.fsencode(new)])
    list(roots.ingest.read(Budget()))
    assert os.fsencode(new) in roots.marks()


def test_a_root_that_is_not_asked_for_any_more_leaves_its_files_to_the_other(roots: Roots) -> None:
    """T21: of two roots, one in the other, each may go: its files are read on, and counted once."""
    inner, outer = roots.roots[0], roots.home.claude
    roots.roots[:] = [inner, outer]
    assert (roots.scan(), roots.scan()) == (FOLDERS, FOLDERS)
    for kept in (outer, inner):
        roots.roots[:] = [kept]
        assert roots.scan() == FOLDERS
        roots.home.append("projects/p1/s.jsonl", said(f"{kept}", "r"), b"broken")
        assert roots.scan() == FOLDERS
        roots.roots[:] = [inner, outer]
        assert roots.scan() == FOLDERS
    assert roots.skips() == FOLDERS + 2
    assert len(roots.marks()) == FOLDERS


def test_what_an_outer_root_lets_go_of_is_the_inner_ones(roots: Roots) -> None:
    """T21: a folder that became a link is none of the root around it, and all of the root that it
    is itself: what the one let go of the other finds, though nothing in there has changed."""
    outer = roots.roots[0]
    inner = outer / "p1"
    roots.home.write("projects/p1/s/deep.jsonl", said("deep", "r"))
    for folder in (inner / "s", inner, outer):
        os.utime(folder, (2, 2))
    roots.roots[:] = [outer, inner]
    assert (roots.scan(), roots.scan()) == (FOLDERS + 1, FOLDERS + 1)
    inner.rename(roots.home.claude / "kept")
    inner.symlink_to(roots.home.claude / "kept")
    for _ in range(2):
        assert roots.scan() == FOLDERS + 1


def test_a_linked_root_that_is_pointed_elsewhere_is_another_tree(roots: Roots) -> None:
    """T21: what the link led to before is gone, what it leads to now is read."""
    root = roots.roots[0]
    root.rename(root.with_name("one"))
    roots.home.write("two/p1/s.jsonl", said("two", "r"))
    for target, count in (("one", FOLDERS), ("two", 1), ("one", FOLDERS)):
        root.unlink(missing_ok=True)
        root.symlink_to(root.with_name(target))
        assert (roots.scan(), len(roots.marks())) == (count, count)
    assert roots.skips() == FOLDERS


def test_the_root_of_all_is_a_root(home: LedgerHome, ledger: Ledger) -> None:
    """T21: `/` is looked into, read and traced like any other folder."""
    path = os.fsencode(home.write(SESSION, said("m1", "r1")))
    on_the_way = {path[1:at] for at in range(2, len(path)) if path[at : at + 1] == b"/"}
    roots = Roots(home, ledger)
    roots.roots[:] = [Path("/")]
    source = msgspec.structs.replace(
        roots.source,
        selects=lambda found: b"/" + found == path,
        descends=lambda found: found in on_the_way,
    )
    roots.ingest = Ingest(ledger, [source], roots.clock)
    assert roots.scan() == 1
    assert (roots.marks(), roots.ingest.roots) == ({path}, [b"/"])
    ((request, name),) = known(ledger.connection, "r1")
    assert [line.path for line in trace(request, name, [source]).lines] == [path]


@pytest.mark.parametrize("nonsense", ["/a\0b", "/a\ud800b"])
def test_a_root_that_is_no_path_is_counted(roots: Roots, nonsense: str) -> None:
    """T21: a text that can be no path costs nobody else a look."""
    roots.roots.append(Path(nonsense))
    assert roots.scan() == FOLDERS
    assert dict(roots.ingest.progress.errors) == {"not a path": 1}


def test_a_root_whose_marks_could_not_be_read_is_begun_anew(roots: Roots) -> None:
    """An error of the database half-way through what it knows leaves no half of it behind."""
    failures = [OSError("the disk is away")]

    def marks(source: str, root: bytes) -> Iterator[tuple[bytes, bytes, int, int, int, int]]:
        for number, row in enumerate(roots.ledger.marks(source, root)):
            if failures and number == FOLDERS // 2:
                raise failures.pop()
            yield row

    catalog = Catalog(roots.clock)
    look = Look(catalog, [roots.source], roots.clock, marks, lambda: None)
    with pytest.raises(OSError, match="away"):
        list(look.everything())
    list(look.everything())
    assert catalog.counts.waiting == 0
    assert look.seen == FOLDERS


def test_a_root_that_is_a_file_holds_nothing(roots: Roots) -> None:
    """T21: it is told about, and what was read below another root stays."""
    roots.roots[:] = [roots.home.write("file", b"")]
    assert roots.scan() == 0
    assert dict(roots.ingest.progress.errors) == {"Not a directory": 1}
    assert len(roots.marks()) == FOLDERS
