"""Reading what is new in the transcripts, a bounded step at a time.

Promises: a step stops when its budget is spent, inside a file if need be, and the next one goes
on at that byte; rows and marks are committed together; a bad line never stops its file and a bad
file never stops a step. The files changed last come first. It opens transcripts for reading only
and never waits for anything but the disk.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

import msgspec

from instar_host.clock import Clock
from instar_host.store.errors import UnsafeFile
from instar_host.store.files import Root
from instar_host.store.tail import Tail, TooLong, open_tail
from instar_tokenledger.batch import TOO_LONG, Batch
from instar_tokenledger.discover import Found, Walk
from instar_tokenledger.ledger import Committed, KnownMark, Ledger
from instar_tokenledger.usage import Decoded, TokenSource

ROWS_A_COMMIT = 8_000
FILES_A_COMMIT = 2_000
BYTES_A_COMMIT = 256 << 20
"""A commit costs a sync or two, so it waits for this much; a killed process reads at most this
much again."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What one step may spend; it ends at the first bound it meets. None: no bound."""

    files: int | None = None
    bytes: int | None = None
    rows: int | None = None
    seconds: float | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where reading stands."""

    files_seen: int
    """Transcripts found by the last walk."""
    files_waiting: int
    bytes_waiting: int
    files_read: int
    """Since this ingest was made, as are the bytes and the errors."""
    bytes_read: int
    errors: Mapping[str, int]
    """Files and folders that could not be read, by reason."""

    @property
    def caught_up(self) -> bool:
        return self.files_waiting == 0


class Ingest:
    """Keeps one ledger up with the transcripts of some sources."""

    def __init__(
        self,
        ledger: Ledger,
        sources: Sequence[TokenSource],
        clock: Clock,
        *,
        on_commit: Callable[[Committed], None] = lambda _committed: None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """`pause` is called between slices of work, for hosts in which others want the
        interpreter."""
        self._ledger = ledger
        self._sources = sources
        self._clock = clock
        self._on_commit = on_commit
        self._pause = pause
        self._known = {bytes(path): tuple(rest) for path, *rest in ledger.marks()}
        self._waiting: list[tuple[TokenSource, Found]] = []
        self._bytes_waiting = 0
        self._seen = 0
        self._files_read = 0
        self._bytes_read = 0
        self._errors: dict[str, int] = {}
        self._batch = Batch()
        self._batch_bytes = 0

    @property
    def progress(self) -> Progress:
        return Progress(
            files_seen=self._seen,
            files_waiting=len(self._waiting),
            bytes_waiting=max(0, self._bytes_waiting),
            files_read=self._files_read,
            bytes_read=self._bytes_read,
            errors=dict(self._errors),
        )

    def look(self) -> None:
        """Walk every root and note which files have changed, the latest first."""
        self._errors.clear()
        waiting: dict[bytes, tuple[TokenSource, Found]] = {}
        seen: dict[bytes, str] = {}
        walked: list[bytes] = []
        for source in self._sources:
            for folder in source.roots():
                walk = Walk(source, os.fsencode(os.path.abspath(folder)), self._pause)
                for found in walk:
                    path = found.path
                    # A file belongs to the first source that finds it: roots may overlap.
                    mine = seen.setdefault(path, source.name) == source.name
                    if mine and self._known.get(path) != found.fingerprint:
                        waiting[path] = (source, found)
                self._note(walk.unreadable)
                if walk.complete:
                    walked.append(walk.root)
        gone = {path for root in walked for path in self._gone(root, seen)}
        if gone:
            self._ledger.forget_files(gone)
            for path in gone:
                del self._known[path]
        self._seen = len(seen)
        # Taken from the end: the file changed last is read first.
        self._waiting = sorted(waiting.values(), key=lambda pair: pair[1].mtime_ns)
        self._bytes_waiting = sum(self._unread(found) for _, found in self._waiting)

    def read(
        self, budget: Budget, stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[Progress]:
        """Read changed files within `budget`, giving progress after each piece; commits as it
        goes and at its end.

        Leaving the iterator early, or an error of the database, loses nothing that was committed.
        """
        spent = _Spent(budget, self._clock)
        try:
            while self._waiting and not spent.out() and not stopping():
                source, found = self._waiting.pop()
                finished = self._read_file(source, found, spent, stopping)
                if not finished and (spent.out() or stopping()):
                    self._waiting.append((source, found))  # else unreadable: the next look meets it
                self._commit_if_large()
                yield self.progress
            self._commit()
        except BaseException:
            self._batch = Batch()
            self._batch_bytes = 0
            raise

    def _read_file(
        self, source: TokenSource, found: Found, spent: _Spent, stopping: Callable[[], bool]
    ) -> bool:
        """True when the file was read to its end."""
        path = found.path
        known = self._ledger.known_mark(path) if path in self._known else None
        try:
            with (
                Root(found.root) as root,
                open_tail(found.relative, known.mark if known else None, root=root) as tail,
            ):
                return self._read_tail(source, path, tail, known, spent, stopping)
        except UnsafeFile as error:
            self._note({error.reason: 1})
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                spent.stop()  # out of descriptors: what is left waits for the next step
            if error.errno != errno.ENOENT:
                self._note({os.strerror(error.errno or errno.EIO): 1})
        return False

    def _read_tail(
        self,
        source: TokenSource,
        path: bytes,
        tail: Tail,
        known: KnownMark | None,
        spent: _Spent,
        stopping: Callable[[], bool],
    ) -> bool:
        restarted = known is not None and tail.verdict in ("rewritten", "truncated")
        state = b"" if known is None or restarted else known.state
        begin = tail.start
        spent.files += 1
        while True:
            before = tail.mark().offset
            for block in tail.blocks(max_bytes=spent.bytes_left()):
                if isinstance(block, TooLong):
                    skips = {} if block.continued else {TOO_LONG: 1}
                    spent.bytes += block.length
                else:
                    decoded = source.decode(block, state)
                    self._take(source, path, decoded)
                    state, skips = decoded.state, dict(decoded.skips)
                    spent.bytes += len(block.data)
                    spent.rows += len(decoded.rows)
                self._batch.reach(path, source.name, tail.mark(), state, skips, restarted=restarted)
                restarted = False
                self._pause()
                if spent.out() or stopping() or self._large():
                    break
            mark = tail.mark()
            self._bytes_read += mark.offset - before
            self._bytes_waiting -= mark.offset - before
            self._batch_bytes += mark.offset - before
            if self._large():
                self._commit()
            if mark.size == tail.size or spent.out() or stopping() or mark.offset == before:
                break
        if mark.size == tail.size:
            self._take_unfinished(source, path, tail, state)
            self._batch.reach(path, source.name, mark, state, {}, restarted=restarted)
            self._files_read += begin < tail.size or known is None
        return mark.size == tail.size

    def _take(self, source: TokenSource, path: bytes, decoded: Decoded) -> None:
        if source.semantics == "cumulative":
            self._batch.add_readings(source.name, path, decoded)
        else:
            self._batch.add(source.name, path, decoded)

    def _take_unfinished(self, source: TokenSource, path: bytes, tail: Tail, state: bytes) -> None:
        """A whole object without its newline counts now; the mark stays before it, and merging is
        idempotent."""
        rest = tail.unfinished()
        if rest is not None:
            self._take(source, path, source.decode(rest, state))

    def _large(self) -> bool:
        return (
            self._batch.rows >= ROWS_A_COMMIT
            or len(self._batch.files) >= FILES_A_COMMIT
            or self._batch_bytes >= BYTES_A_COMMIT
        )

    def _commit_if_large(self) -> None:
        if self._large():
            self._commit()

    def _commit(self) -> None:
        if self._batch.empty:
            return
        batch, self._batch, self._batch_bytes = self._batch, Batch(), 0
        committed = self._ledger.commit(batch)
        for path, file in batch.files.items():
            mark = file.mark
            self._known[path] = (mark.dev, mark.inode, mark.size, mark.ctime_ns)
        self._on_commit(committed)

    def _unread(self, found: Found) -> int:
        known = self._known.get(found.path)
        return max(0, found.size - known[2]) if known else found.size

    def _gone(self, root: bytes, seen: Container[bytes]) -> list[bytes]:
        prefix = root + b"/"
        return [path for path in self._known if path.startswith(prefix) and path not in seen]

    def _note(self, errors: Mapping[str, int]) -> None:
        for reason, files in errors.items():
            self._errors[reason] = self._errors.get(reason, 0) + files


class _Spent:
    """What a step has used of its budget."""

    def __init__(self, budget: Budget, clock: Clock) -> None:
        self._budget = budget
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._stopped = False
        self.files = 0
        self.bytes = 0
        self.rows = 0

    def out(self) -> bool:
        budget = self._budget
        return (
            self._stopped
            or (budget.files is not None and self.files >= budget.files)
            or (budget.bytes is not None and self.bytes >= budget.bytes)
            or (budget.rows is not None and self.rows >= budget.rows)
            or (
                budget.seconds is not None
                and self._clock.monotonic_s() - self._began_s >= budget.seconds
            )
        )

    def bytes_left(self) -> int | None:
        return None if self._budget.bytes is None else max(1, self._budget.bytes - self.bytes)

    def stop(self) -> None:
        self._stopped = True
