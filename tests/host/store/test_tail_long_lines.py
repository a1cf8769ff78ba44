"""Lines that are too long to be held: passed over once, in bounded memory and linear time."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from tests.host.store.tailing import Reader, append

MiB = 1 << 20


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


@pytest.mark.parametrize("length", [99, 100, 101, 102])
@pytest.mark.parametrize("end", [b"\nafter\n", b"", b"\n"])
def test_the_longest_line_is_exact(log: Path, length: int, end: bytes) -> None:
    """A line of `max_line_bytes` is handed out, one byte more is skipped, ended or not."""
    log.write_bytes(b"before\n" + b"x" * length + end)
    reader = Reader(log, block_bytes=64, max_line_bytes=100)
    lines = reader.lines()
    seen = b"x" * length in lines or reader.unfinished == b"x" * length
    assert seen == (length <= 100)
    assert len(reader.skipped) == (length > 100)
    assert (b"after" in lines) == (end == b"\nafter\n")


def test_a_long_line_is_skipped_over_many_calls_and_begins_once(log: Path) -> None:
    """A line left half way is resumed inside, and only its first stretch says that it begins."""
    log.write_bytes(b"before\n" + b"x" * 5_000 + b"\nafter\n")
    reader = Reader(log, block_bytes=64, max_line_bytes=100)
    lines: list[bytes] = []
    for _ in range(50):
        lines += reader.lines(max_bytes=200)
    assert lines == [b"before", b"after"]
    assert [piece.continued for piece in reader.skipped].count(False) == 1
    assert sum(piece.length for piece in reader.skipped) == 5_001


def test_a_long_line_without_an_end_is_waited_out(log: Path) -> None:
    """T8: bytes that arrive later in a line already too long are skipped, then reading goes on."""
    reader = Reader(log, max_line_bytes=100)
    log.write_bytes(b"x" * 500)
    assert (reader.lines(), len(reader.skipped)) == ([], 1)
    append(log, b"y" * 500)
    assert (reader.lines(), reader.skipped[-1].continued) == ([], True)
    append(log, b"\nafter\n")
    assert reader.lines() == [b"after"]


def test_a_long_line_costs_bounded_memory_and_linear_reads(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-26: 64 MiB in one line stay under two longest lines of memory, and are read about once."""
    with log.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * MiB)
        file.write(b"\nafter\n")
    asked = 0
    real = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal asked
        asked += length
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    reader = Reader(log, block_bytes=64 << 10, max_line_bytes=4 * MiB)
    tracemalloc.start()
    try:
        assert reader.lines() == [b"after"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 4 * MiB + MiB
    assert asked < 80 * MiB


def test_a_line_of_many_blocks_is_read_in_linear_time(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-26: a 16 MiB line in 64 KiB blocks costs a few times its size in reads, not its square."""
    log.write_bytes(b"x" * (16 * MiB - 1) + b"\n")
    asked: list[int] = []
    real = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        asked.append(length)
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert len(Reader(log, block_bytes=64 << 10, max_line_bytes=16 * MiB).lines()) == 1
    assert sum(asked) <= 3 * 16 * MiB


def test_a_sparse_terabyte_is_passed_over_at_once(log: Path) -> None:
    """T12: a hole has no newline; it is skipped as one long line without being read."""
    with log.open("wb") as file:
        file.write(b"before\n")
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\nafter\n")
    reader = Reader(log, max_line_bytes=1 << 16)
    assert reader.lines() == [b"before", b"after"]
    assert (reader.lines(), reader.verdict) == ([], "same")


def test_a_hole_at_the_end_is_passed_over_and_known_again(log: Path) -> None:
    """T12: a mark inside a hole guards the zeros that reading would have given."""
    log.write_bytes(b"before\n" + b"x" * 8185)
    reader = Reader(log, max_line_bytes=100)
    assert reader.lines() == [b"before"]
    os.truncate(log, 1 << 40)
    assert reader.lines() == []
    append(log, b"\nafter\n")
    assert (reader.lines(), reader.verdict) == ([b"after"], "grown")


@pytest.mark.faults
@pytest.mark.parametrize("end", [b"\nafter\n", b""])
def test_a_gibibyte_in_one_line_costs_bounded_memory(log: Path, end: bytes) -> None:
    """T8: 1 GiB with or without a newline is counted once; memory stays at two longest lines."""
    with log.open("wb") as file:
        for _ in range(1024):
            file.write(b"x" * MiB)
        file.write(end)
    reader = Reader(log, block_bytes=MiB, max_line_bytes=16 * MiB)
    tracemalloc.start()
    try:
        lines = reader.lines()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines == ([b"after"] if end else [])
    assert [piece.length for piece in reader.skipped] == [1024 * MiB + bool(end)]
    assert peak < 33 * MiB
