"""Reading what is new in the transcripts, a bounded step at a time.

Promises: a step stops when its budget is spent, inside a file if need be, and the next one goes
on at that byte; rows and marks are committed together; a bad line never stops its file and a bad
file never stops a step. What is read first is the catalogue's to say. It opens transcripts for
reading only and never waits for anything but the disk.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from instar_host.clock import Clock
from instar_host.store.errors import UnsafeFile
from instar_host.store.files import Root
from instar_host.store.tail import Tail, TooLong, open_tail
from instar_tokenledger.batch import TOO_LONG, Batch
from instar_tokenledger.catalog import Catalog, stamp_of_mark
from instar_tokenledger.committed import Committed
from instar_tokenledger.discover import error_name
from instar_tokenledger.ledger import KnownMark, Ledger
from instar_tokenledger.looking import Look
from instar_tokenledger.usage import Decoded, TokenSource

ROWS_A_COMMIT = 8_000
FILES_A_COMMIT = 2_000
BYTES_A_COMMIT = 256 << 20
"""A commit costs a sync or two, so it waits for this much; a killed process reads at most this
much again."""
SLICE_BYTES = 16 << 20
"""Of one file between two looks at the clock: also what a line too long is passed over by."""
FORGOTTEN_A_COMMIT = 2_000
SEALED = "sealed"
"""Skipped because the detail of its time was let go of."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What one step may spend; it ends at the first bound it meets. None: no bound."""

    files: int | None = None
    bytes: int | None = None
    rows: int | None = None
    seconds: float | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where reading stands."""

    files_seen: int
    """Transcripts found by the last look."""
    files_waiting: int
    bytes_waiting: int
    files_read: int
    """Since this ingest was made, as are the bytes and the errors."""
    bytes_read: int
    errors: Mapping[str, int]
    """Files and folders that could not be read, by reason."""
    files_too_old: int = 0
    """Left alone because nothing was written to them for longer than the limit."""
    bytes_too_old: int = 0
    looking: bool = False
    """True while a look is under way and there may be more than was found."""

    @property
    def caught_up(self) -> bool:
        return self.files_waiting == 0 and not self.looking


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
        self._clock = clock
        self._on_commit = on_commit
        self._pause = pause
        self._catalog = Catalog(clock)
        self._look = Look(self._catalog, sources, clock, ledger.marks, pause)
        self._looking: Iterator[None] | None = None
        self._files_read = 0
        self._bytes_read = 0
        self._errors: dict[str, int] = {}
        self._batch = Batch()
        self._batch_bytes = 0
        self._batch_rows: dict[bytes, tuple[int, int]] = {}
        """Files of the batch: number, and how far they had been read before it."""
        self._roots: dict[bytes, Root] = {}
        self._sealed_before_ms = 0

    @property
    def progress(self) -> Progress:
        counts = self._catalog.counts
        errors = dict(self._look.errors)
        _add(errors, self._errors)
        return Progress(
            files_seen=self._look.seen,
            files_waiting=counts.waiting,
            bytes_waiting=counts.waiting_bytes,
            files_read=self._files_read,
            bytes_read=self._bytes_read,
            errors=errors,
            files_too_old=counts.too_old,
            bytes_too_old=counts.too_old_bytes,
            looking=self._looking is not None,
        )

    @property
    def changes(self) -> int:
        """Files found new or changed since this ingest was made."""
        return self._catalog.changes

    @property
    def roots(self) -> list[bytes]:
        """Folders that are there and are looked into."""
        return self._look.roots

    def limit_age(self, max_age_ms: int) -> None:
        """Leave files alone that were last written to longer ago, unless they were read before or
        change; 0: none."""
        self._catalog.limit_age(max_age_ms)

    def look(
        self, seconds: float | None = None, stopping: Callable[[], bool] = lambda: False
    ) -> bool:
        """Find every file that is new, changed or gone; false if the time was over before the
        end, and the next call goes on."""
        began_s = self._clock.monotonic_s()
        if self._looking is None:
            self._errors.clear()
            self._looking = self._look.everything()
        try:
            for _ in self._looking:
                late = seconds is not None and self._clock.monotonic_s() - began_s >= seconds
                if late or stopping():
                    self._catalog.line_up()
                    self._forget()  # before anything of that name is read again
                    return False
        except BaseException:
            self._looking = None  # the next look is a whole one
            raise
        self._looking = None
        self._forget()
        return True

    def look_at_hot_files(self) -> None:
        """Find what is new in the files that changed within the hour: one stat each."""
        self._look.at_hot_files()
        self._forget()

    def look_at_paths(self, paths: Iterable[bytes]) -> None:
        """Find what is new in these files, of which some may be unknown."""
        self._look.at_paths(paths)
        self._forget()

    def read(
        self, budget: Budget, stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[Progress]:
        """Read changed files within `budget`, giving progress after each piece; commits as it
        goes and at its end.

        Leaving the iterator early, or an error of the database, loses nothing that was committed.
        """
        spent = Spent(budget, self._clock)
        self._sealed_before_ms = self._ledger.horizon.sealed_before_ms
        row = None
        try:
            while not spent.out() and not stopping():
                row = self._catalog.take()
                if row is None:
                    break
                if self._read_file(row, spent, stopping):
                    self._catalog.finished(row, read=True)
                elif spent.out() or stopping():
                    self._catalog.put_back(row)
                else:
                    self._catalog.finished(row, read=False)  # the next look meets it
                if self._large():
                    self._commit()
                yield self.progress
            self._commit()
        except BaseException:
            self._abandon()
            if row is not None:
                self._catalog.put_back(row)
            raise
        finally:
            for root in self._roots.values():
                root.close()
            self._roots.clear()

    def _read_file(self, row: int, spent: Spent, stopping: Callable[[], bool]) -> bool:
        """True when the file was read to its end."""
        source, root, relative = self._look.place(row)
        path = self._catalog.path(row)
        known = self._known(row, path)
        try:
            with open_tail(relative, known.mark if known else None, root=self._open(root)) as tail:
                self._batch_rows.setdefault(path, (row, self._catalog.done(row)))
                return self._read_tail(source, row, path, tail, known, spent, stopping)
        except UnsafeFile as error:
            _add(self._errors, {error.reason: 1})
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                spent.stop()  # out of descriptors: what is left waits for the next step
            if error.errno != errno.ENOENT:
                _add(self._errors, {error_name(error): 1})
        return False

    def _known(self, row: int, path: bytes) -> KnownMark | None:
        """The file's mark, where there is one: most files of a first scan have none."""
        file = self._batch.files.get(path)
        if file is not None:
            return KnownMark(mark=file.mark, state=file.state)
        return self._ledger.known_mark(path) if self._catalog.is_known(row) else None

    def _read_tail(
        self,
        source: TokenSource,
        row: int,
        path: bytes,
        tail: Tail,
        known: KnownMark | None,
        spent: Spent,
        stopping: Callable[[], bool],
    ) -> bool:
        restarted = known is not None and tail.verdict in ("rewritten", "truncated")
        state = b"" if known is None or restarted else known.state
        begin = tail.start
        spent.files += 1
        if begin != self._catalog.done(row):
            self._catalog.advance(row, begin - self._catalog.done(row))
        while True:
            before = tail.offset
            state = self._read_blocks(
                source, path, tail, state, spent, stopping, restarted=restarted
            )
            restarted = False
            self._passed(row, tail.offset - before)
            if self._batch.files[path].mark.size == tail.size:
                self._take_unfinished(source, path, tail, state)
                if tail.verdict != "same":
                    self._catalog.opened(row, stamp_of_mark(self._batch.files[path].mark))
                self._files_read += begin < tail.size or known is None
                return True
            if self._large():
                self._commit()
                self._batch_rows[path] = (row, self._catalog.done(row))
            if spent.out() or stopping() or tail.offset == before:
                return False

    def _read_blocks(
        self,
        source: TokenSource,
        path: bytes,
        tail: Tail,
        state: bytes,
        spent: Spent,
        stopping: Callable[[], bool],
        *,
        restarted: bool,
    ) -> bytes:
        """Take in a slice of the file, and how far it has been read; the decoder's state."""
        skips: dict[str, int] = {}
        try:
            for block in tail.blocks(max_bytes=spent.bytes_left(SLICE_BYTES)):
                if isinstance(block, TooLong):
                    _add(skips, {} if block.continued else {TOO_LONG: 1})
                    spent.bytes += block.length
                else:
                    decoded = source.decode(block, state)
                    sealed = self._take(source, path, decoded)
                    state = decoded.state
                    _add(skips, decoded.skips)
                    _add(skips, {SEALED: sealed} if sealed else {})
                    spent.bytes += len(block.data)
                    spent.rows += len(decoded.rows)
                self._pause()
                if spent.out() or stopping() or self._large():
                    break
        finally:  # what was taken in goes with its mark, also when the disk fails half-way
            self._batch.reach(path, source.name, tail.mark(), state, skips, restarted=restarted)
        return state

    def _passed(self, row: int, count: int) -> None:
        self._bytes_read += count
        self._batch_bytes += count
        self._catalog.advance(row, count)

    def _take(self, source: TokenSource, path: bytes, decoded: Decoded) -> int:
        """Returns how many rows lie below the horizon and were left out: whether they were counted
        before cannot be told any more."""
        if source.semantics == "cumulative":
            self._batch.add_readings(source.name, path, decoded)
            return 0
        sealed = 0
        if self._sealed_before_ms:
            rows = [row for row in decoded.rows if row.at_ms >= self._sealed_before_ms]
            sealed = len(decoded.rows) - len(rows)
            decoded = msgspec.structs.replace(decoded, rows=rows) if sealed else decoded
        self._batch.add(source.name, path, decoded)
        return sealed

    def _take_unfinished(self, source: TokenSource, path: bytes, tail: Tail, state: bytes) -> None:
        """A whole object without its newline counts now; the mark stays before it, and merging is
        idempotent."""
        rest = tail.unfinished()
        if rest is not None:
            self._take(source, path, source.decode(rest, state))

    def _open(self, path: bytes) -> Root:
        """The root, kept open for this step: files of one folder then cost one lookup each."""
        root = self._roots.get(path)
        if root is None:
            root = self._roots[path] = Root(path)
        return root

    def _large(self) -> bool:
        return (
            self._batch.rows >= ROWS_A_COMMIT
            or len(self._batch.files) >= FILES_A_COMMIT
            or self._batch_bytes >= BYTES_A_COMMIT
        )

    def _commit(self) -> None:
        if self._batch.empty:
            self._batch_rows.clear()
            return
        batch, rows = self._batch, self._batch_rows
        committed = self._ledger.commit(batch)
        self._batch, self._batch_bytes, self._batch_rows = Batch(), 0, {}
        for path, file in batch.files.items():
            self._catalog.committed(rows[path][0], stamp_of_mark(file.mark))
        self._on_commit(committed)

    def _abandon(self) -> None:
        """What was read and not committed is to be read again."""
        for row, done in self._batch_rows.values():
            self._catalog.undone(row, done)
        self._batch, self._batch_bytes, self._batch_rows = Batch(), 0, {}

    def _forget(self) -> None:
        """Let go of the marks of files that have gone, a bounded transaction at a time."""
        gone = self._look.gone
        while gone:
            self._ledger.forget_files(gone[-FORGOTTEN_A_COMMIT:])
            del gone[-FORGOTTEN_A_COMMIT:]


class Spent:
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

    def bytes_left(self, at_most: int) -> int:
        """What may be read now, `at_most` at a time; never nothing."""
        limit = self._budget.bytes
        return at_most if limit is None else max(1, min(at_most, limit - self.bytes))

    def stop(self) -> None:
        self._stopped = True


def _add(to: dict[str, int], errors: Mapping[str, int]) -> None:
    for reason, files in errors.items():
        to[reason] = to.get(reason, 0) + files
