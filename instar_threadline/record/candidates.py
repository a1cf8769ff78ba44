"""What the text index offers for a query: ids of messages, newest first, a stretch at a time.

Promises every message between two ids whose text contains the query, each once, in descending
order of ids, and some that do not contain it: whoever asks has to look into the text. The text
index has two kinds of rows, those in turn and the late ones; here they become one sequence.
"""

from __future__ import annotations

import apsw

from instar_threadline.record import schema
from instar_threadline.record.words import expression

_IN_TURN = (
    "SELECT p.id, p.place FROM texts.words w CROSS JOIN places p ON p.place = w.rowid"
    " WHERE w.words MATCH ? AND w.rowid BETWEEN ? AND ? ORDER BY w.rowid DESC LIMIT ?"
)
_LATE = (
    "SELECT rowid - ? FROM texts.words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
    " ORDER BY rowid DESC LIMIT ?"
)


class Candidates:
    """The candidates of one query on one connection, in one read transaction."""

    def __init__(self, connection: apsw.Connection, folded: str, low: int, high: int) -> None:
        """`folded`: at least three characters. `low`, `high`: ids, both included."""
        self._connection = connection
        self._match = expression(folded)
        self._low, self._high = low, high
        self._first = _places_up_to(connection, low - 1) + 1
        self._last = _places_up_to(connection, high)
        self._any_late = bool(schema.rows(connection, "SELECT 1 FROM late LIMIT 1"))

    def next(self, limit: int) -> list[int]:
        """Up to about `limit` more; none when there are no more."""
        in_turn = self._in_turn(limit)
        late = self._late(limit)
        full = [ids for ids in (list(in_turn), late) if len(ids) == limit]
        floor = max((ids[-1] for ids in full), default=self._low)
        self._high = floor - 1
        taken = [id_ for id_ in in_turn if id_ >= floor]
        if not full:
            self._last = 0
        elif taken:
            self._last = in_turn[taken[-1]] - 1
        return sorted(taken + [id_ for id_ in late if id_ >= floor], reverse=True)

    def _in_turn(self, limit: int) -> dict[int, int]:
        """Place by id, highest first."""
        if self._last < self._first:
            return {}
        values = (self._match, self._first, self._last, limit)
        return dict(schema.rows(self._connection, _IN_TURN, values))

    def _late(self, limit: int) -> list[int]:
        if not self._any_late or self._high < self._low:
            return []
        low, high = schema.late_row(self._low), schema.late_row(self._high)
        values = (schema.late_row(0), self._match, low, high, limit)
        return [id_ for (id_,) in schema.rows(self._connection, _LATE, values)]


def _places_up_to(connection: apsw.Connection, id_: int) -> int:
    """How many places belong to ids up to this one: they are in the order of ids."""
    low, high = 0, int(schema.rows(connection, "SELECT max(place) FROM places")[0][0] or 0)
    query = "SELECT id FROM places WHERE place = ?"
    if high and schema.rows(connection, query, (high,))[0][0] <= id_:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if schema.rows(connection, query, (middle,))[0][0] <= id_:
            low = middle
        else:
            high = middle - 1
    return low
