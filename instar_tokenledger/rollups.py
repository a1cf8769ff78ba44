"""Totals by quarter of an hour, day and session, kept in the transaction of the requests that
they sum.

A change is the difference between what a request was and what it is, so that a request that
grows, moves or is found to be part of another leaves the totals right. Whatever a question's
window cuts through is answered from the requests; the totals answer what lies whole inside it.
Knows no clock and no window.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Any, NamedTuple

import apsw

from instar_tokenledger.accounting import (
    Request,
    estimated_missing,
)
from instar_tokenledger.interning import Interned
from instar_tokenledger.schema import DAY_MS, DAYS_A_BLOCK, QUARTER_MS
from instar_tokenledger.usage import KINDS, Counters, UsageRow

MESSAGE = KINDS.index("message")
FALLBACK = KINDS.index("fallback")
QUARTERS_A_DAY = DAY_MS // QUARTER_MS
QUARTERS_AN_HOUR = 4
NO_NAME = 0
MOST = 2**60
"""Where a total stops growing: no agent gets near it, and a forged transcript stops nothing."""

Sums = list[int]
Key = tuple[int, ...]


def total(column: str) -> str:
    """SQL for a sum that never overflows: exact up to 2**53, bounded by `MOST`."""
    return f"CAST(min(total({column}), {MOST}) AS INTEGER)"


AT_ENDS_OF_PLACE = " OR ".join(
    f"r.at_ms / {QUARTER_MS} = (SELECT {end}(at_ms / {QUARTER_MS}) FROM requests"
    " WHERE place = places.id)"
    for end in ("min", "max")
)
"""SQL for: in the first or the last quarter in which there is a request of its place."""


def added(column: str) -> str:
    """SQL for a column that grows in an upsert, up to `MOST`."""
    # An addition that overflows becomes a REAL, and the smaller of the two an integer again.
    return f"{column} = min({column} + excluded.{column}, {MOST})"


_TOKENS = ("input", "output", "cache_create", "cache_read")
_MISSING = ("partial", "missing")


class Facts(NamedTuple):
    """What the totals need to know of one request."""

    at_ms: int
    session: str
    project: str
    entries: tuple[tuple[int, str, Counters], ...]
    """(number of the kind, model, counters): the message first, then its iterations."""
    partial: bool
    missing: int


class Change(NamedTuple):
    """A request as it was (None: new) and as it is (None: now part of another)."""

    before: Facts | None
    after: Facts | None


def facts_of(request: Request) -> Facts:
    """The facts of a request as it stands now."""
    model = request.description.model
    entries: tuple[tuple[int, str, Counters], ...] = ((MESSAGE, model, request.counters),)
    if request.iterations:
        entries += tuple(
            (KINDS.index(kind), own_model or model, counters)
            for (kind, _), (own_model, counters) in request.iterations.items()
        )
    partial = request.partial
    missing = estimated_missing(request.contents, request.counters.output) if partial else 0
    origin = request.origin
    return Facts(origin.at_ms, origin.session, origin.project, entries, partial, missing)


class Totals:
    """Differences, summed by key before they are written."""

    def __init__(self, names: Interned) -> None:
        self._names = names
        self._usage: dict[Key, Sums] = {}
        """By (quarter, project, model, kind): requests, then the four sums of tokens."""
        self._partial: dict[int, Sums] = {}
        """By quarter: partial requests, missing output."""
        self._sessions: dict[Key, Sums] = {}
        """By (session, project): requests, tokens, first, last."""
        self._moved: set[Key] = set()
        """(session, project) whose first and last instants have to be looked up again."""
        self.sessions: set[str] = set()
        """Names of the sessions that gained something."""

    def change(self, change: Change) -> None:
        """Take in what became of one request."""
        before, after = change
        if before is not None:
            self._add(before, -1)
            if after is None or before[:3] != after[:3]:
                session = self._names.session(before.session)
                self._moved.add((session, self._number(before.project)))
        if after is not None:
            self._add(after, 1)
            self.sessions.add(after.session)

    def of_messages(self, quarter: int, project: int, model: int) -> Sums:
        """Requests and the four sums of tokens of messages, to be added to."""
        return self._of((quarter, project, model, MESSAGE))

    def of_session(self, session: int, project: int, at_ms: int) -> Sums:
        """Requests, tokens, first and last of a session in a project, to be added to by somebody
        who was active there at `at_ms`."""
        sums = self._sessions.get((session, project))
        if sums is None:
            sums = self._sessions[session, project] = [0, 0, at_ms, at_ms]
        return sums

    def add_partial(self, quarter: int, requests: int, missing: int) -> None:
        """Take in placeholders, and what they leave out."""
        sums = self._partial.setdefault(quarter, [0, 0])
        sums[0] += requests
        sums[1] += missing

    def add_iterations(self, row: UsageRow, quarter: int, project: int, model: int) -> int:
        """Take in what a row has beside its message; returns the tokens that are billed of it."""
        tokens = 0
        for entry in row.iterations:
            kind = KINDS.index(entry.kind)
            of = self._number(entry.model) if entry.model else model
            self._add_usage((quarter, project, of, kind), 1, entry.counters)
            tokens += sum(entry.counters[:4]) if kind != FALLBACK else 0
        return tokens

    def write(self, connection: apsw.Connection) -> None:
        """Bring the tables up to date; the requests must be written already."""
        self._names.write()
        quarters, models, projects = _by_kind_model_project(self._usage)
        for quarter, gaps in self._partial.items():
            quarters[quarter, MESSAGE][5:] = gaps
        hours = _coarser(quarters, QUARTERS_AN_HOUR)
        for table, keys, columns, rows in (
            ("quarters", ("quarter", "kind"), (*_TOKENS, *_MISSING), quarters),
            ("quarter_usage", ("quarter", "project", "model", "kind"), _TOKENS, self._usage),
            ("hours", ("hour", "kind"), (*_TOKENS, *_MISSING), hours),
            ("days", ("day", "kind"), (*_TOKENS, *_MISSING), _coarser(hours, 24)),
            ("day_models", ("day", "model", "kind"), _TOKENS, models),
            ("day_projects", ("day", "project"), ("tokens",), projects),
            ("block_projects", ("block", "project"), ("tokens",), _coarser(projects, DAYS_A_BLOCK)),
        ):
            _write(connection, table, keys, ("requests", *columns), rows)
        _write_sessions(connection, self._sessions, self._moved)

    def _add(self, facts: Facts, sign: int) -> None:
        quarter = facts.at_ms // QUARTER_MS
        project = self._number(facts.project)
        tokens = 0
        for kind, model, counters in facts.entries:
            self._add_usage((quarter, project, self._number(model), kind), sign, counters)
            tokens += sum(counters[:4]) if kind != FALLBACK else 0
        if facts.partial:
            self.add_partial(quarter, sign, sign * facts.missing)
        sums = self.of_session(self._names.session(facts.session), project, facts.at_ms)
        sums[0] += sign
        sums[1] += sign * tokens
        sums[2] = min(sums[2], facts.at_ms)
        sums[3] = max(sums[3], facts.at_ms)

    def _add_usage(self, key: Key, sign: int, counters: Counters) -> None:
        sums = self._of(key)
        sums[0] += sign
        for i in range(4):
            sums[1 + i] += sign * counters[i]

    def _of(self, key: Key) -> Sums:
        sums = self._usage.get(key)
        if sums is None:
            sums = self._usage[key] = [0, 0, 0, 0, 0]
        return sums

    def _number(self, name: str) -> int:
        return self._names.name(name) or NO_NAME


def _by_kind_model_project(
    usage: Mapping[Key, Sums],
) -> tuple[dict[Key, Sums], dict[Key, Sums], dict[Key, Sums]]:
    """Sums by (quarter, kind), with room for what placeholders leave out; by (day, model, kind);
    and of what is billed by (day, project)."""
    quarters: dict[Key, Sums] = {}
    models: dict[Key, Sums] = {}
    projects: dict[Key, Sums] = {}
    for (quarter, project, model, kind), sums in usage.items():
        day = quarter // QUARTERS_A_DAY
        requests, fresh, output, create, read = sums
        _add_to(quarters, (quarter, kind), (requests, fresh, output, create, read, 0, 0))
        _add_to(models, (day, model, kind), sums)
        # Iterations are parts of a request, no further one.
        billed = 0 if kind == FALLBACK else fresh + output + create + read
        _add_to(projects, (day, project), (requests if kind == MESSAGE else 0, billed))
    return quarters, models, projects


def _coarser(totals: Mapping[Key, Sums], units: int) -> dict[Key, Sums]:
    """Totals by `units` of the unit that the first part of their key counts."""
    found: dict[Key, Sums] = {}
    for (number, of), sums in totals.items():
        _add_to(found, (number // units, of), sums)
    return found


def _add_to(totals: dict[Key, Sums], key: Key, sums: Sequence[int]) -> None:
    known = totals.get(key)
    totals[key] = list(sums) if known is None else list(map(add, known, sums))


def _write(
    connection: apsw.Connection,
    table: str,
    keys: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Mapping[Key, Sums],
) -> None:
    """Add to a table's rows; those that no request stands behind any longer go."""
    marks = ", ".join("?" * (len(keys) + len(columns)))
    connection.executemany(
        f"INSERT INTO {table} ({', '.join((*keys, *columns))}) VALUES ({marks})"
        f" ON CONFLICT DO UPDATE SET {', '.join(map(added, columns))}",
        _rows(rows),
    )
    where = " AND ".join(f"{key} = ?" for key in keys)
    connection.executemany(
        f"DELETE FROM {table} WHERE {where} AND requests = 0",
        [key for key, sums in rows.items() if sums[0] < 0],
    )


