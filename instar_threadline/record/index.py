"""The index of the log: filled in bounded steps by the one process that may, thrown away at will.

Promises that rows and places are saved in one transaction, so a step is done or not done; that the
index of the same files is the same whatever the steps were; and that no line, however broken, stops
it. A log that was cut or rewritten behind the index, another generation of the tables, or a damaged
database mean: begin anew. It never writes to the log.

One thread at a time; readers have connections of their own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable

import apsw
import msgspec

from instar_host.store.sqlite import close_writer, write_transaction
from instar_threadline.messages import DIRECTIONS, Direction
from instar_threadline.record import schema
from instar_threadline.record.checked import CheckedLine, Stretch
from instar_threadline.record.findings import Finding
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import layout
from instar_threadline.record.lines import MAX_INSTANT_MS, read_genuine, read_line
from instar_threadline.record.projection import Projection
from instar_threadline.record.reader import Batch, Place, StreamReader, Witness
from instar_threadline.record.rows import Row, row_of, rows_of
from instar_threadline.record.verify import (
    Counts,
    Tally,
    count_line,
    head_finding,
    rollback_finding,
)
from instar_threadline.record.wordindex import CHECKPOINT_PAGES, Words, open_disposable, open_words

FILE_NAME = os.path.join("server-data", "threadline-index.db")
WORDS_FILE_NAME = os.path.join("server-data", "threadline-words.db")
CHUNK_LINES = 20_000
"""How many lines are held in memory at once, sorted by their time and then added."""

STEP_BYTES = 1 << 19
BYTES_A_LINE_LEFT = 1 << 7
LEAST_BYTES = 1 << 13
"""What is read of one direction before the other gets its turn: at most this, and less the fewer
lines are left of a chunk, so that both end at one time. A message that another chunk's are ahead of
is out of turn, which costs its thread a new count."""

LONG_STEP_LINES = 100_000
"""Of one transaction, at most: the more lines, the less often a page of the tables in no order of
time, or a thread, is written. The first one of a catch-up is of one chunk, so that who waits for it
does not wait for long, and each may have twice the lines of the one before."""

LATE_CHECKPOINT_PAGES = 4 * CHECKPOINT_PAGES
"""The write-ahead log is copied by the thread of the text index; should that lag, then here."""

MAX_ROWS_TOLD = 1000


_SAVE_UNREADABLE = "INSERT OR REPLACE INTO unreadable VALUES (?, ?, ?, ?, ?)"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a step did."""

    rows: tuple[Row, ...] = ()
    """What became visible; when that is much the first part only."""
    at_end: bool = True
    rebuilt: bool = False


class _Stream:
    """One direction: where it is read to, and what was counted."""

    def __init__(self, direction: Direction, reader: StreamReader, tally: Tally) -> None:
        self.direction: Direction = direction
        self.reader = reader
        self.tally = tally
        self.at = 0
        """The instant of the last line read."""
        self.at_end = False
        self.witness = Witness()

    def save(self, connection: apsw.Connection) -> None:
        """Keep all of it. Inside a transaction."""
        _save_findings(connection, self.direction, [*self.tally.findings, *self.tally.passing])
        _save_stream(
            connection,
            self.direction,
            self.reader.place,
            self.tally.counts(),
            self.at,
            self.witness,
        )


