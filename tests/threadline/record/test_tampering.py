"""S1 as a model: a log that lives any life, and any one thing done to it that its writer did not.

The model knows the bytes that its writer left. A tampering changes one file of a copy, in one
place; from there on the bytes differ, so that is the place that `verify` has to name.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from instar_threadline.messages import Direction
from instar_threadline.record.chain import HEAD_SLOT_BYTES
from instar_threadline.record.disk import Disk
from instar_threadline.record.findings import Finding
from instar_threadline.record.keyring import Keyring, open_keyring
from instar_threadline.record.layout import Layout, layout
from instar_threadline.record.log import ROTATE_BYTES, MessageLog
from instar_threadline.record.signing import derive_key, sign
from instar_threadline.record.verify import StreamVerdict, verify
from tests.threadline.logs import (
    StillClock,
    original_line,
    rearrange,
    received,
    sent,
    write_original,
)

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
TOKENS = ("first token", "second token", "third token")
EDITS = ("delete", "swap", "copy", "cut", "other key", "splice")
SIDES: tuple[Direction, ...] = ("in", "out")

side = st.sampled_from(SIDES)
place = st.integers(0, 1 << 20)
"""Taken modulo what there is."""


class Syncless(Disk):
    """A disk that survives no power cut; nobody cuts the power here."""

    def sync(self, descriptor: int) -> None:
        pass


def lines_of(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def first_changed_line(old: bytes, new: bytes) -> int:
    """The offset of the line in which the bytes begin to differ."""
    pairs = enumerate(zip(old, new, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))
    return old.rfind(b"\n", 0, same) + 1


def foreign_lines(token: str, name: str = "inbox.jsonl.active", count: int = 3) -> list[bytes]:
    """Lines, or entries, of another log: its keys are the same, its chain is not."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        log = keyed_log(Path(folder), token)
        log.record([received("of another log", id=f"x-{i}") for i in range(count)])
        log.close()
        return lines_of((Path(folder) / "threadline" / name).read_bytes())


def keyed_log(state_dir: Path, token: str, rotate_bytes: int = ROTATE_BYTES) -> MessageLog:
    keys = open_keyring(str(state_dir / "threadline"), token)
    return MessageLog(
        state_dir, keys, StillClock(), agent="echo", rotate_bytes=rotate_bytes, disk=Syncless()
    )


