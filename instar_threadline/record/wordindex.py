"""The text index: filled from the index, batch by batch, on a thread of its own.

Promises that a batch is in it once, whole or not at all, and that a text index of another filling
of the index is thrown away. The work is one SQL statement a batch, which runs outside the
interpreter's lock, beside the reading of the next lines. A damaged database is set aside and
filled anew: it is disposable.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

import apsw

from instar_host.store.errors import CorruptStore, ForeignDatabase, NewerSchema
from instar_host.store.quarantine import quarantine
from instar_host.store.sqlite import Migration, close_writer, open_writer, write_transaction
from instar_threadline.record import schema

WORDS_ID = 0x1A57_71DF
CACHE_KIB = 128_000
CHECKPOINT_PAGES = 16_000
"""About 64 MiB: while it fills, the same pages are written again and again; let the log take
that."""

_FILL = (
    "INSERT INTO words(rowid, text) SELECT id, coalesce(folded, lower(text)) FROM rows.messages"
    " WHERE batch = ? ORDER BY id"
)


class Words:
    """Follows one index. `follow` and `finish` are for the thread that writes the index."""

    def __init__(self, connection: apsw.Connection, index_path: str) -> None:
        """Takes over a connection of `open_words`. Raises StoreError or apsw.Error."""
        self._connection = connection
        self._connection.execute("ATTACH ? AS rows", (index_path,))
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
            with write_transaction(self._connection) as connection:
                schema.drop_words(connection)
                schema.create_words(connection)
                schema.set_meta(connection, "filling", filling)
        done = schema.meta(self._connection, "batch")
        for batch in range(done + 1, schema.meta(self._connection, "batch", "rows") + 1):
            if self._closing:
                return
            with write_transaction(self._connection) as connection:
                connection.execute(_FILL, (batch,))
                schema.set_meta(connection, "batch", batch)


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
