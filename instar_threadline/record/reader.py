"""Reading the log from a place onward, each line checked against the chain as it is read.

Promises bounded steps: one `read` takes at most `max_bytes` of one file and says where it stands
then, so that what was made of the lines and the new place can be saved together. A file that was
cut or rewritten behind the place is reported, never silently re-read. Files are opened under the
direction's lock (shared), so no half-done rotation is ever seen; nothing is held while lines are
looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import accumulate

import msgspec

from instar_host.store.tail import Lines, Mark, Tail, open_tail, unchanged
from instar_threadline.record.chain import GENESIS, Head, read_head
from instar_threadline.record.chaintail import segment_of
from instar_threadline.record.check import ChainCheck
from instar_threadline.record.checked import CheckedLine, Stretch
from instar_threadline.record.disk import locked
from instar_threadline.record.entries import Entries
from instar_threadline.record.findings import Finding
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import Layout
from instar_threadline.record.signing import digest

BLOCK_BYTES = 1 << 20
HEAD_BYTES = 4096
"""More than the first two entries of a chain, and than a head file."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far one direction has been read: in the log, and in its chain."""

    segment: int = 0
    """0: nothing has been read yet."""
    tail: Mark | None = None
    n: int = 0
    mac: str = GENESIS
    chain_offset: int = 0

    @property
    def offset(self) -> int:
        """Bytes of the segment's log that have been read."""
        return self.tail.offset if self.tail is not None else 0


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """How far somebody has seen a chain: number and MAC of its last entry then."""

    n: int = 0
    mac: str = ""
    """Empty: only the number is known."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one step read."""

    segment: int
    parts: tuple[Stretch | list[CheckedLine], ...] = ()
    """The lines, in their order."""
    findings: tuple[Finding, ...] = ()
    count: int = 0
    """How many findings there were; `findings` is bounded."""
    missing: int = 0
    """Lines that are gone by findings beyond that bound."""
    unknown_keys: int = 0
    place: Place
    at_end: bool
    """Nothing is left to read for now."""
    rewritten: bool = False
    """The file behind the place is not what it was: start again with no place."""
    short: Finding | None = None
    """At the end: what was announced, and counted, and is not there. True for now; ask again."""
    head: Head | None = None
    chained: bool = False
    """Some part of this direction has a chain."""

    @property
    def lines(self) -> Iterator[CheckedLine]:
        """All lines, one by one."""
        for part in self.parts:
            yield from part.one_by_one() if isinstance(part, Stretch) else part


