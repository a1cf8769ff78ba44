"""Search: messages whose text contains the query, newest first, in bounded time.

Promises exact substring matches, whatever characters the query has; that a query is never syntax;
and that one call works for about `budget_s` and holds a bounded amount of text, whatever the size
of the messages, then says how far it came and how to go on. From three characters on all messages
are searched; a shorter query looks through the most recent ones, says so, and goes on from there
when it is asked to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import apsw

from instar_host.records import Record
from instar_threadline.record import schema
from instar_threadline.record.candidates import Candidates
from instar_threadline.record.readers import MESSAGE_COLUMNS, Readers, json_list, stored
from instar_threadline.record.schema import IDS_A_MS
from instar_threadline.record.shapes import Json, MessageView, message_view
from instar_threadline.record.views import PAGE_CHARS, peers_like
from instar_threadline.record.words import TRIGRAM, fold, snippet
from instar_threadline.sources.statefiles import Known, StateFiles

BUDGET_S = 0.035
RECENT_MESSAGES = 2000
MAX_QUERY_CHARS = 500
CANDIDATES = 256
FILTERED_CANDIDATES = 512
"""Candidates looked at between two looks at the clock; more of them where most are filtered out."""
LOOKED_CHARS = 1 << 18
"""Long messages are fewer between two looks."""

_COLUMNS = f"{MESSAGE_COLUMNS}, m.folded"


class Hit(Json, frozen=True, kw_only=True):
    """A message and the place of the match."""

    message: MessageView
    snippet: str
    """The match between `«»`, with sixty characters either side."""
    parts: tuple[str, str, str]
    """The same in three: before, match, after; for texts that have such marks themselves."""


class SearchPage(Record, frozen=True, kw_only=True):
    """The hits of one call."""

    hits: tuple[Hit, ...]
    next_cursor: str | None
    """Where to go on; None when everything was searched."""
    scope: Literal["all", "recent"]


class Search:
    """Searches one index. Callable from any thread."""

    def __init__(
        self, readers: Readers, files: StateFiles, monotonic_s: Callable[[], float]
    ) -> None:
        self._readers = readers
        self._files = files
        self._monotonic_s = monotonic_s

    def messages(
        self,
        query: str,
        *,
        limit: int,
        cursor: int | None = None,
        remote_agent: str = "",
        since_ms: int | None = None,
        until_ms: int | None = None,
        budget_s: float = BUDGET_S,
    ) -> SearchPage:
        """At most `limit` hits before `cursor`. Raises IndexUnavailable."""
        folded = fold(query.strip()[:MAX_QUERY_CHARS])
        if not folded:
            return SearchPage(hits=(), next_cursor=None, scope="all")
        known = self._files.known()
        with self._readers.connection() as connection:
            low, high = _bounds(connection, cursor, since_ms, until_ms)
            peers = None
            if remote_agent:
                pairs = peers_like(connection, known, remote_agent)
                peers = json_list([peer for peer, _ in pairs])
            deadline = self._monotonic_s() + budget_s
            late = lambda: self._monotonic_s() > deadline  # noqa: E731
            run = _Run(connection, known, folded, limit, peers, late)
            short = len(folded) < TRIGRAM
            left = run.recent(low, high) if short else run.all(low, high)
        return SearchPage(
            hits=tuple(run.hits),
            next_cursor=None if left is None else str(left),
            scope="recent" if short else "all",
        )


class _Run:
    """One search on one connection."""

    def __init__(
        self,
        connection: apsw.Connection,
        known: Known,
        folded: str,
        limit: int,
        peers: str | None,
        late: Callable[[], bool],
    ) -> None:
        """`late`: the time is up."""
        self.hits: list[Hit] = []
        self._connection = connection
        self._known = known
        self._folded = folded
        self._limit = limit
        self._peers = peers
        self._late = late
        self._looked_chars = 0
        """Since the last look at the clock."""
        self._held_chars = 0
        """In the hits."""
        self._filter = "" if peers is None else " AND m.peer IN (SELECT value FROM json_each(?))"

    def recent(self, low: int, high: int) -> int | None:
        """Look through the newest messages themselves; the id to go on before, None when done."""
        query = (
            f"SELECT {_COLUMNS} FROM messages m JOIN threads t ON t.id = m.thread"
            f" WHERE m.id BETWEEN ? AND ?{self._filter} ORDER BY m.id DESC LIMIT ?"
        )
        values = (low, high, *self._agents(), RECENT_MESSAGES)
        looked, last, enough = self._look(query, values)
        return last if enough or looked == RECENT_MESSAGES else None

    def all(self, low: int, high: int) -> int | None:
        """Look through the candidates of the text index; the id to go on before, None when done."""
        limit = CANDIDATES if self._peers is None else FILTERED_CANDIDATES
        candidates = Candidates(self._connection, self._folded, low, high)
        query = (
            f"SELECT {_COLUMNS} FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value"
            f" CROSS JOIN threads t ON t.id = m.thread WHERE 1{self._filter} ORDER BY m.id DESC"
        )
        while True:
            ids = candidates.next(limit)
            if not ids:
                return None
            _, last, enough = self._look(query, (json_list(ids), *self._agents()))
            if enough:
                return last
            if self._late():
                return ids[-1]

    def _look(self, query: str, values: tuple[Any, ...]) -> tuple[int, int, bool]:
        """(how many messages were looked at, the id of the last one, whether to stop there)."""
        looked, last = 0, 0
        cursor = self._connection.execute(query, values)
        try:
            for row in cursor:
                looked, last = looked + 1, int(row[0])
                self._try(row)
                if len(self.hits) >= self._limit or self._held_chars >= PAGE_CHARS:
                    return looked, last, True
                if self._looked_chars >= LOOKED_CHARS:
                    self._looked_chars = 0
                    if self._late():
                        return looked, last, True
        finally:
            cursor.close()
        return looked, last, False

    def _agents(self) -> list[str]:
        return [] if self._peers is None else [self._peers]

    def _try(self, row: Any) -> None:
        *columns, folded = row
        one = stored(columns)
        text = one.message.text
        self._looked_chars += len(text)
        start = (text.lower() if folded is None else folded).find(self._folded)
        if start >= 0:
            parts = snippet(text, start, len(self._folded))
            before, match, after = parts
            shown = message_view(one, self._known)
            self.hits.append(Hit(message=shown, snippet=f"{before}«{match}»{after}", parts=parts))
            self._held_chars += len(text)


def _bounds(
    connection: apsw.Connection, cursor: int | None, since_ms: int | None, until_ms: int | None
) -> tuple[int, int]:
    """The lowest and highest id to look at; (1, 0) for none."""
    # Two questions, not one: SQLite answers either from the end of the table, both by reading it
    # all.
    query = "SELECT (SELECT min(id) FROM messages), (SELECT max(id) FROM messages)"
    first, last = schema.rows(connection, query)[0]
    if first is None:
        return 1, 0
    low, high = first, last
    if since_ms is not None:
        low = max(low, since_ms * IDS_A_MS)
    if until_ms is not None:
        high = min(high, until_ms * IDS_A_MS + IDS_A_MS - 1)
    if cursor is not None:
        high = min(high, cursor - 1)
    return low, high
