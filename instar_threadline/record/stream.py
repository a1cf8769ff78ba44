"""The append of one direction: lines, chain, head, and what to do about what was found amiss.

Promises, for `append`: when it returns, every line is on disk and announced in the chain; when it
raises, each line is either whole or not there, and the next append says which. The order is:
entries, sync, lines, sync, head. So after a crash at any point the chain may announce lines that
are not there, never the other way round; the head, which is not synced, lags and never leads.

Before an append it looks at what stands in the files, under the lock, and mends: an unfinished
line is moved aside, lines of another writer are taken into the chain as `adopted`, missing ones
are recorded as lost. Nothing is repaired silently and a line in the middle is never touched. A
whole line that only lacks its newline gets it.

Not for two threads at once; `MessageLog` sees to that. Processes are kept apart by the lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence

import msgspec

from instar_host.store.files import ensure_private_dir, sync_directory, write_atomic
from instar_threadline.messages import Position
from instar_threadline.record.chain import (
    GENESIS,
    HEAD_GONE,
    HEAD_SLOT_BYTES,
    HEAD_SPOILED,
    Entry,
    Head,
    head_slot,
    read_head,
    seal,
)
from instar_threadline.record.chaintail import (
    ChainEnd,
    chain_end,
    entries_from,
    log_end_after,
    standing_entries,
)
from instar_threadline.record.disk import Disk, open_private
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import Layout
from instar_threadline.record.signing import digest, thread_tag, verifies

READ_BYTES = 1 << 20
MAX_TORN_BYTES = 16 << 20


class SignedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line to append: without its newline, signed with the keyring's current key."""

    data: bytes
    mac: str
    thread_id: str


class _Open(msgspec.Struct, kw_only=True):
    """The active files of a direction, and how far they have come."""

    log: int
    chain: int
    segment: int
    n: int
    mac: str
    end: int
    """Where the chain says that the log ends, in bytes."""
    chain_size: int
    head_slot: int = 0
    """Where the newest head stands; the next one goes into the other."""