def _write_sessions(connection: apsw.Connection, totals: dict[Key, Sums], moved: set[Key]) -> None:
    rows = _rows(totals)
    columns = f"{added('requests')}, {added('tokens')}"
    ends = "first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)"
    connection.executemany(
        "INSERT INTO session_usage VALUES (?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT DO UPDATE SET {columns}, {ends}",
        rows,
    )
    for session, project in moved:
        _look_up_span(connection, session, project)
    several = _in_several_projects(connection, totals) | {session for session, _ in moved}
    connection.executemany(
        "INSERT INTO session_totals VALUES (?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT DO UPDATE SET {columns}, {ends}",
        [row for row in rows if row[0] not in several] if several else rows,
    )
    sessions = [(session,) for session in several]
    connection.executemany(
        "DELETE FROM session_totals WHERE session = ?1"
        " AND NOT EXISTS (SELECT 1 FROM session_usage WHERE session = ?1)",
        sessions,
    )
    # Of projects that begin at one instant the known one stays: what told it may be gone.
    connection.executemany(
        "INSERT OR REPLACE INTO session_totals SELECT session, (SELECT project FROM session_usage"
        " WHERE session = ?1 ORDER BY first_ms, project IS NOT"
        " (SELECT project FROM session_totals WHERE session = ?1) LIMIT 1),"
        f" sum(requests), {total('tokens')}, min(first_ms), max(last_ms)"
        " FROM session_usage WHERE session = ?1 GROUP BY session",
        sessions,
    )
    _settle_projects(connection, several)


