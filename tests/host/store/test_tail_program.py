"""The tail against a model file, under random programs of a writer, a rotator and a restart."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Struct

from instar_host.store.tail import (
    GUARD_BYTES,
    Lines,
    Mark,
    TooLong,
    iter_lines,
    open_tail,
    unchanged,
)

MAX_LINE_BYTES = 90
Piece = tuple[str, int, bytes | int]  # ("line", offset, content) or ("long", offset, length)


class Seen(Struct, frozen=True):
    """What the model remembers of the last tick: the bytes before the mark, and all there were."""

    before: bytes
    skipping: bool
    whole: bytes


def pieces_of(content: bytes, start: int, *, skipping: bool) -> list[Piece]:
    """Split `content` from `start` the obvious way."""
    found: list[Piece] = []
    at = start
    while at < len(content):
        newline = content.find(b"\n", at)
        end = len(content) if newline < 0 else newline + 1
        length = end - at - (newline >= 0)
        if skipping or length > MAX_LINE_BYTES:
            found.append(("long", at, end - at))
        elif newline >= 0:
            found.append(("line", at, content[at:newline]))
        skipping = False
        at = end
    return found


class TailProgram(RuleBasedStateMachine):
    """Whatever is done to the file, each tick hands out what a model that sees all bytes would."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="tail-program-"))
        self.path = self.directory / "log.jsonl"
        self.path.touch()
        self.content = b""
        self.count = 0
        self.kept: bytes | None = None  # the mark, as a restart finds it: encoded
        self.seen: Seen | None = None
        self.block_bytes = 64

    @initialize(block_bytes=st.integers(1, 300))
    def choose_block(self, block_bytes: int) -> None:
        self.block_bytes = block_bytes

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    # The writer

    @rule(width=st.integers(0, 120), lines=st.integers(1, 6))
    def append_lines(self, width: int, lines: int) -> None:
        self._append(b"".join(self._fresh(width) + b"\n" for _ in range(lines)))

    @rule(width=st.integers(1, 60))
    def append_part(self, width: int) -> None:
        self._append(self._fresh(width))

    @rule(data=st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\x00\n", b"\xf0\x9f\x98\x80\n"]))
    def append_ending(self, data: bytes) -> None:
        self._append(data)

    # The rotator

    @rule(share=st.floats(0, 1))
    def truncate(self, share: float) -> None:
        self.content = self.content[: int(len(self.content) * share)]
        os.truncate(self.path, len(self.content))

    @rule(extra=st.integers(0, 200))
    def copytruncate_and_refill(self, extra: int) -> None:
        """To exactly the old size, or past it, in the same inode."""
        self.content = self._filled(len(self.content) + extra)
        with self.path.open("r+b") as file:
            file.truncate(0)
            file.write(self.content)

    @rule(size=st.integers(0, 600))
    def delete_and_create(self, size: int) -> None:
        """The inode is most likely the same one."""
        self.path.unlink()
        self.content = self._filled(size)
        self.path.write_bytes(self.content)

    @rule(size=st.integers(0, 600))
    def rename_over(self, size: int) -> None:
        self.content = self._filled(size)
        self._replace()

    @rule()
    def restore_a_copy(self) -> None:
        """The same bytes under another inode."""
        self._replace()

    @rule()
    def touch(self) -> None:
        os.utime(self.path, (0, 0))

    @rule()
    def link_and_unlink(self) -> None:
        os.link(self.path, self.path.with_name("link"))
        self.path.with_name("link").unlink()

    @rule(keep=st.integers(1, 400))
    def rewrite_after_the_head(self, keep: int) -> None:
        """C-23: the same beginning, other lines after it, at least as long."""
        kept = self.content[:keep]
        self.content = kept + self._filled(max(0, len(self.content) - len(kept)) + 50)
        with self.path.open("r+b") as file:
            file.write(self.content)

    # The reader

    @rule(max_bytes=st.none() | st.integers(1, 400))
    def tick(self, max_bytes: int | None) -> None:
        mark = None if self.kept is None else msgspec.msgpack.decode(self.kept, type=Mark)
        goes_on = self._would_go_on(mark)
        start = mark.offset if mark and goes_on else 0
        expected = pieces_of(self.content, start, skipping=bool(mark and goes_on and mark.skipping))
        found: list[Piece] = []
        with open_tail(
            self.path, mark, block_bytes=self.block_bytes, max_line_bytes=MAX_LINE_BYTES
        ) as opened:
            for block in opened.blocks(max_bytes=max_bytes):
                found += self._pieces(block)
            rest = opened.unfinished()
            after = opened.mark()
        assert (opened.verdict in ("same", "grown")) == (mark is not None and goes_on)
        self._check(found, expected, whole=max_bytes is None)
        if max_bytes is None:
            self._check_rest(rest, after)
        self.kept = msgspec.msgpack.encode(after)
        self.seen = Seen(self.content[: after.offset], after.skipping, self.content)

    @precondition(lambda self: self.kept is not None)
    @rule()
    def forget_everything(self) -> None:
        """A lost database: all is read again."""
        self.kept = None

    @invariant()
    def an_unchanged_file_has_nothing_new(self) -> None:
        """One stat is enough to skip a file; not after a rewrite of equal size in a clock tick."""
        if self.kept is None or self.seen is None:
            return
        if len(self.content) == len(self.seen.whole) and self.content != self.seen.whole:
            return
        mark = msgspec.msgpack.decode(self.kept, type=Mark)
        if unchanged(mark, self.path.stat()):
            assert self.content.startswith(self.seen.before)
            start = len(self.seen.before)
            assert not pieces_of(self.content, start, skipping=self.seen.skipping)

    # The model

    def _would_go_on(self, mark: Mark | None) -> bool:
        """The documented rule: at least as long, with the same bytes in both guarded stretches."""
        if mark is None or self.seen is None:
            return False
        before = self.seen.before
        now = self.content[: mark.offset]
        covered = min(GUARD_BYTES, len(before))
        return (
            len(self.content) >= mark.offset
            and now[:covered] == before[:covered]
            and now[len(now) - covered :] == before[len(before) - covered :]
        )

    def _check(self, found: list[Piece], expected: list[Piece], *, whole: bool) -> None:
        if whole:
            assert found == expected
            return
        assert bool(found) == bool(expected)
        if found and found[-1][0] == "long":  # the budget may leave a long line half way
            last, model = found.pop(), expected[len(found)]
            assert last[:2] == model[:2]
            assert isinstance(last[2], int)
            assert isinstance(model[2], int)
            assert 0 < last[2] <= model[2]
        assert found == expected[: len(found)]

    def _check_rest(self, rest: Lines | None, after: Mark) -> None:
        left = self.content[after.offset :]
        assert (rest.data if rest else b"") == left
        assert b"\n" not in left
        assert after.size == len(self.content)

    def _pieces(self, block: Lines | TooLong) -> list[Piece]:
        if isinstance(block, TooLong):
            return [("long", block.offset, block.length)]
        return [("line", at, line) for at, line in iter_lines(block)]

    def _append(self, data: bytes) -> None:
        self.content += data
        with self.path.open("ab") as file:
            file.write(data)

    def _replace(self) -> None:
        other = self.path.with_name("other")
        other.write_bytes(self.content)
        other.replace(self.path)

    def _fresh(self, width: int) -> bytes:
        """Bytes that were never written before, as a transcript's ids and times are."""
        self.count += 1
        tag = b"%d," % self.count
        return (tag * (width // len(tag) + 1))[: max(width, len(tag))]

    def _filled(self, size: int) -> bytes:
        lines = b""
        while len(lines) < size:
            lines += self._fresh(30) + b"\n"
        return lines[:size]


class LongTailProgram(TailProgram):
    """The same laws, for many more programs and other ones each time."""


TestTailProgram = TailProgram.TestCase
TestTailProgram.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

TestLongTailProgram = pytest.mark.timeout(600)(pytest.mark.faults(LongTailProgram.TestCase))
TestLongTailProgram.settings = settings(
    max_examples=1_500,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
