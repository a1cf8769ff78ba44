"""Totals by quarter of an hour, day and session, kept in the transaction of the requests that
they sum.

A change is the difference between what a request was and what it is, so that a request that
grows, moves or is found to be part of another leaves the totals right. Whatever a question's
window cuts through is answered from the requests; the totals answer what lies whole inside it.
Knows no clock and no window.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import apsw

from instar_tokenledger.accounting import (
    CHARS_PER_TOKEN,
    PARTIAL_OUTPUT,
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


def _added(column: str) -> str:
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
        self._moved: set[tuple[int, int]] = set()
        """Sessions whose first and last instants have to be looked up again."""
        self.sessions: set[str] = set()
        """Names of the sessions that gained something."""

    def change(self, change: Change) -> None:
        """Take in what became of one request."""
        before, after = change
        if before is not None:
            self._add(before, -1)
            self._moved.add((self._names.session(before.session), self._number(before.project)))
        if after is not None:
            self._add(after, 1)
            self.sessions.add(after.session)

    def add_row(self, row: UsageRow, session: int, project: int, model: int) -> None:
        """A new request that one row tells alone, with the numbers of its names."""
        counters = row.counters
        fresh, output, create, read = counters[:4]
        at_ms = row.at_ms
        quarter = at_ms // QUARTER_MS
        key = (quarter, project, model, MESSAGE)
        sums = self._usage.get(key)
        if sums is None:
            self._usage[key] = [1, fresh, output, create, read]
        else:
            sums[0] += 1
            sums[1] += fresh
            sums[2] += output
            sums[3] += create
            sums[4] += read
        tokens = fresh + output + create + read
        if row.iterations:
            tokens += self._add_iterations(row, quarter, project, model)
        if output <= PARTIAL_OUTPUT and not row.has_stop and not row.rich:
            chars = sum(chars for _, chars in row.contents)
            self._add_partial(quarter, 1, max(0, round(chars / CHARS_PER_TOKEN) - output))
        self._add_session(session, project, 1, tokens, at_ms)
        self.sessions.add(row.session)

    def write(self, connection: apsw.Connection) -> None:
        """Bring the tables up to date; the requests must be written already."""
        self._names.write()
        usage, by_day = self._usage, _summed((_by_day(key), s) for key, s in self._usage.items())
        quarters = _by_kind(usage, self._partial)
        models = _summed(((day, m, kind), sums) for (day, _, m, kind), sums in by_day.items())
        projects = _summed(((day, p), _billed(kind, s)) for (day, p, _, kind), s in by_day.items())
        hours = _summed(((q // QUARTERS_AN_HOUR, kind), s) for (q, kind), s in quarters.items())
        days = _summed(((hour // 24, kind), s) for (hour, kind), s in hours.items())
        blocks = _summed(((day // DAYS_A_BLOCK, p), s) for (day, p), s in projects.items())
        for table, keys, columns, rows in (
            ("quarters", ("quarter", "kind"), (*_TOKENS, *_MISSING), quarters),
            ("quarter_usage", ("quarter", "project", "model", "kind"), _TOKENS, usage),
            ("hours", ("hour", "kind"), (*_TOKENS, *_MISSING), hours),
            ("days", ("day", "kind"), (*_TOKENS, *_MISSING), days),
            ("day_models", ("day", "model", "kind"), _TOKENS, models),
            ("day_projects", ("day", "project"), ("tokens",), projects),
            ("block_projects", ("block", "project"), ("tokens",), blocks),
        ):
            _write(connection, table, keys, ("requests", *columns), rows)
        _write_sessions(connection, self._sessions, self._moved, self._names.session_is_new)
        self._names.sessions_are_known()

    def _add(self, facts: Facts, sign: int) -> None:
        quarter = facts.at_ms // QUARTER_MS
        project = self._number(facts.project)
        tokens = 0
        for kind, model, counters in facts.entries:
            self._add_usage((quarter, project, self._number(model), kind), sign, counters)
            tokens += sum(counters[:4]) if kind != FALLBACK else 0
        if facts.partial:
            self._add_partial(quarter, sign, sign * facts.missing)
        session = self._names.session(facts.session)
        self._add_session(session, project, sign, sign * tokens, facts.at_ms)

    def _add_usage(self, key: Key, sign: int, counters: Counters) -> None:
        sums = self._usage.get(key)
        if sums is None:
            sums = self._usage[key] = [0, 0, 0, 0, 0]
        sums[0] += sign
        sums[1] += sign * counters[0]
        sums[2] += sign * counters[1]
        sums[3] += sign * counters[2]
        sums[4] += sign * counters[3]

    def _add_iterations(self, row: UsageRow, quarter: int, project: int, model: int) -> int:
        """Returns the tokens that are billed beside the message's own."""
        tokens = 0
        for entry in row.iterations:
            kind = KINDS.index(entry.kind)
            of = self._number(entry.model) if entry.model else model
            self._add_usage((quarter, project, of, kind), 1, entry.counters)
            tokens += sum(entry.counters[:4]) if kind != FALLBACK else 0
        return tokens

    def _add_partial(self, quarter: int, requests: int, missing: int) -> None:
        sums = self._partial.setdefault(quarter, [0, 0])
        sums[0] += requests
        sums[1] += missing

    def _add_session(
        self, session: int, project: int, requests: int, tokens: int, at_ms: int
    ) -> None:
        sums = self._sessions.get((session, project))
        if sums is None:
            self._sessions[session, project] = [requests, tokens, at_ms, at_ms]
            return
        sums[0] += requests
        sums[1] += tokens
        sums[2] = min(sums[2], at_ms)
        sums[3] = max(sums[3], at_ms)

    def _number(self, name: str) -> int:
        return self._names.name(name) or NO_NAME


