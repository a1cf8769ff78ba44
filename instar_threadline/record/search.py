"""Search: messages whose text contains the query, newest first, in bounded time.

Promises exact substring matches, whatever characters the query has; that a query is never syntax;
and that one call works for about `budget_s`, then says how far it came and how to go on. From
three characters on all messages are searched; a shorter query looks at the most recent ones only,
and says so.
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
from instar_threadline.record.views import peers_like
from instar_threadline.record.words import TRIGRAM, fold, snippet
from instar_threadline.sources.statefiles import Known, StateFiles

BUDGET_S = 0.035
RECENT_MESSAGES = 2000
MAX_QUERY_CHARS = 500
CANDIDATES = 256
FILTERED_CANDIDATES = 512
"""Candidates looked at between two looks at the clock; more of them where most are filtered out."""


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
            run = _Run(connection, known, folded, limit, peers)
            if len(folded) < TRIGRAM:
                run.recent(low, high)
                return SearchPage(hits=tuple(run.hits), next_cursor=None, scope="recent")
            deadline = self._monotonic_s() + budget_s
            left = run.all(low, high, lambda: self._monotonic_s() > deadline)
        return SearchPage(
            hits=tuple(run.hits), next_cursor=None if left is None else str(left), scope="all"
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
    ) -> None:
        self.hits: list[Hit] = []
        self._connection = connection
        self._known = known
        self._folded = folded
        self._limit = limit
        self._peers = peers
        self._filter = "" if peers is None else " AND m.peer IN (SELECT value FROM json_each(?))"

    def recent(self, low: int, high: int) -> None:
        """Look through the newest messages themselves."""
        query = (
            f"SELECT {MESSAGE_COLUMNS} FROM messages m JOIN threads t ON t.id = m.thread"
            f" WHERE m.id BETWEEN ? AND ?{self._filter} ORDER BY m.id DESC LIMIT ?"
        )
        values = (low, high, *self._agents(), RECENT_MESSAGES)
        for row in schema.rows(self._connection, query, values):
            if len(self.hits) < self._limit:
                self._try(row)

    def all(self, low: int, high: int, late: Callable[[], bool]) -> int | None:
        """Look through the candidates of the text index; the id to go on before, None when done."""
        limit = CANDIDATES if self._peers is None else FILTERED_CANDIDATES
        candidates = Candidates(self._connection, self._folded, low, high)
        query = (
            f"SELECT {MESSAGE_COLUMNS} FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value"
            f" CROSS JOIN threads t ON t.id = m.thread WHERE 1{self._filter} ORDER BY m.id DESC"
        )
        while True:
            ids = candidates.next(limit)
            if not ids:
                return None
            found = json_list(ids)
            for row in schema.rows(self._connection, query, (found, *self._agents())):
                self._try(row)
                if len(self.hits) >= self._limit:
                    return int(row[0])
            if late():
                return ids[-1]

    def _agents(self) -> list[str]:
        return [] if self._peers is None else [self._peers]

    def _try(self, row: Any) -> None:
        one = stored(row)
        start = fold(one.message.text).find(self._folded)
        if start >= 0:
            parts = snippet(one.message.text, start, len(self._folded))
            before, match, after = parts
            shown = message_view(one, self._known)
            self.hits.append(Hit(message=shown, snippet=f"{before}«{match}»{after}", parts=parts))


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