class _Chunk:
    """Lines of both directions that were read and are not in the tables yet."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.unreadable: list[tuple[str, int, int, int, str]] = []
        self.lines = 0


class _RewrittenError(Exception):
    """A file is not what it was."""


class Index:
    """Keeps the index of one state directory. Made in the process that holds the lease."""

    def __init__(
        self, state_dir: str | os.PathLike[str], keyring: Keyring, now_ms: Callable[[], int]
    ) -> None:
        """Opens or creates the database. Raises StoreError or apsw.Error when it cannot."""
        self._state_dir = os.fspath(state_dir)
        self._keyring = keyring
        self._now_ms = now_ms
        path = os.path.join(self._state_dir, FILE_NAME)
        words = open_words(os.path.join(self._state_dir, WORDS_FILE_NAME), now_ms)
        self._connection = open_disposable(path, schema.APPLICATION_ID, schema.MIGRATIONS, now_ms)
        self._connection.wal_autocheckpoint(LATE_CHECKPOINT_PAGES)
        self._streams: dict[Direction, _Stream] = {}
        if schema.meta(self._connection, "generation") != schema.GENERATION:
            self.reset()
        elif schema.meta(self._connection, "keys") != _number_of(keyring):
            self._take_keys()
        self._load()
        self._words = Words(words, path)

    def catch_up(
        self, stopping: Callable[[], bool] = lambda: False, *, max_steps: int | None = None
    ) -> Progress:
        """Read what is new. With `max_steps` it may stop before the end; `at_end` says so.

        Raises OSError, StoreError, LogBusy or apsw.Error; what was committed before stays.
        """
        rows: list[Row] = []
        rebuilt, steps = False, 0
        for stream in self._streams.values():
            stream.at_end = stream.reader.idle()
        while not all(stream.at_end for stream in self._streams.values()):
            if stopping() or (max_steps is not None and steps >= max_steps):
                return Progress(rows=tuple(rows), at_end=False, rebuilt=rebuilt)
            most = min(LONG_STEP_LINES, CHUNK_LINES << min(steps, 10))
            steps += 1
            try:
                found = self._step(stopping, most)
                rows += found[: MAX_ROWS_TOLD - len(rows)]
            except _RewrittenError:
                rebuilt = True
                rows.clear()
                self._words.finish()
                self.reset()
                self._load()
            except BaseException:
                self._load()
                raise
        self._words.finish()
        return Progress(rows=tuple(rows), rebuilt=rebuilt)

    def reset(self) -> None:
        """Throw the projection away; what each chain had come to is remembered as a witness."""
        with write_transaction(self._connection):
            kept = _witnesses(self._connection)
            schema.drop(self._connection)
            schema.create(self._connection)
            schema.set_meta(self._connection, "keys", _number_of(self._keyring))
            for direction, witness in kept:
                _save_stream(self._connection, direction, Place(), Counts(), 0, witness)

    def close(self) -> None:
        """Close the databases."""
        self._words.close()
        close_writer(self._connection)

    def _take_keys(self) -> None:
        """Other keys are known than when it was filled: what could not be verified then is looked
        at again."""
        raw = schema.rows(self._connection, "SELECT tally FROM streams")
        counts = [msgspec.json.decode(tally, type=Counts) for (tally,) in raw]
        if any(one.unknown_keys or one.bad for one in counts):
            self.reset()
            return
        with write_transaction(self._connection):
            schema.set_meta(self._connection, "keys", _number_of(self._keyring))

    def _load(self) -> None:
        self._projection = Projection(self._connection)
        query = "SELECT direction, place, tally, at, witness_n, witness_mac FROM streams"
        rows = schema.rows(self._connection, query)
        stored = {row[0]: row[1:] for row in rows}
        for direction in DIRECTIONS:
            place, tally, at, witness = Place(), Tally(direction), 0, Witness()
            if direction in stored:
                raw, raw_counts, at, n, mac = stored[direction]
                place = msgspec.json.decode(raw, type=Place)
                counts = msgspec.json.decode(raw_counts, type=Counts)
                tally = Tally.restored(direction, counts, _findings(self._connection, direction))
                witness = Witness(n=n, mac=mac)
            files = layout(self._state_dir, direction)
            reader = StreamReader(files, self._keyring, place, witness=witness)
            stream = self._streams[direction] = _Stream(direction, reader, tally)
            stream.witness, stream.at = witness, at

    def _step(self, stopping: Callable[[], bool], most: int) -> list[Row]:
        """One transaction: about `most` lines. Raises _RewrittenError when a file was."""
        added: list[Row] = []
        lines = 0
        with write_transaction(self._connection) as connection:
            while lines < most and not stopping() and self._behind() is not None:
                chunk = self._read(stopping)
                lines += chunk.lines
                added += self._projection.add(chunk.rows)[: MAX_ROWS_TOLD - len(added)]
                connection.executemany(_SAVE_UNREADABLE, chunk.unreadable)
            self._projection.finish()
            for stream in self._streams.values():
                stream.save(connection)
        self._words.follow()
        return added

    def _read(self, stopping: Callable[[], bool]) -> _Chunk:
        """The next `CHUNK_LINES` of both directions, or what there is. Raises _RewrittenError."""
        chunk = _Chunk()
        while chunk.lines < CHUNK_LINES and not stopping():
            stream = self._behind()
            if stream is None:
                break
            left = (CHUNK_LINES - chunk.lines) * BYTES_A_LINE_LEFT
            batch = stream.reader.read(min(STEP_BYTES, max(LEAST_BYTES, left)))
            if batch.rewritten:
                raise _RewrittenError
            self._count(stream, batch)
            for part in batch.parts:
                self._take(stream, batch.segment, part, chunk)
            stream.at_end = batch.at_end
        return chunk

    def _behind(self) -> _Stream | None:
        """The direction to read next: the one whose last line is older."""
        open_streams = [stream for stream in self._streams.values() if not stream.at_end]
        return min(open_streams, key=lambda stream: stream.at, default=None)

    def _count(self, stream: _Stream, batch: Batch) -> None:
        tally = stream.tally
        known = {_finding_key(found) for found in tally.findings}
        tally.take(batch, [one for one in batch.findings if _finding_key(one) not in known])
        if not batch.at_end:
            return
        head = head_finding(stream.reader, batch, unknown_keys=tally.unknown_keys > 0)
        tally.passing = [found for found in (batch.short, head) if found is not None]
        if any(found.kind == "rolled-back" for found in tally.findings):
            return  # said once, and the witness stays as it is: it is what can be shown
        back = rollback_finding(stream.reader, stream.witness, batch.segment)
        if back is not None:
            tally.add(back)
        else:
            stream.witness = Witness(n=stream.reader.chain_n, mac=stream.reader.chain_mac)

    def _take(
        self, stream: _Stream, segment: int, part: Stretch | list[CheckedLine], chunk: _Chunk
    ) -> None:
        """Make rows of lines; at once where nothing about them is out of the ordinary."""
        if isinstance(part, Stretch):
            found = _ordinary_rows(stream, segment, part, self._keyring)
            if found is not None:
                stream.at = found[-1].at
                stream.tally.lines += len(found)
                stream.tally.chained += len(found)
                chunk.rows += found
                chunk.lines += len(found)
                return
            part = list(part.one_by_one())
        chunk.lines += len(part)
        for checked in part:
            self._take_line(stream, segment, checked, chunk)

    def _take_line(
        self, stream: _Stream, segment: int, checked: CheckedLine, chunk: _Chunk
    ) -> None:
        line, integrity = count_line(stream.tally, segment, checked, self._keyring)
        direction = stream.direction
        if line is None:
            reason = read_line(checked.data)
            place = (direction, segment, checked.offset, len(checked.data), str(reason))
            chunk.unreadable.append(place)
            return
        row = row_of(direction, segment, checked, line, integrity, stream.at)
        row.at = min(max(row.at, -MAX_INSTANT_MS), MAX_INSTANT_MS)
        stream.at = row.at
        chunk.rows.append(row)


def _ordinary_rows(
    stream: _Stream, segment: int, stretch: Stretch, keyring: Keyring
) -> list[Row] | None:
    key = keyring.get(stretch.key)
    lines = read_genuine(stretch.data, stretch.lines, key.line_mac) if key is not None else None
    if lines is None:
        return None
    return rows_of(stream.direction, segment, stretch, lines, stream.at)


def _number_of(keyring: Keyring) -> int:
    """A number for the keys that a keyring holds."""
    ids = "".join(sorted(keyring.ids))
    return int.from_bytes(hashlib.blake2b(ids.encode(), digest_size=7).digest())


def _findings(connection: apsw.Connection, direction: Direction) -> list[Finding]:
    rows = schema.rows(connection, "SELECT finding FROM findings WHERE direction = ?", (direction,))
    return [msgspec.json.decode(row[0], type=Finding) for row in rows]


def _finding_key(finding: Finding) -> tuple[int, int, int, str]:
    return finding.segment, finding.offset, finding.n, finding.kind


def _save_findings(
    connection: apsw.Connection, direction: Direction, findings: Iterable[Finding]
) -> None:
    connection.execute("DELETE FROM findings WHERE direction = ?", (direction,))
    connection.executemany(
        "INSERT OR IGNORE INTO findings VALUES (?, ?, ?, ?, ?, ?)",
        ((f.direction, f.segment, f.offset, f.n, f.kind, msgspec.json.encode(f)) for f in findings),
    )


def _witnesses(connection: apsw.Connection) -> list[tuple[Direction, Witness]]:
    there = schema.rows(connection, "SELECT 1 FROM sqlite_schema WHERE name = 'streams'")
    if not there:
        return []
    rows = schema.rows(connection, "SELECT direction, witness_n, witness_mac FROM streams")
    kept = {direction: Witness(n=n, mac=mac) for direction, n, mac in rows}
    return [(direction, kept[direction]) for direction in DIRECTIONS if direction in kept]


def _save_stream(
    connection: apsw.Connection,
    direction: Direction,
    place: Place,
    counts: Counts,
    at: int,
    witness: Witness,
) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?)",
        (direction, *map(msgspec.json.encode, (place, counts)), at, witness.n, witness.mac),
    )
