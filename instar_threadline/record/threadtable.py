"""The threads that a transaction touches: read once, kept, written once at its end.

Promises that after `save` the table says what the figures in memory say. Keeps a bounded number of
threads from one transaction to the next, so it is for the one who writes the index; after a
transaction that was not committed it has to be made anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import apsw
import msgspec

from instar_threadline.record import schema
from instar_threadline.record.rows import Row, ThreadFigures, latency, new_thread
from instar_threadline.record.schema import IDS_A_MS

MAX_KEPT = 20_000

_COLUMNS = tuple(f for f in ThreadFigures.__struct_fields__ if f != "stale")
_OTHERS = _COLUMNS[1:]
_SELECT = (
    f"SELECT {', '.join(_COLUMNS)} FROM threads WHERE thread_id IN (SELECT value FROM json_each(?))"
)
_ADD = f"INSERT INTO threads({', '.join(_OTHERS)}, id) VALUES ({', '.join('?' * len(_COLUMNS))})"
_SAVE = f"UPDATE threads SET {', '.join(f'{name} = ?' for name in _OTHERS)} WHERE id = ?"
_values = attrgetter(*_OTHERS, "id")


class ThreadTable:
    """The table of threads behind one connection. Every method is called inside a transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._kept: dict[str, ThreadFigures] = {}
        """As the table has them."""
        self._touched: dict[str, ThreadFigures] = {}
        """Since the last `save`."""
        self._new: list[ThreadFigures] = []
        last = schema.rows(connection, "SELECT max(id) FROM threads")[0][0]
        self._last_id = int(last or 0)

    def load(self, rows: Iterable[Row]) -> None:
        """Read the threads that these rows will touch."""
        wanted = {row.line.thread_id for row in rows}
        wanted.difference_update(self._touched)
        kept = self._kept
        unknown = sorted(wanted.difference(kept))
        if unknown:
            values = (msgspec.json.encode(unknown).decode(),)
            for row in schema.rows(self._connection, _SELECT, values):
                thread = ThreadFigures(*row)
                kept[thread.thread_id] = thread
        self._touched.update((t, kept[t]) for t in wanted if t in kept)

    def of(self, row: Row) -> ThreadFigures:
        """The thread of a row that was loaded; a new one if there is none yet."""
        thread = self._touched.get(row.line.thread_id)
        if thread is None:
            self._last_id += 1
            thread = new_thread(row, self._last_id)
            self._touched[row.line.thread_id] = thread
            self._new.append(thread)
        return thread

    def save(self) -> None:
        """Write the threads that were touched, whose messages are in their tables by now."""
        for thread in self._touched.values():
            if thread.stale:
                self._count_anew(thread)
        first_new = self._new[0].id if self._new else self._last_id + 1
        old = sorted((t for t in self._touched.values() if t.id < first_new), key=_id)
        self._connection.executemany(_ADD, map(_values, self._new))
        self._connection.executemany(_SAVE, map(_values, old))
        if len(self._kept) > MAX_KEPT:
            self._kept.clear()
        if len(self._touched) <= MAX_KEPT:
            self._kept.update(self._touched)
        self._touched, self._new = {}, []

    def _count_anew(self, thread: ThreadFigures) -> None:
        """What depends on the order of time, from the rows themselves."""
        found = schema.rows(
            self._connection,
            "SELECT m.direction, coalesce(m.at_ms, m.id / ?) FROM of_thread o"
            " CROSS JOIN messages m ON m.id = o.id WHERE o.thread = ? ORDER BY o.id",
            (IDS_A_MS, thread.id),
        )
        figures = latency([(direction, at) for direction, at in found])
        thread.waiting, thread.waiting_sum, thread.waits, thread.waits_sum = figures
        thread.stale = False


_id = attrgetter("id")
