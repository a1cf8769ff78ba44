"""The text index: filled from the index, piece by piece, on a thread of its own.

Promises that a text is in it once, whatever happens in between, and that a text index of another
filling of the index is thrown away. The work is a few SQL statements a piece, which run outside the
interpreter's lock and outside the index's write lock, beside the reading of the next lines; the
texts of a piece pass through memory in between. A damaged database is set aside and filled anew: it
is disposable.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import apsw
import msgspec

from instar_host.store.errors import CorruptStore, ForeignDatabase, NewerSchema
from instar_host.store.quarantine import quarantine
from instar_host.store.sqlite import Migration, close_writer, open_writer
from instar_threadline.record import schema
from instar_threadline.record.words import spread

WORDS_ID = 0x1A57_71DF
CACHE_KIB = 128_000
PAGE_BYTES = 4096
CHECKPOINT_PAGES = 16_000
"""About 64 MiB: while it fills, the same pages are written again and again; let the log take
that."""

PIECE_ROWS = 20_000

PIECE_BYTES = 32 << 20
"""Of lines of the log, so that a piece of long messages fits into memory, too."""

_SIZE = (
    "SELECT sum(m.length) FROM rows.{table} t CROSS JOIN rows.messages m ON m.id = t.id"
    " WHERE t.{number} > ? AND t.{number} <= ?"
)
_TEXTS = (
    "SELECT CAST(group_concat(coalesce(m.folded, lower(m.text)), char(0)) AS BLOB),"
    " json_group_array(m.id) FROM rows.{table} t CROSS JOIN rows.messages m ON m.id = t.id"
    " WHERE t.{number} > ? AND t.{number} <= ?"
)
"""In one row, and so in one call: a row at a time would pass the interpreter's lock to and fro. The
texts stand in the order of the ids beside them, whatever that is: SQLite promises none without an
ORDER BY within each, which takes two and a half times as long."""

_FILL = "INSERT INTO words(rowid, text) SELECT ? + key, value FROM json_each(?)"
_FILL_LATE = "INSERT INTO words(rowid, text) SELECT ? + (value->>0), value->>1 FROM json_each(?)"

_encode = msgspec.json.Encoder().encode


class Words:
    """Follows one index. `follow` and `finish` are for the thread that writes the index."""

    def __init__(
        self, connection: apsw.Connection, index_path: str, *, piece_rows: int = PIECE_ROWS
    ) -> None:
        """Takes over a connection of `open_words`. Raises StoreError or apsw.Error."""
        self._connection = connection
        self._piece_rows = piece_rows
        self._connection.execute("ATTACH ? AS rows", (index_path,))
        self._rows_log = index_path + "-wal"
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closing = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self.follow()
        self.finish()

    def follow(self) -> None:
        """There is a new batch: take it in, later."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="threadline-words", daemon=True)
            self._thread.start()
        self._wanted.put("fill")

    def finish(self) -> None:
        """Return when every batch is taken in. Raises what went wrong on the way."""
        if self._thread is not None:
            self._wanted.put("end")
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Close the databases after the batch at hand; what is left is done the next time."""
        self._closing = True
        try:
            self.finish()
        finally:
            close_writer(self._connection)

    def _run(self) -> None:
        while self._wanted.get() == "fill":
            try:
                self._fill()
            except BaseException as error:  # noqa: BLE001 - handed to the caller of finish()
                self._error = error

    def _fill(self) -> None:
        filling = schema.meta(self._connection, "filling", "rows")
        if schema.meta(self._connection, "filling") != filling:
            with _transaction(self._connection) as connection:
                schema.drop_words(connection)
                schema.create_words(connection)
                schema.set_meta(connection, "filling", filling)
        self._carry_over()
        while not self._closing and self._fill_piece():
            pass

    def _carry_over(self) -> None:
        """Copy the write-ahead log of the index into it once it is long, before its writer has to:
        reading and checking need not wait for the disk meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._rows_log).st_size >= CHECKPOINT_PAGES * PAGE_BYTES:
                self._connection.wal_checkpoint("rows", apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _fill_piece(self) -> bool:
        """Take in the next messages; false when there are none."""
        late, late_end = self._ahead("late", "SELECT max(n) FROM rows.late")
        done, end = self._ahead("place", "SELECT max(place) FROM rows.places")
        if late == late_end and done == end:
            return False
        with _transaction(self._connection) as connection:
            if late_end > late:  # first: their rows are the lower ones
                late_end, ids, texts = self._texts("late", "n", late, late_end)
                pairs = list(zip(ids, texts, strict=True))
                connection.execute(_FILL_LATE, (schema.late_row(0), _encode(pairs).decode()))
                schema.set_meta(connection, "late", late_end)
            if end > done:
                end, _, texts = self._texts("places", "place", done, end)
                connection.execute(_FILL, (done + 1, _encode(texts).decode()))
                schema.set_meta(connection, "place", end)
        return True

    def _ahead(self, name: str, last: str) -> tuple[int, int]:
        """(how far it is filled, how far the next piece goes)."""
        done = schema.meta(self._connection, name)
        there = schema.rows(self._connection, last)[0][0] or 0
        return done, max(done, min(there, done + self._piece_rows))

    def _texts(
        self, table: str, number: str, after: int, end: int
    ) -> tuple[int, list[int], list[str]]:
        """(how far they go, ids of the messages in order, their texts as the text index holds
        them) after a number, up to `end` or until they are many bytes."""
        size = _SIZE.format(table=table, number=number)
        while end > after + 1:
            if schema.rows(self._connection, size, (after, end))[0][0] <= PIECE_BYTES:
                break
            end = (after + end) // 2
        query = _TEXTS.format(table=table, number=number)
        joined, listed = schema.rows(self._connection, query, (after, end))[0]
        ids = msgspec.json.decode(listed, type=list[int])
        texts = spread(joined).decode().split("\0")
        ascending = sorted(ids)
        if ids != ascending:
            by_id = dict(zip(ids, texts, strict=True))
            texts = [by_id[id_] for id_ in ascending]
        return end, ascending, texts


@contextlib.contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    """A transaction that takes no lock before it is needed, and so none at all on the index.

    `BEGIN IMMEDIATE` takes the write lock of every attached database: index and text index, meant
    to be written side by side, would wait for each other, in the end for too long. Nobody else
    writes to the text index, so there is nothing to take early.
    """
    connection.execute("BEGIN")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")
        raise


def open_words(path: str, now_ms: Callable[[], int]) -> apsw.Connection:
    """Open the text index; do so before the index, so that whoever finds that finds this too."""
    return open_disposable(path, WORDS_ID, schema.WORDS_MIGRATIONS, now_ms)


def open_disposable(
    path: str, application_id: int, migrations: Sequence[Migration], now_ms: Callable[[], int]
) -> apsw.Connection:
    """Open for writing; a database that is damaged, or of a newer version, is set aside first."""
    for _ in range(2):
        try:
            connection = open_writer(
                path, application_id=application_id, migrations=migrations, synchronous="NORMAL"
            )
        except (CorruptStore, NewerSchema) as error:
            quarantine(path, type(error).__name__.lower(), now_ms(), keep=1)
            continue
        connection.pragma("cache_size", -CACHE_KIB)
        connection.wal_autocheckpoint(CHECKPOINT_PAGES)
        return connection
    raise ForeignDatabase(f"{path} cannot be replaced by a fresh index.")