class StreamLog:
    """Appends to one direction. Every method needs the direction's lock to be held."""

    def __init__(
        self, files: Layout, keyring: Keyring, *, rotate_bytes: int, disk: Disk, log_name: str
    ) -> None:
        self.files = files
        self._keyring = keyring
        self._rotate_bytes = rotate_bytes
        self._disk = disk
        self._log_name = log_name
        self._open: _Open | None = None

    def prepare(self) -> tuple[int, int]:
        """Bring files and chain together; returns (segment, bytes of the active log).

        Raises OSError or UnsafeFile.
        """
        state = self._current()
        if state.end >= self._rotate_bytes:
            state = self._rotate(state)
        return state.segment, state.end

    def append(self, lines: Sequence[SignedLine]) -> list[Position]:
        """Append after `prepare`. Raises OSError; the files are looked at anew the next time."""
        state = self._current()
        try:
            return self._append(state, lines)
        except BaseException:
            self._cut_back(state)
            self.close()
            raise

    def close(self) -> None:
        """Forget what is known of the files and close them; a second call does nothing."""
        if self._open is not None:
            os.close(self._open.log)
            os.close(self._open.chain)
            self._open = None

    def _append(self, state: _Open, lines: Sequence[SignedLine]) -> list[Position]:
        positions: list[Position] = []
        entries: list[Entry] = []
        at, key = state.end, self._keyring.current
        for line in lines:
            length = len(line.data)
            entries.append(
                Entry(
                    n=state.n + len(entries) + 1,
                    kind="line",
                    key=key.id,
                    offset=at,
                    length=length,
                    digest=digest(line.data),
                    mac=line.mac,
                    thread=thread_tag(key.chain, line.thread_id),
                )
            )
            positions.append(
                Position(
                    direction=self.files.direction,
                    segment=state.segment,
                    offset=at,
                    length=length,
                )
            )
            at += length + 1
        self._announce(state, entries)
        self._disk.write(state.log, b"".join(line.data + b"\n" for line in lines))
        self._disk.sync(state.log)
        state.end = at
        self._write_head(state)
        return positions

    def _announce(self, state: _Open, entries: Sequence[Entry]) -> None:
        """Write entries and sync them."""
        mac, sealed = state.mac, []
        for entry in entries:
            data, mac = seal(entry, self.files.direction, mac, self._keyring.current)
            sealed.append(data)
        joined = b"".join(sealed)
        self._disk.write(state.chain, joined)
        self._disk.sync(state.chain)
        state.n, state.mac = entries[-1].n, mac
        state.chain_size += len(joined)

    def _write_head(self, state: _Open) -> None:
        key = self._keyring.current
        head = Head(n=state.n, chain=state.mac, key=key.id, segment=state.segment)
        data = head_slot(head, self.files.direction, key)
        slot = 1 - state.head_slot
        descriptor = open_private(self.files.head, append=False)
        try:
            self._disk.write_at(descriptor, data, slot * HEAD_SLOT_BYTES)
        finally:
            os.close(descriptor)
        state.head_slot = slot

    def _head(self) -> Head | None:
        try:
            with open(self.files.head, "rb") as file:
                return read_head(file.read(4096), self.files.direction, self._keyring)
        except FileNotFoundError:
            return None

    def _cut_back(self, state: _Open) -> None:
        """After a failed write: drop what may stand half written, if the disk lets us."""
        with contextlib.suppress(OSError):
            found = os.fstat(state.log).st_size
            if found > state.end and b"\n" not in os.pread(state.log, found - state.end, state.end):
                os.ftruncate(state.log, state.end)

    def _current(self) -> _Open:
        state = self._open
        if state is not None and self._unchanged(state):
            return state
        self.close()
        ensure_private_dir(self.files.folder)
        self._finish_rotation()
        opened = self._open = self._open_files()
        try:
            self._reconcile(opened)
        except BaseException:
            self.close()
            raise
        return opened

    def _unchanged(self, state: _Open) -> bool:
        """True when the names still mean the open files and nobody wrote to them."""
        for name, descriptor, size in (
            (self.files.log(), state.log, state.end),
            (self.files.chain(), state.chain, state.chain_size),
        ):
            try:
                named = os.stat(name, follow_symlinks=False)
            except FileNotFoundError:
                return False
            mine = os.fstat(descriptor)
            if (named.st_dev, named.st_ino, named.st_size) != (mine.st_dev, mine.st_ino, size):
                return False
        return True

    def _open_files(self) -> _Open:
        before = self._last_rotated()
        log = open_private(self.files.log(), append=True)
        try:
            chain = open_private(self.files.chain(), append=True)
        except BaseException:
            os.close(log)
            raise
        end = chain_end(chain, before)
        if end.torn_at is not None:
            os.ftruncate(chain, end.torn_at)  # an announcement cut short: nothing followed it
        return _Open(
            log=log,
            chain=chain,
            segment=end.segment,
            n=end.n,
            mac=end.mac,
            end=end.log_end,
            chain_size=os.fstat(chain).st_size,
        )

    def _last_rotated(self) -> ChainEnd:
        """Where the chain of the newest rotated file ended; the genesis if there is none."""
        numbers = self.files.rotated()
        if not numbers:
            return ChainEnd(n=0, mac=GENESIS, segment=0, log_end=0)
        nothing = ChainEnd(n=0, mac=GENESIS, segment=numbers[-1], log_end=0)
        try:
            descriptor = os.open(self.files.chain(numbers[-1]), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return nothing
        try:
            return chain_end(descriptor, nothing)
        finally:
            os.close(descriptor)

    def _reconcile(self, state: _Open) -> None:
        head = self._head()
        if head is None and state.n == 0:
            self._begin_head(state)
            head = self._head()
        if head is not None:
            state.head_slot = head.slot
        counted = head.n if head is not None and head.known else 0
        if state.chain_size == 0:
            start = Entry(
                n=max(state.n, counted) + 1,
                kind="start",
                key=self._keyring.current.id,
                segment=state.segment + 1,
                note=self._log_name,
            )
            state.segment += 1
            self._announce(state, [start])
        elif counted > state.n:
            self._resume(state, n=counted + 1, at=state.end)
        if os.fstat(state.log).st_size < state.end:
            self._after_missing(state, counted)
        self._after_foreign(state)
        self._mend_head(state, head)
        self._disk.sync(state.log)  # a writer that was killed may not have come to it

    def _begin_head(self, state: _Open) -> None:
        """The one head that is synced: from here on a log without one has lost it."""
        self._write_head(state)
        descriptor = open_private(self.files.head, append=False)
        try:
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)

    def _mend_head(self, state: _Open, head: Head | None) -> None:
        """A head that is gone, or not as it was written, is written anew, and the chain says so."""
        if head is None:
            self._resume(state, at=state.end, note=HEAD_GONE)
        elif head.beside == "spoiled":  # altered, or torn by a power cut
            self._resume(state, at=state.end, note=HEAD_SPOILED)
        if head is None or not head.known or head.n < state.n:
            self._write_head(state)

    def _resume(
        self,
        state: _Open,
        *,
        at: int,
        n: int = 0,
        lost: int = 0,
        unwritten: int = 0,
        note: str = "",
    ) -> None:
        entry = Entry(
            n=n or state.n + 1,
            kind="resumed",
            key=self._keyring.current.id,
            offset=at,
            lost=lost,
            unwritten=unwritten,
            note=note,
        )
        self._announce(state, [entry])
        state.end = at

    def _after_missing(self, state: _Open, counted: int) -> None:
        """The log is shorter than the chain says: a crash, or a loss. Find out, and say it."""
        standing = standing_entries(entries_from(state.chain))
        size = self._finish_line(state, standing)
        gone = [e for e in standing if log_end_after(e) > size]
        kept = max((log_end_after(e) for e in standing if log_end_after(e) <= size), default=0)
        lost = sum(max(e.lines, 1) for e in gone if e.n <= counted)
        unwritten = sum(1 for e in gone if e.n > counted)
        if gone:
            self._resume(state, at=kept, lost=lost, unwritten=unwritten)

    def _finish_line(self, state: _Open, standing: Sequence[Entry]) -> int:
        """Give a line that is whole but for its newline that newline; returns the log's size."""
        size = os.fstat(state.log).st_size
        for entry in standing:
            if entry.kind == "line" and log_end_after(entry) == size + 1:
                if digest(os.pread(state.log, entry.length, entry.offset)) == entry.digest:
                    self._disk.write(state.log, b"\n")
                    size += 1
                break
        return size

    def _after_foreign(self, state: _Open) -> None:
        """Bytes past the chain's end: adopt whole lines, move an unfinished one aside."""
        size = os.fstat(state.log).st_size
        if size <= state.end:
            return
        whole = _last_newline(state.log, state.end, size)
        rest = os.pread(state.log, min(size - whole, MAX_TORN_BYTES), whole)
        if any(verifies(rest, key.line) for key in self._keyring.newest_first()):
            self._disk.write(state.log, b"\n")
            whole, rest = size + 1, b""
        if whole > state.end:
            self._adopt(state, whole)
        if rest:
            self._move_aside(state, whole, rest)

    def _move_aside(self, state: _Open, at: int, rest: bytes) -> None:
        ensure_private_dir(self.files.torn_folder)
        name = f"{self.files.stem}-{state.segment:06d}-{at}-{digest(rest)[:8]}.bin"
        write_atomic(os.path.join(self.files.torn_folder, name), rest)
        sync_directory(self.files.folder)
        entry = Entry(
            n=state.n + 1,
            kind="resumed",
            key=self._keyring.current.id,
            offset=state.end,
            torn=os.fstat(state.log).st_size - at,
            note=name,
        )
        os.ftruncate(state.log, at)
        self._disk.sync(state.log)
        self._announce(state, [entry])

    def _adopt(self, state: _Open, until: int) -> None:
        whole, lines = _hash_of_range(state.log, state.end, until)
        self._disk.sync(state.log)
        entry = Entry(
            n=state.n + 1,
            kind="adopted",
            key=self._keyring.current.id,
            offset=state.end,
            length=until - state.end,
            digest=whole,
            lines=lines,
        )
        self._announce(state, [entry])
        state.end = until

    def _rotate(self, state: _Open) -> _Open:
        entry = Entry(n=state.n + 1, kind="closed", key=self._keyring.current.id, offset=state.end)
        self._announce(state, [entry])
        self._write_head(state)
        self.close()
        return self._current()

    def _finish_rotation(self) -> None:
        """A closed chain means: give both files their number. Also after a crash half way."""
        try:
            descriptor = os.open(self.files.chain(), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            end = chain_end(descriptor, ChainEnd(n=0, mac=GENESIS, segment=0, log_end=0))
        finally:
            os.close(descriptor)
        if not end.closed:
            return
        if not os.path.exists(self.files.log(end.segment)):
            with contextlib.suppress(FileNotFoundError):  # deleted: the verifier says so
                os.rename(self.files.log(), self.files.log(end.segment))
        os.rename(self.files.chain(), self.files.chain(end.segment))


def _last_newline(descriptor: int, start: int, size: int) -> int:
    """The offset after the last newline between two offsets; `start` if there is none."""
    at = size
    while at > start:
        begin = max(start, at - READ_BYTES)
        found = os.pread(descriptor, at - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return start


def _hash_of_range(descriptor: int, start: int, end: int) -> tuple[str, int]:
    """The digest of a stretch, and how many newlines it holds."""
    hasher, lines, at = hashlib.blake2b(digest_size=16), 0, start
    while at < end:
        data = os.pread(descriptor, min(READ_BYTES, end - at), at)
        if not data:
            break
        hasher.update(data)
        lines += data.count(b"\n")
        at += len(data)
    return hasher.hexdigest(), lines