class TamperedLog(RuleBasedStateMachine):
    """Lives, and after each step of its life is tampered with in a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.state_dir = Path(tempfile.mkdtemp(dir=MEMORY))
        self.token = TOKENS[0]
        self.log = keyed_log(self.state_dir, self.token)
        self.count = 0
        self.alone = True
        """Nobody else has ever written to the log."""

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.state_dir)

    # The life of a log.

    @initialize(inbox=st.integers(0, 3), outbox=st.integers(0, 3))
    def the_original_was_here_before(self, inbox: int, outbox: int) -> None:
        write_original(
            self.state_dir,
            [original_line("in", self.token, id=f"was-{i}") for i in range(inbox)],
            [original_line("out", self.token, id=f"was-{i}") for i in range(outbox)],
        )
        self.alone = inbox == outbox == 0

    @rule(direction=side, count=st.integers(1, 4), thread=st.sampled_from(["t-1", "t-2"]))
    def append(self, direction: Direction, count: int, thread: str) -> None:
        make = received if direction == "in" else sent
        batch = []
        for _ in range(count):
            self.count += 1
            batch.append(make(f"text {self.count}", id=f"m-{self.count}", thread_id=thread))
        assert {answer.status for answer in self.log.record(batch)} == {"recorded"}

    @rule(token=st.sampled_from(TOKENS))
    def reopen(self, token: str) -> None:
        """Also with another key, which signs from then on."""
        self.log.close()
        self.token = token
        self.log = keyed_log(self.state_dir, token)

    @rule(direction=side)
    def rotate(self, direction: Direction) -> None:
        self.log.close()
        self.log = keyed_log(self.state_dir, self.token, rotate_bytes=1)
        self.append(direction, 1, "t-1")
        self.log.close()
        self.log = keyed_log(self.state_dir, self.token)

    @rule(direction=side, size=st.integers(1, 100))
    def die_in_the_middle_of_a_line(self, direction: Direction, size: int) -> None:
        self.log.close()
        with open(layout(self.state_dir, direction).log(), "ab") as file:
            file.write(original_line(direction, self.token)[:size])
        self.log = keyed_log(self.state_dir, self.token)
        self.append(direction, 1, "t-1")

    @invariant()
    def without_tampering_it_is_whole(self) -> None:
        verdict = verify(self.state_dir, self.keyring(self.state_dir))
        assert (verdict.ok, verdict.integrity) == (True, "ok")
        assert verdict.completeness == ("complete" if self.alone else "unknown")

    # One thing done to a line.

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, at=place, bit=st.integers(0, 7))
    def flip(self, direction: Direction, file: int, at: int, bit: int) -> None:
        def change(old: bytes) -> bytes:
            where = at % len(old)
            return old[:where] + bytes([old[where] ^ 1 << bit]) + old[where + 1 :]

        self.tamper_with_lines(direction, file, change)

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, at=place)
    def delete(self, direction: Direction, file: int, at: int) -> None:
        def change(old: bytes) -> bytes:
            lines = lines_of(old)
            del lines[at % len(lines)]
            return b"".join(lines)

        self.tamper_with_lines(direction, file, change)

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, one=place, other=place)
    def swap(self, direction: Direction, file: int, one: int, other: int) -> None:
        def change(old: bytes) -> bytes:
            lines = lines_of(old)
            i, j = one % len(lines), other % len(lines)
            lines[i], lines[j] = lines[j], lines[i]
            return b"".join(lines)

        self.tamper_with_lines(direction, file, change)

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, one=place, at=place, over=st.booleans())
    def copy(self, direction: Direction, file: int, one: int, at: int, over: bool) -> None:
        """A replay: a line of this very file a second time, between others or over one."""
        self.put(direction, file, at, over, lambda lines: lines[one % len(lines)])

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, at=place, over=st.booleans(), other=place)
    def splice(self, direction: Direction, file: int, at: int, over: bool, other: int) -> None:
        """A genuine line of another file of this log, of another log, or one signed by nobody."""
        opposite: Direction = "out" if direction == "in" else "in"
        forged = {"id": "f", "from": "evil", "threadId": "t-1", "text": "forged"}
        there = [
            *foreign_lines(self.token),
            sign(forged, derive_key("not a token of ours"))[0] + b"\n",
            json.dumps(forged).encode() + b"\n",
            b"\n",
            *(line for path in self.logs(opposite) for line in lines_of(path.read_bytes())),
        ]
        self.put(direction, file, at, over, lambda _: there[other % len(there)])

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, size=place)
    def truncate(self, direction: Direction, file: int, size: int) -> None:
        self.tamper_with_lines(direction, file, lambda old: old[: size % len(old)])

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, count=place)
    def behead(self, direction: Direction, file: int, count: int) -> None:
        self.tamper_with_lines(
            direction, file, lambda old: b"".join(lines_of(old)[1 + count % len(lines_of(old)) :])
        )

    # One thing done to the sidecar.

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, at=place, bit=st.integers(0, 7))
    def flip_in_the_chain(self, direction: Direction, file: int, at: int, bit: int) -> None:
        def change(old: bytes) -> bytes:
            where = at % len(old)
            return old[:where] + bytes([old[where] ^ 1 << bit]) + old[where + 1 :]

        self.tamper_with_chain(direction, file, change)

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, one=place, other=place,
          how=st.sampled_from(EDITS))  # fmt: skip
    def edit_the_chain(
        self, direction: Direction, file: int, one: int, other: int, how: str
    ) -> None:
        def change(old: bytes) -> bytes:
            lines = lines_of(old)
            i, j = one % len(lines), other % len(lines)
            rearrange(lines, how, i, j)
            if how == "other key":
                key = json.loads(lines[i])["key"].encode()
                lines[i] = lines[i].replace(key, b"0" * len(key))
            elif how == "splice":  # the entry of the same number, genuine in its own chain
                n = json.loads(lines[i])["n"]
                lines[i] = foreign_lines(self.token, "inbox.chain.active", count=n)[n - 1]
            return b"".join(lines)[: other % len(old) if how == "cut" else None]

        self.tamper_with_chain(direction, file, change)

    @precondition(lambda self: self.chained())
    @rule(direction=side, at=st.integers(0, 2 * HEAD_SLOT_BYTES - 1), bit=st.integers(0, 7))
    def flip_in_the_head(self, direction: Direction, at: int, bit: int) -> None:
        if not self.is_chained(direction):
            return
        path = Path(layout(self.state_dir, direction).head)
        old = path.read_bytes()
        changed = old[:at] + bytes([old[at] ^ 1 << bit]) + old[at + 1 :]
        first = self.verdict_after(direction, path, changed).first_bad
        assert first is not None
        assert first.kind == "head-altered"

    @precondition(lambda self: self.chained())
    @rule(direction=side, file=place, which=st.sampled_from(["log", "chain", "head"]))
    def lose_a_file(self, direction: Direction, file: int, which: str) -> None:
        if not self.is_chained(direction):
            return
        paths = {
            "log": self.logs(direction),
            "chain": self.chains(direction),
            "head": [Path(layout(self.state_dir, direction).head)],
        }
        there = [path for path in paths[which] if path.stat().st_size]
        verdict = self.verdict_after(direction, there[file % len(there)], None)
        assert verdict.first_bad is not None
        assert verdict.completeness == "short"

    # What is demanded of a verdict.

    def put(
        self,
        direction: Direction,
        file: int,
        at: int,
        over: bool,
        what: Callable[[list[bytes]], bytes],
    ) -> None:
        def change(old: bytes) -> bytes:
            lines = lines_of(old)
            i = at % (len(lines) + (not over))
            lines[i : i + over] = [what(lines)]
            return b"".join(lines)

        self.tamper_with_lines(direction, file, change)

    def tamper_with_lines(
        self, direction: Direction, file: int, change: Callable[[bytes], bytes]
    ) -> None:
        """The first bad record is the line in which the bytes begin to differ."""
        paths = [path for path in self.logs(direction) if path.stat().st_size]
        if not self.is_chained(direction) or not paths:
            return
        path = paths[file % len(paths)]
        old = path.read_bytes()
        new = change(old)
        if new == old:
            return
        verdict = self.verdict_after(direction, path, new)
        begins = first_changed_line(old, new)
        first = verdict.first_bad
        assert first is not None
        assert first.segment == self.segment(direction, path)
        assert self.names(first, begins, direction), (first, begins)

    def tamper_with_chain(
        self, direction: Direction, file: int, change: Callable[[bytes], bytes]
    ) -> None:
        """The first bad record is the entry in which the bytes begin to differ, or what is left
        of the log without it."""
        if not self.is_chained(direction):
            return
        paths = self.chains(direction)
        path = paths[file % len(paths)]
        old = path.read_bytes()
        new = change(old)
        if new == old:
            return
        first = self.verdict_after(direction, path, new).first_bad
        begins = first_changed_line(old, new)
        assert first is not None
        numbers = [json.loads(line)["n"] for line in lines_of(old)]
        wanted = [*numbers, numbers[-1] + 1][old.count(b"\n", 0, begins)]
        genuine = wanted == 1  # the first entry of another log is as good; the second is not
        assert first.n in (wanted - 1, wanted, wanted + genuine), (first, wanted)

    def verdict_after(self, direction: Direction, path: Path, new: bytes | None) -> StreamVerdict:
        """Of the direction whose file is changed in a copy; the other one stays whole."""
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            shutil.copytree(self.state_dir, folder, dirs_exist_ok=True)
            changed = Path(folder) / "threadline" / path.name
            if new is None:
                changed.unlink()
            else:
                changed.write_bytes(new)
            verdict = verify(folder, self.keyring(Path(folder)))
        assert not verdict.ok
        tampered = verdict.streams[SIDES.index(direction)]
        untouched = verdict.streams[1 - SIDES.index(direction)]
        assert (untouched.integrity, untouched.finding_count) == ("ok", 0)
        return tampered

    def names(self, first: Finding, begins: int, direction: Direction) -> bool:
        """A stretch that another program wrote has one entry; a place in it may stand for it."""
        if first.offset == begins:
            return True
        entries = lines_of(self.chains(direction)[0].read_bytes())
        stretches = [e for e in map(json.loads, entries) if e["kind"] == "adopted"]
        return any(
            first.segment == 1 and e.get("offset", 0) == first.offset <= begins
            and begins <= first.offset + e["length"]
            for e in stretches
        )  # fmt: skip

    def keyring(self, state_dir: Path) -> Keyring:
        return open_keyring(str(state_dir / "threadline"), self.token)

    def chained(self) -> bool:
        return any(self.is_chained(direction) for direction in SIDES)

    def is_chained(self, direction: Direction) -> bool:
        return bool(self.chains(direction))

    def logs(self, direction: Direction) -> list[Path]:
        return self.paths(layout(self.state_dir, direction), "log")

    def chains(self, direction: Direction) -> list[Path]:
        return self.paths(layout(self.state_dir, direction), "chain")

    def paths(self, files: Layout, which: str) -> list[Path]:
        name = files.log if which == "log" else files.chain
        found = [Path(name(segment)) for segment in (*files.rotated(), None)]
        return [path for path in found if path.exists()]

    def segment(self, direction: Direction, path: Path) -> int:
        suffix = path.name.rpartition(".")[2]
        rotated = layout(self.state_dir, direction).rotated()
        return int(suffix) if suffix.isdigit() else max(rotated, default=0) + 1


TestTamperedLog = TamperedLog.TestCase
TestTamperedLog.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
