"""Lines against their chain: what is there, what is missing, what does not belong. Pure.

Promises that after any single change to a log that its chain covers - a line altered, deleted,
inserted, swapped, doubled, spliced in or cut off, an entry changed or dropped - there is a
finding that names the first bad place. Entries are matched by the exact bytes they announce, so
one shifted line does not make the rest look bad. Opens nothing; knows no thread names and no
message.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from itertools import chain, islice

import msgspec

from instar_threadline.messages import Direction
from instar_threadline.record.awaited import Awaited, Pulled
from instar_threadline.record.chain import (
    GENESIS,
    HEAD_GONE,
    HEAD_SPOILED,
    Entry,
    ReadEntry,
    expected_mac,
    sealed,
)
from instar_threadline.record.chaintail import log_end_after
from instar_threadline.record.checked import CheckedLine, Stretch
from instar_threadline.record.entries import Entries
from instar_threadline.record.findings import Finding, FindingKind, Findings
from instar_threadline.record.keyring import Keyring

LOOK_AHEAD = 2000
"""Entries read ahead of the lines: more than one append can announce, so that what became of an
append is known before its lines are judged; and how far a line may be from its place and still be
found."""


class ChainCheck:
    """Goes through one segment's lines and entries side by side."""

    def __init__(
        self,
        direction: Direction,
        segment: int,
        keyring: Keyring,
        *,
        n: int = 0,
        mac: str = GENESIS,
        chain_offset: int = 0,
        log_offset: int = 0,
        chained: bool,
        watched_n: int = 0,
    ) -> None:
        """`n`, `mac`: the entry before `chain_offset`. `chained`: whether a chain is expected.
        `watched_n`: the entry whose MAC `watched_mac` is to be."""
        self._line_end = log_offset
        self.found = Findings(direction, segment)
        self.unknown_keys = 0
        self._direction: Direction = direction
        self.segment = segment
        self._keyring = keyring
        self._n, self._mac, self._read_to = n, mac, chain_offset
        self._awaited = Awaited()
        self._otherwise = ""  # the MAC before, if what is bad there is not the one that counts
        self._entries = Entries(None, chain_offset, chain_offset)
        self._verified: deque[Pulled] = deque()  # ordinary, and not taken yet
        self._chained = chained
        self._hasher: hashlib.blake2b | None = None
        self._hash_of: int | None = None
        self._key_known = True
        self._highest = n
        self._reach = log_offset  # as far as genuine entries go; others may claim any offset
        self._watched_n = watched_n
        self.watched_mac = ""
        """Empty until that entry was read."""

    @property
    def reached(self) -> tuple[int, str, int]:
        """(n, mac, offset in the chain file) before the first entry that still waits for a line."""
        first = self._awaited.first()
        if first is not None:
            return first.before_n, first.before_mac, first.at
        return self._n, self._mac, self._read_to

    @property
    def read_n(self) -> int:
        """The highest number of an entry that was taken from the chain file."""
        return self._highest

    @property
    def read_mac(self) -> str:
        """The MAC of the last entry that was taken from the chain file."""
        return self._mac

    @property
    def read_to(self) -> int:
        """Offset in the chain file after the last entry that was read from it."""
        return self._verified[-1].end if self._verified else self._read_to

    def stretch(
        self, offset: int, data: bytes, lines: list[bytes], wanted: list[str], entries: Entries
    ) -> Stretch | None:
        """The next lines, whose digests are `wanted`, if all of them are where they should be.

        None: something is out of the ordinary, or may be; nothing has moved then. All state is
        what it would be after `lines`.
        """
        self._entries = entries
        count = len(wanted)
        ahead = LOOK_AHEAD - 1 + count - len(self._awaited)  # what `lines` would have taken by then
        if not count or not self._verify(ahead):
            return None
        waiting = [p.entry for p in islice(chain(self._awaited, self._verified), count)]
        if [entry.digest for entry in waiting] != wanted:
            return None
        if {p.genuine for p in islice(self._awaited, count)} - {True}:
            return None
        if {(entry.kind, entry.key) for entry in waiting} != {("line", waiting[0].key)}:
            return None
        self._take_verified(ahead)
        self._awaited.drop(count)
        self._line_end = offset + len(data)
        numbers = [entry.n for entry in waiting]
        return Stretch(offset=offset, data=data, lines=lines, key=waiting[0].key, numbers=numbers)

    def lines(
        self, found: Sequence[tuple[int, bytes]], wanted: Sequence[str], entries: Entries
    ) -> list[CheckedLine]:
        """Check the next lines (offset, bytes without newline), with their digests, against the
        next entries."""
        self._entries = entries
        last_at = {one: i for i, one in enumerate(wanted)}
        return [
            self._check(offset, data, wanted[i], i, last_at)
            for i, (offset, data) in enumerate(found)
        ]

    def rest(self, entries: Entries, counted: int) -> Finding | None:
        """At the end of the file: what was announced, counted by the head, and is not there."""
        self._entries = entries
        while self._pull():
            pass
        self._drop_done()
        gone = [p.entry for p in self._awaited.announced() if p.entry.n <= counted]
        return self._gone("short", gone) if gone else None

    def close(self, entries: Entries) -> None:
        """At the end of a file that is followed by another: whatever still waits is missing."""
        self._entries = entries
        while self._pull():
            pass
        self._drop_done()
        gone = [p.entry for p in self._awaited.announced()]
        if gone:
            self.found.keep(self._gone("missing", gone))
        self._awaited.clear()

    def _check(
        self, offset: int, data: bytes, wanted: str, i: int, last_at: dict[str, int]
    ) -> CheckedLine:
        try:
            return self._judge(offset, data, wanted, i, last_at)
        finally:
            self._line_end = offset + len(data) + 1

    def _judge(
        self, offset: int, data: bytes, wanted: str, i: int, last_at: dict[str, int]
    ) -> CheckedLine:
        while True:
            front = self._front()
            if front is None:
                return self._without_entry(offset, data)
            entry = front.entry
            if entry.kind == "line":
                if entry.digest == wanted:
                    self._awaited.take()
                    return self._matched(front, offset, data)
                if wanted in self._awaited:
                    return self._found_later(wanted, offset, data)
                if last_at.get(entry.digest, -1) > i:
                    return self._outside(entry.n, offset, data)
                return self._altered(offset, data)
            inside = entry.kind == "adopted" and offset < log_end_after(entry)
            if inside and not self._is_next_line(wanted):
                self._hash(entry, offset, data)
                return CheckedLine(offset=offset, data=data, status="unchained")
            self._leave(front)

    def _front(self) -> Pulled | None:
        """The entry that the next line should be of; entries are read ahead, because a later one
        may say that this one was given up."""
        while len(self._awaited) < LOOK_AHEAD and self._pull():
            pass
        return self._awaited.first()

    def _pull(self) -> bool:
        """Take the next entry of the file into the queue; false at the end."""
        if self._verified:
            self._take_verified(1)
            return True
        read = next(self._entries, None)
        if read is None:
            return False
        at, self._read_to = self._read_to, read.end
        entry = read.entry
        if entry is None:
            self.found.add("entry-altered", n=self._highest + 1, offset=self._reach)
            self._otherwise = read.chain
            return True
        genuine = self._sealed(read)
        before_n, before_mac, reach = self._n, self._mac, self._reach
        if genuine is not True and entry.n <= self._highest:  # a copy: it announces nothing
            self.found.add("entry-altered", n=self._highest + 1, offset=self._reach)
            return True
        if genuine is None:
            self.unknown_keys += 1
            if self._key_known:  # one finding where a stretch of them begins
                self.found.add("unknown-key", n=entry.n, offset=self._reach, lines=0)
        self._key_known = genuine is not None
        if entry.n != self._n + 1:
            lines = max(1, entry.n - self._highest - 1)
            self.found.add("entries-missing", n=self._highest + 1, offset=self._reach, lines=lines)
        elif genuine is False:
            self.found.add("entry-altered", n=entry.n, offset=self._reach)
        if genuine is not False:
            self._give_up(entry)
            self._reach = log_end_after(entry)
        self._n, self._mac = entry.n, read.chain
        self._watch(entry.n, "" if genuine is False else read.chain)
        self._chained = self._chained or entry.n > 1  # the first one only opens the file
        self._highest = max(self._highest, entry.n)
        if entry.kind == "resumed":
            self._find_note(entry, entry.offset if genuine is not False else self._reach)
        if entry.kind == "adopted" and before_n != 1:  # the very first one is what was there before
            self.found.add("inserted", n=entry.n, offset=entry.offset, lines=entry.lines)
        self._awaited.add(
            Pulled(
                entry=entry,
                genuine=genuine,
                at=at,
                end=read.end,
                before_n=before_n,
                before_mac=before_mac,
                mac=read.chain,
                reach=reach,
            )
        )
        return True

    def _watch(self, n: int, mac: str) -> None:
        if n == self._watched_n:
            self.watched_mac = mac

    def _verify(self, ahead: int) -> bool:
        """Whether the next `ahead` entries, or all that there are, are ordinary ones."""
        while len(self._verified) < ahead:
            n, mac, reach = self._n, self._mac, self._reach
            if self._verified:
                last = self._verified[-1]
                n, mac, reach = last.entry.n, last.mac, log_end_after(last.entry)
            more = self._entries.ordinary(n, mac, reach, self._direction, self._keyring)
            if not more:
                return self._entries.at_end
            self._verified.extend(more)
        return True

    def _take_verified(self, most: int) -> None:
        """What `_pull` does, for the next ordinary entries."""
        taken = [self._verified.popleft() for _ in range(min(most, len(self._verified)))]
        if not taken:
            return
        self._awaited.extend(taken)
        first, last = taken[0], taken[-1]
        if first.entry.n <= self._watched_n <= last.entry.n:
            self.watched_mac = taken[self._watched_n - first.entry.n].mac
        self._n, self._mac, self._read_to = last.entry.n, last.mac, last.end
        self._reach = log_end_after(last.entry)
        self._highest = max(self._highest, last.entry.n)
        self._chained = self._chained or last.entry.n > 1
        self._key_known, self._otherwise = True, ""

    def _sealed(self, read: ReadEntry) -> bool | None:
        """Whether it is genuine; one bad entry does not make the one after it look bad."""
        genuine = sealed(read, self._direction, self._mac, self._keyring)
        if genuine is False and self._otherwise:
            genuine = sealed(read, self._direction, self._otherwise, self._keyring)
            if genuine:
                self._mac = self._otherwise
        bad = genuine is False
        after = expected_mac(read, self._direction, self._mac, self._keyring) if bad else ""
        self._otherwise = after
        return genuine

    def _give_up(self, entry: Entry) -> None:
        """Entries that announce bytes at or after a genuine one wait for nothing any more; what
        was lost stays lost. Where no genuine entry says why, they are missing."""
        behind = entry.kind != "start" and entry.offset < self._reach
        given_up = self._awaited.give_up(entry.offset) if behind else []
        if entry.lost:
            threads = tuple(e.thread for e in given_up if e.thread)
            self.found.add(
                "lost", n=entry.n, offset=entry.offset, lines=entry.lost, threads=threads
            )
        elif given_up and not entry.unwritten:
            self._find_given_up(entry.n, self._reach, given_up)

    def _find_given_up(self, n: int, reach: int, given_up: Sequence[Entry]) -> None:
        """The bad entry before entry `n` is named first: this stands where that one does."""
        gone = self._gone("missing", given_up)
        self.found.keep(msgspec.structs.replace(gone, n=n, offset=reach))

    def _find_note(self, entry: Entry, offset: int) -> None:
        if entry.note in (HEAD_GONE, HEAD_SPOILED):
            kind: FindingKind = "head-missing" if entry.note == HEAD_GONE else "head-altered"
            self.found.add(kind, n=entry.n, offset=offset, lines=0)

    def _found_later(self, wanted: str, offset: int, data: bytes) -> CheckedLine:
        """The line belongs to a later entry: those before it are missing."""
        gone = []
        while (pulled := self._awaited.take()).entry.digest != wanted:
            if pulled.entry.digest:
                gone.append(pulled.entry)
        if gone and log_end_after(gone[-1]) > pulled.entry.offset:  # then it is not genuine
            self._find_given_up(pulled.entry.n, pulled.reach, gone)
        else:
            self.found.keep(self._gone("missing", gone))
        return self._matched(pulled, offset, data)

    def _altered(self, offset: int, data: bytes) -> CheckedLine:
        entry = self._awaited.take().entry
        self.found.add("altered", n=entry.n, offset=offset, threads=(entry.thread,))
        return CheckedLine(offset=offset, data=data, status="altered", n=entry.n)

    def _matched(self, pulled: Pulled, offset: int, data: bytes) -> CheckedLine:
        key = None if pulled.genuine is False else pulled.entry.key
        return CheckedLine(offset=offset, data=data, status="chained", n=pulled.entry.n, key=key)

    def _without_entry(self, offset: int, data: bytes) -> CheckedLine:
        if self._chained:
            return self._outside(self._n, offset, data)
        return CheckedLine(offset=offset, data=data, status="unchained")

    def _outside(self, n: int, offset: int, data: bytes) -> CheckedLine:
        self.found.add("inserted", n=n, offset=offset)
        return CheckedLine(offset=offset, data=data, status="outside")

    def _is_next_line(self, wanted: str) -> bool:
        """Whether the line after an adopted stretch is already here: the stretch was shortened."""
        follower = self._awaited.first(after=1)
        return follower is not None and follower.entry.digest == wanted

    def _hash(self, entry: Entry, offset: int, data: bytes) -> None:
        if self._hash_of != entry.n:
            fresh = offset == entry.offset
            self._hasher = hashlib.blake2b(digest_size=16) if fresh else None
            self._hash_of = entry.n
        if self._hasher is not None:
            self._hasher.update(data + b"\n")

    def _leave(self, front: Pulled) -> None:
        """An entry is behind us that announces no single line."""
        entry = front.entry
        self._awaited.take()
        if entry.kind != "adopted":
            return
        seen_before = log_end_after(entry) <= self._line_end  # and called inserted then
        if self._hash_of != entry.n and entry.length and not seen_before:
            self.found.keep(self._gone("missing", [entry]))
        elif self._hasher is not None and self._hasher.hexdigest() != entry.digest:
            self.found.add("altered", n=entry.n, offset=entry.offset, lines=entry.lines)
        self._hasher = None

    def _drop_done(self) -> None:
        """At the end of the lines: entries that wait for nothing, and a stretch that is whole."""
        while (front := self._awaited.first()) is not None:
            whole = self._hash_of == front.entry.n and front.entry.kind == "adopted"
            if front.announces and not whole:
                return
            self._leave(front)

    def _gone(self, kind: FindingKind, entries: Sequence[Entry]) -> Finding:
        return Finding(
            kind=kind,
            direction=self._direction,
            segment=self.segment,
            n=entries[0].n if entries else self._n,
            offset=entries[0].offset if entries else 0,
            lines=sum(max(e.lines, 1) for e in entries),
            threads=tuple(e.thread for e in entries if e.thread),
        )
