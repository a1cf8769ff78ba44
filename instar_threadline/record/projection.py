"""A batch of rows into the tables: duplicates out, conflicts flagged, threads counted.

Promises to be called inside a transaction and to leave the tables as they would be had the same
rows come in any other batches. A message that is there already, with the same content, is not
counted twice; one that says something else under the same identity is shown, flagged. A message
that does not verify never stands in the way of one that does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from operator import attrgetter

import apsw
import msgspec

from instar_threadline.record import schema
from instar_threadline.record.lines import MAX_INSTANT_MS, same_content
from instar_threadline.record.rows import (
    Row,
    Slots,
    ThreadFigures,
    add,
    latency,
    new_thread,
)
from instar_threadline.record.schema import IDS_A_MS
from instar_threadline.record.words import fold

_THREAD_COLUMNS = tuple(f for f in ThreadFigures.__struct_fields__ if f != "stale")
SQLiteValue = str | int | None
_SELECT_THREADS = (
    f"SELECT {', '.join(_THREAD_COLUMNS)} FROM threads"
    " WHERE thread_id IN (SELECT value FROM json_each(?))"
)
_SAVE_THREAD = (
    f"INSERT INTO threads({', '.join(_THREAD_COLUMNS)})"
    f" VALUES ({', '.join('?' * len(_THREAD_COLUMNS))}) ON CONFLICT(id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _THREAD_COLUMNS[2:])
)
_SAVE_MESSAGE = f"INSERT INTO messages VALUES ({', '.join('?' * 24)})"


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A message of the same 64 bits of identity."""

    identity: tuple[str, str, str, str]
    text: str
    in_reply_to: str | None
    verified: bool


class Projection:
    """Adds rows to the tables behind one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._threads: dict[str, ThreadFigures] = {}
        self._next_thread = 0
        self._batch = schema.meta(connection, "batch") + 1

    def add(self, rows: Sequence[Row]) -> list[Row]:
        """Add what is new of `rows`; returns it, with ids, in the order of time."""
        rows = self._without_duplicates(rows)
        if not rows:
            return []
        rows.sort(key=lambda row: row.at)
        self._load_threads(rows)
        slots = Slots(self._last_in(rows[0].at))
        for row in rows:
            row.id = slots.take(row.at, row.direction)
            add(self._thread(row), row)
        rows.sort(key=lambda row: row.id)
        self._connection.executemany(_SAVE_MESSAGE, map(self._values, rows))
        self._connection.executemany(
            "INSERT OR IGNORE INTO peers VALUES (?, ?)", {(row.peer, row.peer_name) for row in rows}
        )
        schema.set_meta(self._connection, "batch", self._batch)
        self._save_threads()
        return rows

    def _without_duplicates(self, rows: Sequence[Row]) -> list[Row]:
        known = self._known(rows)
        fresh = []
        for row in rows:
            before = known.get(row.identity)
            if before is None or not row.line.id:  # without an id nothing says it is the same
                known[row.identity] = [_known_of(row)]
                fresh.append(row)
                continue
            identity = row.same_as()
            there = [
                k for k in before if k.identity == identity and (k.verified or not row.verified)
            ]
            if any(same_content(k.text, k.in_reply_to, row.line) for k in there):
                continue
            row.conflict = row.conflict or bool(there)
            before.append(_known_of(row))
            fresh.append(row)
        return fresh

    def _known(self, rows: Sequence[Row]) -> dict[int, list[_Known]]:
        known: dict[int, list[_Known]] = {}
        found = schema.rows(
            self._connection,
            "SELECT m.identity, m.direction, m.peer, t.thread_id, m.message_id, m.text,"
            " m.in_reply_to, m.verified FROM json_each(?) j CROSS JOIN messages m"
            " ON m.identity = j.value CROSS JOIN threads t ON t.id = m.thread",
            (json.dumps([row.identity for row in rows]),),
        )
        for key, direction, peer, thread_id, message_id, text, in_reply_to, verified in found:
            known.setdefault(key, []).append(
                _Known((direction, peer, thread_id, message_id), text, in_reply_to, bool(verified))
            )
        return known

    def _last_in(self, first_at: int) -> Callable[[int, int], int | None]:
        """How `Slots` finds what is taken; nothing is, past the newest message."""
        newest = schema.rows(self._connection, "SELECT max(id) FROM messages")[0][0]
        if newest is None or first_at * IDS_A_MS > newest:
            newest = -MAX_INSTANT_MS * IDS_A_MS

        def last_in(low: int, high: int) -> int | None:
            if low > newest:
                return None
            query = "SELECT max(id) FROM messages WHERE id BETWEEN ? AND ?"
            found = schema.rows(self._connection, query, (low, high))[0][0]
            return None if found is None else int(found)

        return last_in

    def _load_threads(self, rows: Sequence[Row]) -> None:
        wanted = json.dumps(list({row.line.thread_id for row in rows}))
        for values in schema.rows(self._connection, _SELECT_THREADS, (wanted,)):
            thread = ThreadFigures(**dict(zip(_THREAD_COLUMNS, values, strict=True)))
            self._threads[thread.thread_id] = thread
        last = schema.rows(self._connection, "SELECT max(id) FROM threads")[0][0]
        self._next_thread = (last or 0) + 1

    def _thread(self, row: Row) -> ThreadFigures:
        thread = self._threads.get(row.line.thread_id)
        if thread is None:
            thread = self._threads[row.line.thread_id] = new_thread(row, self._next_thread)
            self._next_thread += 1
        return thread

    def _save_threads(self) -> None:
        for thread in self._threads.values():
            if thread.stale:
                self._count_anew(thread)
        columns = attrgetter(*_THREAD_COLUMNS)
        self._connection.executemany(_SAVE_THREAD, map(columns, self._threads.values()))

    def _count_anew(self, thread: ThreadFigures) -> None:
        """What depends on the order of time, from the rows themselves."""
        found = schema.rows(
            self._connection,
            "SELECT direction, coalesce(at_ms, id / ?) FROM messages WHERE thread = ? ORDER BY id",
            (IDS_A_MS, thread.id),
        )
        figures = latency([(direction, at) for direction, at in found])
        thread.waiting, thread.waiting_sum, thread.waits, thread.waits_sum = figures

    def _values(self, row: Row) -> tuple[SQLiteValue, ...]:
        line = row.line
        text = line.text or ""
        folded = None if text.isascii() and "\0" not in text else fold(text)
        return (
            row.id, self._threads[line.thread_id].id, row.identity, row.direction, line.id,
            row.peer, row.peer_name, line.from_, line.sender_name, text, line.timestamp,
            row.at_ms, line.trust_level or "unknown", line.outcome, line.in_reply_to,
            row.integrity, row.status, row.verified, row.conflict, row.segment, row.offset,
            row.length, self._batch, folded,
        )  # fmt: skip


def _known_of(row: Row) -> _Known:
    line = row.line
    return _Known(row.same_as(), line.text or "", line.in_reply_to, row.verified)