class StreamReader:
    """Reads one direction. One thread at a time."""

    def __init__(
        self,
        files: Layout,
        keyring: Keyring,
        place: Place | None = None,
        *,
        witness: Witness = Witness(),  # noqa: B008 - frozen
    ) -> None:
        """`witness`: what somebody has seen of the chain, to be compared on the way."""
        self.files = files
        self._witness = witness
        self._watched_mac = ""
        self._keyring = keyring
        self.place = place or Place()
        self._check: ChainCheck | None = None

    @property
    def chain_n(self) -> int:
        """The highest number of a chain entry that was read, also of one that waits for a line."""
        return self._check.read_n if self._check is not None else self.place.n

    @property
    def chain_mac(self) -> str:
        """The MAC of the last chain entry that was read."""
        return self._check.read_mac if self._check is not None else self.place.mac

    @property
    def contradicts(self) -> bool:
        """The entry that the witness has seen was read, and is another one."""
        seen, found = self._witness.mac, self._watched_mac
        return bool(seen) and bool(found) and found != seen

    def idle(self) -> bool:
        """True when two looks at the files prove that there is nothing new."""
        try:
            log = os.stat(self.files.log(), follow_symlinks=False)
        except FileNotFoundError:
            return False
        if self.place.tail is None or not unchanged(self.place.tail, log):
            return False
        try:
            return os.stat(self.files.chain()).st_size == self.place.chain_offset
        except FileNotFoundError:
            return self.place.chain_offset == 0

    def read(self, max_bytes: int = BLOCK_BYTES) -> Batch:
        """The next step. Raises OSError, StoreError (a link, say) or LogBusy; nothing moved
        then."""
        if not os.path.isdir(self.files.folder):
            return Batch(segment=0, place=self.place, at_end=True)
        with locked(self.files.lock, shared=True):
            opened = self._open()
        try:
            return self._step(opened, max_bytes)
        except BaseException:
            self._check = None
            raise
        finally:
            opened.close()

    def _open(self) -> _Opened:
        """The files to read next, as they stand now. The lock is held."""
        rotated = self.files.rotated()
        active = rotated[-1] + 1 if rotated else 1
        wanted = self.place.segment or (rotated[0] if rotated else active)
        segment = next((n for n in rotated if n >= wanted), active)
        number = None if segment == active else segment
        place = self.place
        if place.segment != segment:
            place = Place(segment=segment, n=place.n, mac=place.mac)
        chain, chain_size = self._open_chain(number, segment)
        opened = _Opened(
            place=place,
            last=segment == active,
            chain=chain,
            chain_size=chain_size,
            head=self._head(),
        )
        opened.chained = (
            (opened.head is not None and opened.head.n > 1)
            or (chain is not None and os.pread(chain, HEAD_BYTES, 0).count(b"\n") > 1)
            or any(os.path.lexists(self.files.chain(n)) for n in rotated)
        )
        try:
            opened.tail = open_tail(self.files.log(number), place.tail, block_bytes=BLOCK_BYTES)
        except FileNotFoundError:
            pass
        except BaseException:
            opened.close()
            raise
        return opened

    def _open_chain(self, number: int | None, segment: int) -> tuple[int | None, int]:
        """The chain of a file. A writer that died between its two renames left it under the old
        name; then the next file has none yet."""
        chain, size = _open_chain(self.files.chain(number))
        if chain is None and number is not None:
            chain, size = _open_chain(self.files.chain())
            if chain is not None and segment_of(chain) == segment:
                return chain, size
        elif chain is None or number is not None or segment_of(chain) in (0, segment):
            return chain, size
        if chain is not None:
            os.close(chain)
        return None, 0

    def _head(self) -> Head | None:
        try:
            with open(self.files.head, "rb") as file:
                return read_head(file.read(HEAD_BYTES), self.files.direction, self._keyring)
        except FileNotFoundError:
            return None

    def _step(self, opened: _Opened, max_bytes: int) -> Batch:
        check = self._enter(opened)
        place, tail, segment = opened.place, opened.tail, opened.place.segment
        gone = tail is None and place.offset > 0
        if gone or (tail is not None and tail.verdict in ("truncated", "rewritten")):
            self._check = None
            return Batch(segment=segment, place=place, at_end=False, rewritten=True)
        before, counted, unknown = len(check.found.first), check.found.count, check.unknown_keys
        missing = check.found.missing
        entries = opened.entries(check.read_to)
        parts, mark, at_end = _check_lines(tail, check, entries, max_bytes)
        short = None
        if at_end and opened.last:
            short = check.rest(entries, opened.counted)
        elif at_end:
            check.close(entries)
        self._watched_mac = check.watched_mac or self._watched_mac
        n, mac, chain_offset = check.reached
        self.place = Place(segment=segment, tail=mark, n=n, mac=mac, chain_offset=chain_offset)
        findings = tuple(check.found.first[before:])
        if at_end and not opened.last:
            self.place = Place(segment=segment + 1, n=n, mac=mac)
            self._check = None
        return Batch(
            segment=segment,
            parts=tuple(parts),
            findings=findings,
            count=check.found.count - counted,
            missing=check.found.missing - missing,
            unknown_keys=check.unknown_keys - unknown,
            place=self.place,
            at_end=at_end and opened.last,
            short=short,
            head=opened.head,
            chained=opened.chained,
        )

    def _enter(self, opened: _Opened) -> ChainCheck:
        place = opened.place
        if self._check is None or self._check.segment != place.segment:
            self._check = ChainCheck(
                self.files.direction,
                place.segment,
                self._keyring,
                n=place.n,
                mac=place.mac,
                chain_offset=place.chain_offset,
                log_offset=place.offset,
                chained=opened.chained,
                watched_n=self._witness.n,
            )
        return self._check


class _Opened(msgspec.Struct, kw_only=True):
    """The open files of one step."""

    place: Place
    last: bool
    """The segment is the active one."""
    chain: int | None
    chain_size: int
    head: Head | None
    chained: bool = False
    tail: Tail | None = None

    @property
    def counted(self) -> int:
        """The last entry that the head vouches for."""
        return self.head.n if self.head is not None and self.head.known else 0

    def entries(self, offset: int) -> Entries:
        return Entries(self.chain, offset, self.chain_size)

    def close(self) -> None:
        if self.chain is not None:
            os.close(self.chain)
            self.chain = None
        if self.tail is not None:
            self.tail.close()


def _open_chain(path: str) -> tuple[int | None, int]:
    try:
        chain = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None, 0
    return chain, os.fstat(chain).st_size


def _check_lines(
    tail: Tail | None, check: ChainCheck, entries: Entries, max_bytes: int
) -> tuple[list[Stretch | list[CheckedLine]], Mark | None, bool]:
    """(the lines, the mark after them, whether the end was reached)."""
    if tail is None:
        return [], None, True
    parts: list[Stretch | list[CheckedLine]] = []
    for block in tail.blocks(max_bytes=max_bytes):
        if isinstance(block, Lines):
            parts.append(_check_block(block, check, entries))
        elif not block.continued:
            parts.append(check.lines([(block.offset, b"")], [digest(b"")], entries))
    mark = tail.mark()
    return parts, mark, mark.size >= tail.size


def _check_block(block: Lines, check: ChainCheck, entries: Entries) -> Stretch | list[CheckedLine]:
    """At once if nothing in it is out of the ordinary, else line by line."""
    lines = block.data.split(b"\n")[:-1]
    digests = [digest(line) for line in lines]
    stretch = check.stretch(block.offset, block.data, lines, digests, entries)
    if stretch is not None:
        return stretch
    offsets = accumulate((len(line) + 1 for line in lines), initial=block.offset)
    return check.lines(list(zip(offsets, lines, strict=False)), digests, entries)
