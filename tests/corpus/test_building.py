"""The generator: the same for a seed, and known exactly in two independent ways."""

from __future__ import annotations

import ast
import itertools
import random
import sys
from pathlib import Path

import pytest

import benchmarks.corpus
from benchmarks.corpus import (
    answers,
    build,
    lay,
    partitioned,
    random_rows,
    read_tree,
    reveal,
    rows_permuted,
    sizes_of,
    slices,
    truth_of,
    truth_of_tree,
)
from benchmarks.corpus.damaged_scenarios import DAMAGED
from benchmarks.corpus.model import KINDS
from benchmarks.corpus.scenarios import SCENARIOS

EVERY = len(SCENARIOS + DAMAGED)


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and modification time (ns)."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("seed", range(4))
def test_memory_and_disk_agree(tmp_path: Path, seed: int) -> None:
    """What the generator meant is what a plain reader finds, row by row and view by view."""
    corpus = build(tmp_path, seed=seed, sessions=2 * EVERY)
    found = read_tree(tmp_path)
    assert sorted(corpus.rows, key=lambda row: (row.path, row.offset)) == found.rows
    assert sorted(corpus.skips, key=lambda skip: (skip.path, skip.offset)) == found.skips
    zone = "Asia/Kolkata"
    assert answers(corpus.truth(tz=zone)) == answers(truth_of_tree(tmp_path, tz=zone))


def test_a_seed_gives_the_same_tree(tmp_path: Path) -> None:
    """Bytes, names and times repeat for a seed and differ for another."""
    trees = []
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        build(tmp_path / name, seed=seed, sessions=EVERY, scale="small")
        trees.append(contents(tmp_path / name))
    assert trees[0] == trees[1]
    assert trees[0] != trees[2]


def test_every_hard_case_is_in_a_corpus(tmp_path: Path) -> None:
    """All kinds, all reasons for a skip, partial requests, quotes and cost figures occur."""
    corpus = build(tmp_path, seed=1, sessions=EVERY)
    said = answers(corpus.truth())
    assert all(said["summary"]["kinds"][kind]["requests"] for kind in KINDS)
    assert said["summary"]["partial"]["estimatedOutput"] > 0
    assert said["costStates"]
    assert set(said["skips"]) == {
        "bad-number",
        "bad-timestamp",
        "malformed",
        "no-identity",
        "no-session-id",
        "no-timestamp",
        "no-usage",
        "not-object",
        "synthetic",
        "too-deep",
    }
    assert any(row.quoted for row in corpus.rows)
    assert any(len(request.message_ids) > 1 for request in corpus.truth().requests)
    assert any(len(request.request_ids) > 1 for request in corpus.truth().requests)


@pytest.mark.parametrize("seed", range(20))
def test_programs_say_their_rows(tmp_path: Path, seed: int) -> None:
    """A random program of rows, written in any order over any files, reads back as those rows."""
    rng = random.Random(seed)
    rows = rows_permuted(random_rows(rng, 40), rng)
    placed = []
    folder = tmp_path / "projects" / "p"
    folder.mkdir(parents=True)
    for number, part in enumerate(partitioned(rows, rng, 3)):
        path = folder / f"{number}.jsonl"
        data, laid = lay(str(path).encode(), part)
        path.write_bytes(data)
        placed += laid
    assert read_tree(tmp_path).rows == placed
    assert answers(truth_of_tree(tmp_path)) == answers(truth_of(placed))


def test_slices_only_grow_and_end_whole() -> None:
    """Each moment holds at least the bytes of the one before; the last holds everything."""
    sizes = {b"a": 1000, b"b": 7, b"c": 0}
    moments = list(slices(sizes, random.Random(3), 9))
    assert len(moments) == 9
    assert moments[-1] == sizes
    for before, after in itertools.pairwise(moments):
        assert all(after[path] >= size for path, size in before.items())


def test_a_revealed_tree_ends_as_the_whole(tmp_path: Path) -> None:
    """A tree that grows in random cuts is readable at every moment and ends with the same truth."""
    corpus = build(tmp_path / "whole", seed=5, sessions=EVERY, scale="small")
    sizes = sizes_of(corpus.root, corpus.files)
    seen = 0
    for moment in slices(sizes, random.Random(5), 4):
        reveal(corpus.root, tmp_path / "live", moment)
        rows = read_tree(tmp_path / "live").rows
        assert len(rows) >= seen
        seen = len(rows)
    assert answers(truth_of_tree(tmp_path / "live")) == answers(corpus.truth())


def test_a_line_over_the_limit_is_skipped_by_its_reason(tmp_path: Path) -> None:
    """A line of more than 16 MiB costs itself alone."""
    corpus = build(tmp_path, seed=1, sessions=0, too_long=True)
    assert corpus.truth().skips == {"too-long": 1}
    assert answers(truth_of_tree(tmp_path)) == answers(corpus.truth())


def test_the_corpus_shares_nothing_with_the_product() -> None:
    """Only the standard library and the corpus itself are imported by it."""
    imported = set()
    for path in Path(benchmarks.corpus.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    foreign = {
        name
        for name in imported
        if name.split(".")[0] not in sys.stdlib_module_names
        and not name.startswith("benchmarks.corpus")
    }
    assert foreign == set()
