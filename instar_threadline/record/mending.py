"""What is done about what was found amiss in the files of one direction, before an append.

Looks at what stands in the files, under the lock, and mends: an unfinished line is moved aside,
lines of another writer are taken into the chain as `adopted`, missing ones are recorded as lost.
A whole line that only lacks its newline gets it. A head that is gone or spoiled is written anew,
one that lags is brought up.

Promises that afterwards log, chain and head agree, and that the log is synced. Nothing is
repaired silently: what was lost, moved, taken in or written anew stands in the chain. A line in
the middle is never touched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from instar_host.store.files import ensure_private_dir, sync_directory, write_atomic
from instar_threadline.record.announcing import Announcer, OpenFiles
from instar_threadline.record.chain import HEAD_GONE, HEAD_SPOILED, Entry, Head, read_head
from instar_threadline.record.chaintail import entries_from, log_end_after, standing_entries
from instar_threadline.record.disk import Disk, open_private
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import Layout
from instar_threadline.record.signing import digest, verifies

READ_BYTES = 1 << 20
MAX_TORN_BYTES = 16 << 20


class Mender:
    """Mends one direction. Needs the direction's lock to be held."""

    def __init__(
        self, files: Layout, keyring: Keyring, announcer: Announcer, *, disk: Disk, log_name: str
    ) -> None:
        """`log_name` goes into the first entry of a chain file that is begun here."""
        self._files = files
        self._keyring = keyring
        self._announcer = announcer
        self._disk = disk
        self._log_name = log_name

    def reconcile(self, state: OpenFiles) -> None:
        """Bring open files, chain and head together. Raises OSError or UnsafeFile."""
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
            self._announcer.announce(state, [start])
        elif counted > state.n:
            self._resume(state, n=counted + 1, at=state.end)
        if os.fstat(state.log).st_size < state.end:
            self._after_missing(state, counted)
        self._after_foreign(state)
        self._mend_head(state, head)
        self._disk.sync(state.log)  # a writer that was killed may not have come to it

    def _head(self) -> Head | None:
        try:
            with open(self._files.head, "rb") as file:
                return read_head(file.read(4096), self._files.direction, self._keyring)
        except FileNotFoundError:
            return None

    def _begin_head(self, state: OpenFiles) -> None:
        """The one head that is synced: from here on a log without one has lost it."""
        self._announcer.write_head(state)
        descriptor = open_private(self._files.head, append=False)
        try:
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)

    def _mend_head(self, state: OpenFiles, head: Head | None) -> None:
        """A head that is gone, or not as it was written, is written anew, and the chain says so."""
        if head is None:
            self._resume(state, at=state.end, note=HEAD_GONE)
        elif head.beside == "spoiled":  # altered, or torn by a power cut
            self._resume(state, at=state.end, note=HEAD_SPOILED)
        if head is None or not head.known or head.n < state.n:
            self._announcer.write_head(state)

    def _resume(
        self,
        state: OpenFiles,
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
        self._announcer.announce(state, [entry])
        state.end = at

    def _after_missing(self, state: OpenFiles, counted: int) -> None:
        """The log is shorter than the chain says: a crash, or a loss. Find out, and say it."""
        standing = standing_entries(entries_from(state.chain))
        size = self._finish_line(state, standing)
        gone = [e for e in standing if log_end_after(e) > size]
        kept = max((log_end_after(e) for e in standing if log_end_after(e) <= size), default=0)
        lost = sum(max(e.lines, 1) for e in gone if e.n <= counted)
        unwritten = sum(1 for e in gone if e.n > counted)
        if gone:
            self._resume(state, at=kept, lost=lost, unwritten=unwritten)

    def _finish_line(self, state: OpenFiles, standing: Sequence[Entry]) -> int:
        """Give a line that is whole but for its newline that newline; returns the log's size."""
        size = os.fstat(state.log).st_size
        for entry in standing:
            if entry.kind == "line" and log_end_after(entry) == size + 1:
                if digest(os.pread(state.log, entry.length, entry.offset)) == entry.digest:
                    self._disk.write(state.log, b"\n")
                    size += 1
                break
        return size

    def _after_foreign(self, state: OpenFiles) -> None:
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

    def _move_aside(self, state: OpenFiles, at: int, rest: bytes) -> None:
        ensure_private_dir(self._files.torn_folder)
        name = f"{self._files.stem}-{state.segment:06d}-{at}-{digest(rest)[:8]}.bin"
        write_atomic(os.path.join(self._files.torn_folder, name), rest)
        sync_directory(self._files.folder)
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
        self._announcer.announce(state, [entry])

    def _adopt(self, state: OpenFiles, until: int) -> None:
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
        self._announcer.announce(state, [entry])
        state.end = until


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
