"""A batch of rows into the tables: duplicates out, conflicts flagged, threads counted.

Promises to be called inside a transaction and to leave the tables as they would be had the same
rows come in any other batches and transactions. A message that is there already, with the same
content, is not counted twice; one that says something else under the same identity is shown,
flagged. A message that does not verify never stands in the way of one that does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter, itemgetter

import apsw
import msgspec

from instar_threadline.record import schema
from instar_threadline.record.lines import MAX_INSTANT_MS, same_content
from instar_threadline.record.rows import Row, Slots, add
from instar_threadline.record.schema import IDS_A_MS
from instar_threadline.record.threadtable import ThreadTable
from instar_threadline.record.words import fold

SQLiteValue = str | int | None
_SAVE_MESSAGE = f"INSERT INTO messages VALUES ({', '.join('?' * 23)})"
_ADDED = (
    "(SELECT thread, identity, id FROM messages WHERE id > ?"
    " UNION ALL SELECT m.thread, m.identity, m.id FROM late l CROSS JOIN messages m ON m.id = l.id"
    " WHERE l.n > ?)"
)
_FILL = (
    "INSERT INTO places(id) SELECT id FROM messages WHERE id > ? ORDER BY id",
    f"INSERT INTO of_thread SELECT thread, id FROM {_ADDED} ORDER BY thread, id",
    f"INSERT INTO by_identity SELECT identity, id FROM {_ADDED} ORDER BY identity, id",
)
"""In their own order, many at a time and by the database itself: see `schema`."""


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A message of the same 64 bits of identity."""

    identity: tuple[str, str, str, str]
    text: str
    in_reply_to: str | None
    verified: bool


class Projection:
    """Adds rows to the tables behind one connection, which nobody else writes to meanwhile.

    Within a transaction: `add` for as many rows as come, then `finish`, once. After a transaction
    that was not committed, begin with a new one.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._threads = ThreadTable(connection)
        self._placed_to = self._newest()
        """The highest id in the tables by id; what is older than this is late."""
        self._added: set[int] = set()
        """Identities that are not in `by_identity` yet."""
        self._late: list[tuple[int]] = []

    def add(self, rows: Sequence[Row]) -> list[Row]:
        """Add what is new of `rows`; returns it, with ids, in the order of time."""
        rows = self._without_duplicates(rows)
        if not rows:
            return []
        rows.sort(key=_at)
        self._threads.load(rows)
        slots = Slots(self._last_in, self._newest())
        values = []
        for row in rows:
            row.id = slots.take(row.at, row.direction)
            thread = self._threads.of(row)
            add(thread, row)
            values.append(_values(row, thread.id))
        rows.sort(key=_id)
        values.sort(key=_first)
        self._connection.executemany(_SAVE_MESSAGE, values)
        self._connection.executemany(
            "INSERT OR IGNORE INTO peers VALUES (?, ?)", {(row.peer, row.peer_name) for row in rows}
        )
        self._added.update([row.identity for row in rows])
        self._late += [(row.id,) for row in rows[: bisect_left(rows, self._placed_to, key=_id)]]
        return rows

    def finish(self) -> None:
        """Bring the other tables up to the messages that were added."""
        self._place()
        self._threads.save()

    def _without_duplicates(self, rows: Sequence[Row]) -> list[Row]:
        identities = {row.identity for row in rows}
        if not self._added.isdisjoint(identities):
            self._place()
        known = self._known(identities)
        if not known and len(identities) == len(rows):
            return list(rows)
        return _fresh(rows, known)

    def _known(self, identities: set[int]) -> dict[int, list[_Known]]:
        known: dict[int, list[_Known]] = {}
        found = schema.rows(
            self._connection,
            "SELECT m.identity, m.direction, m.peer, t.thread_id, m.message_id, m.text,"
            " m.in_reply_to, m.verified FROM json_each(?) j CROSS JOIN by_identity i"
            " ON i.identity = j.value CROSS JOIN messages m ON m.id = i.id"
            " CROSS JOIN threads t ON t.id = m.thread",
            (msgspec.json.encode(sorted(identities)).decode(),),
        )
        for key, direction, peer, thread_id, message_id, text, in_reply_to, verified in found:
            known.setdefault(key, []).append(
                _Known((direction, peer, thread_id, message_id), text, in_reply_to, bool(verified))
            )
        return known

    def _newest(self) -> int:
        """The highest id there is; without any, one below all that may be."""
        found = schema.rows(self._connection, "SELECT max(id) FROM messages")[0][0]
        return -(MAX_INSTANT_MS + 1) * IDS_A_MS if found is None else int(found)

    def _place(self) -> None:
        """Enter what was added into the other tables by id."""
        if not self._added:
            return
        last_late = schema.rows(self._connection, "SELECT max(n) FROM late")[0][0] or 0
        self._connection.executemany("INSERT INTO late(id) VALUES (?)", self._late)
        places, of_thread, by_identity = _FILL
        self._connection.execute(places, (self._placed_to,))
        self._connection.execute(of_thread, (self._placed_to, last_late))
        self._connection.execute(by_identity, (self._placed_to, last_late))
        self._placed_to = self._newest()
        self._added, self._late = set(), []

    def _last_in(self, low: int, high: int) -> int | None:
        query = "SELECT max(id) FROM messages WHERE id BETWEEN ? AND ?"
        found = schema.rows(self._connection, query, (low, high))[0][0]
        return None if found is None else int(found)


def _fresh(rows: Sequence[Row], known: dict[int, list[_Known]]) -> list[Row]:
    """The rows that say what is not known, those of an identity that is known flagged."""
    first: dict[int, Row] = {}
    fresh = []
    for row in rows:
        if not row.line.id:  # nothing says that it is the same as another
            fresh.append(row)
            continue
        before = known.get(row.identity)
        if before is None:
            other = first.setdefault(row.identity, row)
            if other is row:
                fresh.append(row)
                continue
            before = known[row.identity] = [_known_of(other)]
        identity = row.same_as()
        there = [k for k in before if k.identity == identity and (k.verified or not row.verified)]
        if any(same_content(k.text, k.in_reply_to, row.line) for k in there):
            continue
        row.conflict = row.conflict or bool(there)
        before.append(_known_of(row))
        fresh.append(row)
    return fresh


def _values(row: Row, thread: int) -> tuple[SQLiteValue, ...]:
    line = row.line
    text = line.text or ""
    folded = None if text.isascii() and "\0" not in text else fold(text)
    return (
        row.id, thread, row.identity, row.direction, line.id,
        row.peer, row.peer_name, line.from_, line.sender_name, text, line.timestamp,
        row.at_ms, line.trust_level or "unknown", line.outcome, line.in_reply_to,
        row.integrity, row.status, row.verified, row.conflict, row.segment, row.offset,
        row.length, folded,
    )  # fmt: skip


def _known_of(row: Row) -> _Known:
    line = row.line
    return _Known(row.same_as(), line.text or "", line.in_reply_to, row.verified)


_at = attrgetter("at")
_id = attrgetter("id")
_first = itemgetter(0)