def _summed(items: Iterable[tuple[Key, Sums]]) -> dict[Key, Sums]:
    """Sums of equal keys added up, place by place."""
    found: dict[Key, Sums] = {}
    for key, sums in items:
        known = found.get(key)
        if known is None:
            found[key] = list(sums)
        else:
            for i, value in enumerate(sums):
                known[i] += value
    return found


def _by_day(key: Key) -> Key:
    return (key[0] // QUARTERS_A_DAY, *key[1:])


def _by_kind(usage: Mapping[Key, Sums], partials: Mapping[int, Sums]) -> dict[Key, Sums]:
    """By (quarter, kind), with what the placeholders of a quarter leave out."""
    found = _summed(((quarter, kind), [*s, 0, 0]) for (quarter, _, _, kind), s in usage.items())
    for quarter, missing in partials.items():
        found[quarter, MESSAGE][5:] = missing
    return found


def _billed(kind: int, sums: Sums) -> Sums:
    """Requests and tokens of what is billed: iterations are parts of a request, no further one."""
    return [sums[0] if kind == MESSAGE else 0, 0 if kind == FALLBACK else sum(sums[1:])]


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
        f" ON CONFLICT DO UPDATE SET {', '.join(map(_added, columns))}",
        _rows(rows),
    )
    where = " AND ".join(f"{key} = ?" for key in keys)
    connection.executemany(
        f"DELETE FROM {table} WHERE {where} AND requests = 0",
        [key for key, sums in rows.items() if sums[0] < 0],
    )


def _write_sessions(
    connection: apsw.Connection,
    totals: dict[Key, Sums],
    moved: set[tuple[int, int]],
    is_new: Callable[[int], bool],
) -> None:
    connection.executemany(
        "INSERT INTO session_usage VALUES (?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT DO UPDATE SET {_added('requests')}, {_added('tokens')},"
        " first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)",
        _rows(totals),
    )
    for session, project in moved:
        _look_up_span(connection, session, project)
    simple, rest = _told_by_one(totals, is_new)
    connection.executemany("INSERT INTO session_totals VALUES (?, ?, ?, ?, ?, ?)", _rows(simple))
    sessions = {(session,) for session, _ in rest}
    connection.executemany("DELETE FROM session_totals WHERE session = ?", sessions)
    connection.executemany(
        "INSERT INTO session_totals SELECT session, (SELECT project FROM session_usage"
        f" WHERE session = ?1 ORDER BY first_ms LIMIT 1), sum(requests), {total('tokens')},"
        " min(first_ms), max(last_ms) FROM session_usage WHERE session = ?1 GROUP BY session",
        sessions,
    )
    _settle_projects(connection, [session for (session,) in sessions])


def _told_by_one(
    totals: Mapping[Key, Sums], is_new: Callable[[int], bool]
) -> tuple[dict[Key, Sums], dict[Key, Sums]]:
    """Sessions nobody knew before with all of theirs in one project, and the others."""
    projects = Counter(session for session, _ in totals)
    simple = {k: s for k, s in totals.items() if projects[k[0]] == 1 and is_new(k[0]) and s[0] > 0}
    return simple, {k: s for k, s in totals.items() if k not in simple}


def _look_up_span(connection: apsw.Connection, session: int, project: int) -> None:
    """Find first and last again, for a session one of whose requests changed or went."""
    ((first, last),) = connection.execute(
        "SELECT min(first_ms), max(last_ms) FROM ("
        "SELECT min(at_ms) AS first_ms, max(at_ms) AS last_ms"
        " FROM places JOIN requests ON requests.place = places.id"
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


def _settle_projects(connection: apsw.Connection, sessions: list[int]) -> None:
    """Where two projects begin at the same instant, the order of their files decides."""
    rivalled = connection.execute(
        "SELECT session FROM json_each(?) j JOIN session_totals t ON t.session = j.value"
        " JOIN session_usage u USING (session)"
        " WHERE u.first_ms = t.first_ms GROUP BY session HAVING count(*) > 1",
        (json.dumps(sessions),),
    ).fetchall()
    connection.executemany(
        "UPDATE session_totals SET project = coalesce((SELECT coalesce(project, 0) FROM places"
        " JOIN requests ON requests.place = places.id"
        " LEFT JOIN files ON files.id = file LEFT JOIN folders ON folders.id = folder"
        " WHERE places.session = ?1 AND at_ms = first_ms"
        " ORDER BY file IS NULL, folders.path || '/' || files.name, offset LIMIT 1), project)"
        " WHERE session = ?1",
        rivalled,
    )


def _rows(sums: Mapping[Key, Sums]) -> list[tuple[int, ...]]:
    """Keys and sums as rows, within what SQLite can hold: only a forged transcript gets there.

    Sums that are all nothing change nothing, and are left out.
    """
    within = all(min(s) >= -MOST and max(s) <= MOST for s in sums.values())
    if within:
        return [(*key, *s) for key, s in sums.items() if any(s)]
    return [
        (*key, *(max(-MOST, min(MOST, value)) for value in s)) for key, s in sums.items() if any(s)
    ]
