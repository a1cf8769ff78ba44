"""Threads and messages as the routes and the command line show them: read-only, bounded.

Promises that no view is broken by a bad record, that every list is a page with a cursor, bounded in
its messages and in their text, and that instants are compared as instants. A name is a label: the
fingerprint always stands beside it. What is shown about genuineness is what the index found:
*integrity* and *completeness* apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import apsw
import msgspec

from instar_host.records import Record
from instar_threadline.errors import BadCursor
from instar_threadline.messages import DIRECTIONS
from instar_threadline.record import schema
from instar_threadline.record.findings import Finding
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.lines import MAX_INSTANT_MS, iso_instant
from instar_threadline.record.readers import MESSAGE_COLUMNS, Readers, Stored, json_list, stored
from instar_threadline.record.rows import ThreadFigures
from instar_threadline.record.schema import IDS_A_MS
from instar_threadline.record.shapes import (
    MessageView,
    Stats,
    ThreadIntegrity,
    ThreadSummary,
    message_view,
    shown_name,
)
from instar_threadline.record.signing import thread_tag, whole_text
from instar_threadline.record.verify import Counts, StreamVerdict, Tally, Verdict, verdict_of
from instar_threadline.sources.statefiles import Known, StateFiles

PAGE_THREADS = 200
PAGE_MESSAGES = 500
PAGE_CHARS = 4 << 20
"""Of all texts on a page: a peer may send a thousand messages of a megabyte each."""

HasTopic = Literal["yes", "no"]

_ID = re.compile("-?[0-9]{1,19}")
_COLUMNS = tuple(f for f in ThreadFigures.__struct_fields__ if f != "stale")
_THREADS = f"SELECT {', '.join(_COLUMNS)} FROM threads"


class ThreadPage(Record, frozen=True, kw_only=True):
    """A page of the list."""

    threads: tuple[ThreadSummary, ...]
    total: int
    next_cursor: str | None


class ThreadDetail(Record, frozen=True, kw_only=True):
    """A thread and a page of its messages, oldest first."""

    summary: ThreadSummary
    messages: tuple[MessageView, ...]
    older_cursor: str | None
    """For the page before this one; None when this one begins the thread."""
    newer_cursor: str


class Views:
    """Answers about one index. Callable from any thread."""

    def __init__(self, readers: Readers, files: StateFiles, keyring: Keyring) -> None:
        self._readers = readers
        self._files = files
        self._keyring = keyring

    def threads(
        self,
        *,
        remote_agent: str = "",
        since_ms: int | None = None,
        until_ms: int | None = None,
        has_topic: HasTopic | None = None,
        limit: int = PAGE_THREADS,
        cursor: str | None = None,
    ) -> ThreadPage:
        """Threads, the latest first. Raises IndexUnavailable or BadCursor."""
        known = self._files.known()
        with self._readers.connection() as connection:
            where, values = _thread_filter(
                connection, known, remote_agent, since_ms, until_ms, has_topic
            )
            count = f"SELECT count(*) FROM threads WHERE {where}"
            total = schema.rows(connection, count, tuple(values))[0][0]
            if cursor is not None:
                where += " AND (last_at, subject_id) < (?, ?)"
                values += _pair(cursor)
            query = f"{_THREADS} WHERE {where} ORDER BY last_at DESC, subject_id DESC LIMIT ?"
            found = schema.rows(connection, query, (*values, limit + 1))
            missing = _missing_by_tag(connection)
        rows = [_figures(row) for row in found[:limit]]
        last = rows[-1] if len(found) > limit else None
        return ThreadPage(
            threads=tuple(self._summary(row, known, missing) for row in rows),
            total=total,
            next_cursor=f"{last.last_at}.{last.subject_id}" if last is not None else None,
        )

    def thread(
        self, thread_id: str, *, limit: int = PAGE_MESSAGES, before: str | None = None
    ) -> ThreadDetail | None:
        """A thread and its last messages, or those before a cursor; None if unknown. At most
        `limit`, and less where they are long."""
        if (
            whole_text(thread_id) != thread_id
        ):  # no thread is called so, and SQLite takes no such text
            return None
        known = self._files.known()
        below = id_of(before) if before is not None else (MAX_INSTANT_MS + 1) * IDS_A_MS
        with self._readers.connection() as connection:
            found = schema.rows(connection, f"{_THREADS} WHERE thread_id = ?", (thread_id,))
            if not found:
                return None
            figures = _figures(found[0])
            query = (
                f"SELECT {MESSAGE_COLUMNS} FROM of_thread o CROSS JOIN messages m ON m.id = o.id"
                " CROSS JOIN threads t ON t.id = o.thread"
                " WHERE o.thread = ? AND o.id < ? ORDER BY o.id DESC LIMIT ?"
            )
            page, more = _page(connection, query, (figures.id, below, limit + 1), limit)
            missing = _missing_by_tag(connection)
        page.reverse()
        return ThreadDetail(
            summary=self._summary(figures, known, missing),
            messages=tuple(message_view(one, known) for one in page),
            older_cursor=str(page[0].id) if more else None,
            newer_cursor=str(page[-1].id) if page else str(below),
        )

    def thread_ids(self) -> list[str]:
        """Of all threads there are now, the latest first: threads move while they are listed."""
        with self._readers.connection() as connection:
            query = "SELECT thread_id FROM threads ORDER BY last_at DESC, subject_id DESC"
            return [thread_id for (thread_id,) in schema.rows(connection, query)]

    def messages(self, thread_id: str) -> Iterator[MessageView]:
        """All messages of a thread, oldest first, a page in memory at a time. Raises
        IndexUnavailable."""
        after = -(MAX_INSTANT_MS + 1) * IDS_A_MS
        query = (
            f"SELECT {MESSAGE_COLUMNS} FROM threads t CROSS JOIN of_thread o ON o.thread = t.id"
            " CROSS JOIN messages m ON m.id = o.id"
            " WHERE t.thread_id = ? AND o.id > ? ORDER BY o.id LIMIT ?"
        )
        more = True
        while more:
            known = self._files.known()
            with self._readers.connection() as connection:
                values = (thread_id, after, PAGE_MESSAGES + 1)
                page, more = _page(connection, query, values, PAGE_MESSAGES)
            for one in page:
                after = one.id
                yield message_view(one, known)

    def stats(self) -> Stats:
        """Figures over all threads."""
        query = (
            "SELECT count(*), sum(inbound), sum(outbound), sum(unverified), sum(bad),"
            " sum(conflicts), sum(waiting), sum(waits), sum(waits_sum), min(first_at), max(last_at)"
            " FROM threads"
        )
        with self._readers.connection() as connection:
            row = schema.rows(connection, query)[0]
            unreadable = schema.rows(connection, "SELECT count(*) FROM unreadable")[0][0]
        (
            count,
            inbound,
            outbound,
            unverified,
            bad,
            conflicts,
            waiting,
            waits,
            waited,
            first,
            last,
        ) = row
        return Stats(
            threads=count,
            messages=(inbound or 0) + (outbound or 0),
            inbound=inbound or 0,
            outbound=outbound or 0,
            unverified=unverified or 0,
            bad=bad or 0,
            unreadable=unreadable,
            conflicts=conflicts or 0,
            waiting=waiting or 0,
            avg_response_latency_ms=_mean(waited or 0, waits or 0),
            first_seen=iso_instant(first) if count else None,
            last_seen=iso_instant(last) if count else None,
        )

    def integrity(self) -> Verdict:
        """What the index found while it read; `verify` reads everything again."""
        with self._readers.connection() as connection:
            streams = dict(schema.rows(connection, "SELECT direction, tally FROM streams"))
            found = schema.rows(connection, "SELECT finding FROM findings")
        findings = [msgspec.json.decode(row[0], type=Finding) for row in found]
        verdicts: list[StreamVerdict] = []
        for direction in DIRECTIONS:
            counts = msgspec.json.decode(streams.get(direction, b"{}"), type=Counts)
            mine = [one for one in findings if one.direction == direction]
            verdicts.append(Tally.restored(direction, counts, mine).verdict())
        return verdict_of(tuple(verdicts))

    def _summary(self, row: ThreadFigures, known: Known, missing: Counter[str]) -> ThreadSummary:
        return ThreadSummary(
            thread_id=row.thread_id,
            remote_agent=row.peer,
            remote_agent_name=shown_name(row.peer, row.peer_name, known),
            message_count=row.inbound + row.outbound,
            inbound_count=row.inbound,
            outbound_count=row.outbound,
            first_seen=iso_instant(row.first_at),
            last_seen=iso_instant(row.last_at),
            avg_response_latency_ms=_mean(row.waits_sum, row.waits),
            bridge=known.bindings.get(row.thread_id),
            has_spawned_session=row.thread_id in known.sessions,
            subject=row.subject,
            waiting=row.waiting,
            several_peers=bool(row.mixed),
            integrity=self._integrity(row, missing),
        )

    def _integrity(self, row: ThreadFigures, missing: Counter[str]) -> ThreadIntegrity:
        gone = 0
        if missing:
            keys = self._keyring.newest_first()
            gone = sum(missing[thread_tag(key.chain, row.thread_id)] for key in keys)
        completeness: Literal["complete", "short", "unknown"] = "complete"
        if gone:
            completeness = "short"
        elif row.unchained or row.bad:
            completeness = "unknown"
        return ThreadIntegrity(
            state="broken" if row.bad else "ok",
            completeness=completeness,
            bad=row.bad,
            unverified=row.unverified,
            unchained=row.unchained,
            conflicts=row.conflicts,
            missing=gone,
        )


def id_of(cursor: str) -> int:
    """The id of a message that a cursor names. Raises BadCursor."""
    if not _ID.fullmatch(cursor) or abs(int(cursor)) > 1 << 62:
        raise BadCursor("cursor has to be one that an earlier answer gave")
    return int(cursor)


def peers_like(connection: apsw.Connection, known: Known, wanted: str) -> list[tuple[str, str]]:
    """(peer, name in the message) of every agent whose id or name contains `wanted`."""
    pairs = schema.rows(connection, "SELECT peer, peer_name FROM peers")
    folded = wanted.casefold()
    return [
        (peer, name)
        for peer, name in pairs
        if folded in peer.casefold() or folded in shown_name(peer, name, known).casefold()
    ]


def _thread_filter(
    connection: apsw.Connection,
    known: Known,
    remote_agent: str,
    since_ms: int | None,
    until_ms: int | None,
    has_topic: HasTopic | None,
) -> tuple[str, list[Any]]:
    where, values = ["1"], list[Any]()
    if remote_agent:
        pairs = peers_like(connection, known, remote_agent)
        where.append("(peer, peer_name) IN (SELECT value->>0, value->>1 FROM json_each(?))")
        values.append(json_list(pairs))
    if since_ms is not None:
        where.append("last_at >= ?")
        values.append(since_ms)
    if until_ms is not None:
        where.append("first_at <= ?")
        values.append(until_ms)
    if has_topic is not None:
        negation = "" if has_topic == "yes" else "NOT "
        where.append(f"thread_id {negation}IN (SELECT value FROM json_each(?))")
        values.append(json_list(list(known.bindings)))
    return " AND ".join(where), values


def _missing_by_tag(connection: apsw.Connection) -> Counter[str]:
    """How many lines each thread, by its tag, is known to have lost."""
    lost: Counter[str] = Counter()
    for (raw,) in schema.rows(connection, "SELECT finding FROM findings"):
        finding = msgspec.json.decode(raw, type=Finding)
        if finding.kind not in ("altered", "inserted"):
            lost.update(finding.threads)
    return lost


def _page(
    connection: apsw.Connection, query: str, values: tuple[Any, ...], limit: int
) -> tuple[list[Stored], bool]:
    """(the first messages that a query finds, at least one; whether there are more)."""
    page: list[Stored] = []
    chars = 0
    cursor = connection.execute(query, values)
    try:
        for row in cursor:
            if len(page) == limit or chars >= PAGE_CHARS:
                return page, True
            page.append(stored(row))
            chars += len(page[-1].message.text)
    finally:
        cursor.close()
    return page, False


def _figures(row: Sequence[Any]) -> ThreadFigures:
    return ThreadFigures(*row)


def _mean(total: int, count: int) -> int | None:
    return round(total / count) if count else None


def _pair(cursor: str) -> list[int]:
    first, _, second = cursor.partition(".")
    return [id_of(first), id_of(second)]