def _in_several_projects(connection: apsw.Connection, keys: Iterable[Key]) -> set[int]:
    """Those of some sessions that were active in more than one project."""
    found: list[Any] = connection.execute(
        "SELECT value FROM json_each(?)"
        " WHERE (SELECT count(*) FROM session_usage WHERE session = value) > 1",
        (json.dumps(list({session for session, _ in keys})),),
    ).fetchall()
    return {session for (session,) in found}


def _look_up_span(connection: apsw.Connection, session: int, project: int) -> None:
    """Find first and last again, for a session one of whose requests changed or went."""
    ((first, last),) = connection.execute(
        "SELECT min(first_ms), max(last_ms) FROM ("
        "SELECT min(at_ms) AS first_ms, max(at_ms) AS last_ms"
        f" FROM places JOIN requests r ON r.place = places.id AND ({AT_ENDS_OF_PLACE})"
        " WHERE session = ?1 AND coalesce(project, 0) = ?2 UNION ALL"
        " SELECT min(first_ms), max(last_ms) FROM pruned WHERE session = ?1 AND project = ?2)",
        (session, project),
    ).fetchall()
    if first is None:
        connection.execute(
            "DELETE FROM session_usage WHERE session = ? AND project = ?", (session, project)
        )
    else:
        connection.execute(
            "UPDATE session_usage SET first_ms = ?, last_ms = ? WHERE session = ? AND project = ?",
            (first, last, session, project),
        )


def _settle_projects(connection: apsw.Connection, sessions: Iterable[int]) -> None:
    """Where two projects begin at the same instant, the order of their files decides."""
    rivalled = connection.execute(
        "SELECT session FROM json_each(?) j JOIN session_totals t ON t.session = j.value"
        " JOIN session_usage u USING (session)"
        " WHERE u.first_ms = t.first_ms GROUP BY session HAVING count(*) > 1",
        (json.dumps(list(sessions)),),
    ).fetchall()
    connection.executemany(
        "UPDATE session_totals SET project = coalesce((SELECT coalesce(project, 0) FROM places"
        " JOIN requests ON requests.place = places.id"
        " LEFT JOIN files ON files.id = file LEFT JOIN folders ON folders.id = folder"
        f" WHERE places.session = ?1 AND at_ms / {QUARTER_MS} = first_ms / {QUARTER_MS}"
        " AND at_ms = first_ms"
        " ORDER BY file IS NULL, folders.path || '/' || files.name, offset LIMIT 1), project)"
        " WHERE session = ?1",
        rivalled,
    )


def _rows(sums: Mapping[Key, Sums]) -> list[tuple[int, ...]]:
    """Keys and sums as rows in the order of the keys, within what SQLite can hold: only a forged
    transcript gets there.

    Sums that are all nothing change nothing, and are left out.
    """
    rows = [(*key, *s) for key, s in sums.items() if any(s)]
    rows.sort()
    if rows and (max(map(max, rows)) > MOST or min(map(min, rows)) < -MOST):
        rows = [tuple(max(-MOST, min(MOST, value)) for value in row) for row in rows]
    return rows
