"""What the ledger knows of sessions: lists of them, and one in every request.

As `queries`: read-only, exact for any window, ordered to the last tie, fetched at once. A
session's project is that of its earliest request, whatever the window.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import apsw
import msgspec

from instar_host.store.errors import shown
from instar_tokenledger.ids import MESSAGE, REQUEST, number_of, whole
from instar_tokenledger.queries import IN_QUARTERS, SESSIONS_IDLE, Json
from instar_tokenledger.rollups import FALLBACK, total
from instar_tokenledger.usage import KINDS
from instar_tokenledger.windows import END_OF_TIME, Window

WORTH = 4
"""How many sessions can be passed over in the order of their tokens while one is put there."""

_COLUMNS = "session, tokens, requests, first_ms, last_ms"
_ACTIVE = """
    SELECT count(*), json_group_array(json_array(session, tokens))
        FILTER (WHERE last_ms >= ?2 OR first_ms < ?1)
    FROM session_totals WHERE last_ms >= ?1 AND first_ms < ?2
"""
"""How many sessions may have been active, and which of them begin before or end after."""
_BY_TOKENS = "FROM session_totals INDEXED BY session_totals_tokens"
_BY_TIME = "FROM session_totals INDEXED BY session_totals_last"
_LIES_INSIDE = "last_ms >= ?1 AND first_ms >= ?1 AND last_ms < ?2"
_NAMES = """
    SELECT s.id, s.name, names.name FROM json_each(?) CROSS JOIN sessions s ON s.id = value
    JOIN session_totals t ON t.session = s.id LEFT JOIN names ON names.id = t.project
"""
_QUIET = "FROM session_totals WHERE last_ms >= ?1 AND last_ms < ?2"
_QUIET_NAMED = """
    SELECT session, s.name, names.name, first_ms, last_ms, tokens FROM session_totals t
    JOIN sessions s ON s.id = session LEFT JOIN names ON names.id = t.project
    WHERE last_ms BETWEEN ? AND ? ORDER BY last_ms DESC, s.name LIMIT ? OFFSET ?
"""
INSIDE = f"""
    SELECT {total("requests")}, {total("tokens")}, min(first_ms), max(last_ms), max(more) FROM (
        SELECT count(*) AS requests,
            {total("input + output + cache_create + cache_read")} AS tokens,
            min(at_ms) AS first_ms, max(at_ms) AS last_ms, max(flags & 32) AS more
        FROM places CROSS JOIN requests r ON r.place = places.id
        WHERE places.session = ?1 AND {IN_QUARTERS.format("?2", "?3")}
        UNION ALL
        SELECT {total("requests")}, {total("tokens")}, min(first_ms), max(last_ms), 0 FROM pruned
        WHERE session = ?1 AND first_ms >= ?2 AND last_ms < ?3
    )
"""
_INSIDE_ITERATIONS = f"""
    SELECT {total("i.input + i.output + i.cache_create + i.cache_read")}
    FROM places CROSS JOIN requests r ON r.place = places.id
    CROSS JOIN iterations i ON i.request = r.id
    WHERE places.session = ?1 AND {IN_QUARTERS.format("?2", "?3")}
    AND flags & 32 AND kind <> {FALLBACK}
"""
_REQUESTS = """
    SELECT r.id, r.at_ms, r.message_id, r.request_id, r.row_id, v.model, v.tier, v.speed,
        r.input, r.output, r.cache_create, r.cache_read, r.cache_5m, r.cache_1h, r.web_searches,
        r.web_fetches, r.thinking, flags & 4 = 0 AND output <= 10, p.sidechain, a.name, j.name,
        b.name, c.name, f.path, files.name, r.offset
    FROM sessions s JOIN places p ON p.session = s.id JOIN requests r ON r.place = p.id
    JOIN variants v ON v.id = r.variant LEFT JOIN names a ON a.id = p.agent
    LEFT JOIN names j ON j.id = p.project LEFT JOIN names b ON b.id = p.branch
    LEFT JOIN names c ON c.id = p.version LEFT JOIN files ON files.id = p.file
    LEFT JOIN folders f ON f.id = files.folder
    WHERE s.number = ? AND s.name = ?
    ORDER BY r.at_ms, f.path, files.name, r.offset, r.request_id, r.message_id, r.row_id
    LIMIT ? OFFSET ?
"""


_Row = tuple[int, int, int, int, int]
"""Session, tokens, requests, first, last."""


class Page(NamedTuple):
    """Some of the sessions of a window, and how many there are in all."""

    total: int
    sessions: list[Json]


class SessionQueries:
    """Questions about sessions over one read-only connection; one thread at a time. `worth` decides
    between two ways of finding a page, which give the same."""

    def __init__(self, connection: apsw.Connection, worth: int = WORTH) -> None:
        self._connection = connection
        self._worth = worth

    def page(self, window: Window, limit: int, offset: int = 0) -> Page:
        """Sessions active in `window` by their tokens inside it, most first."""
        active, encoded = self._all(_ACTIVE, window)[0]
        ends = msgspec.json.decode(encoded, type=list[tuple[int, int]])
        last = offset + limit
        # So many of those that lie inside come before the page, however large the others are.
        passed, whole = self._whole(window, active, max(0, offset - len(ends)), last)
        least = whole[-1][1] if passed + len(whole) >= last else 0
        cut, idle = self._cut(ends, window, least)
        if offset >= active - idle:
            return Page(active - idle, [])
        rows = sorted(whole + cut, key=lambda row: -row[1])
        first, last = offset - passed, min(last - passed, len(rows))
        return Page(active - idle, self._summed(self._in_order(rows, first, last)[first:last]))

    def _whole(self, window: Window, active: int, first: int, last: int) -> tuple[int, list[_Row]]:
        """Sessions that lie inside `window`, by tokens: the `first` up to, not including, the
        `last`, with all that equal any of them; before that, how many are larger than these."""
        begin = max(0, first - 1)
        rows = self._all(
            f"SELECT {_COLUMNS} {self._way(active, last)} WHERE {_LIES_INSIDE}"
            " ORDER BY tokens DESC LIMIT ?3 OFFSET ?4",
            (*window, last + 1 - begin, begin),
        )
        if not rows:
            return begin, []
        most, least = rows[0][1], rows[-1][1]
        ends = (*window, most, least)
        equal: list[_Row] = self._all(
            f"SELECT {_COLUMNS} {_BY_TOKENS} WHERE tokens IN (?3, ?4) AND {_LIES_INSIDE}", ends
        )
        if not begin:
            larger = 0
        elif most > least:
            met = sum(row[1] == most for row in rows)
            larger = begin + met - sum(row[1] == most for row in equal)
        else:
            count = f"SELECT count(*) {_BY_TOKENS} WHERE tokens > ?3 AND {_LIES_INSIDE}"
            larger = self._all(count, ends[:3])[0][0]
        among = [row for row in rows if least < row[1] < most]
        return larger, sorted(among + equal, key=lambda row: -row[1])

    def _way(self, active: int, last: int) -> str:
        """In the order of tokens, passing over what lies outside, or by time, to be put in order:
        what is quicker depends on how many there are, and how many are wanted."""
        sessions = self._all("SELECT coalesce(max(session), 0) FROM session_totals")[0][0]
        by_tokens = last * sessions <= self._worth * active * active
        return _BY_TOKENS if by_tokens else _BY_TIME

    def _cut(
        self, ends: list[tuple[int, int]], window: Window, least: int
    ) -> tuple[list[_Row], int]:
        """What lies inside `window` of (session, tokens in all) that begin before or end after it,
        where that may come to `least` tokens; and how many of all were not active there."""
        rows = [self._inside(session, window) for session, tokens in ends if tokens >= least]
        found = [row for row in rows if row[2]]
        small = [session for session, tokens in ends if tokens < least]
        idle = self._all(SESSIONS_IDLE, (*window, _json(small)))[0][0] if small else 0
        return found, len(rows) - len(found) + idle

    def _inside(self, session: int, window: Window) -> _Row:
        """What lies inside `window` of one session."""
        requests, tokens, first, last, more = self._all(INSIDE, (session, *window))[0]
        if more:
            tokens += self._all(_INSIDE_ITERATIONS, (session, *window))[0][0]
        return (session, tokens, requests, first, last)

    def _in_order(self, rows: list[_Row], first: int, last: int) -> list[_Row]:
        """`rows`, by tokens already, with equal ones by name wherever `first` to `last` has any."""
        while first > 0 and rows[first - 1][1] == rows[first][1]:
            first -= 1
        while last < len(rows) and rows[last][1] == rows[last - 1][1]:
            last += 1
        page = sorted(rows[first:last], key=lambda row: (-row[1], self._session_name(row[0])))
        return rows[:first] + page + rows[last:]

    def _summed(self, rows: list[_Row]) -> list[Json]:
        found = self._all(_NAMES, (_json([row[0] for row in rows]),))
        names = {session: (name, project) for session, name, project in found}
        return [
            {
                "sessionId": names[session][0],
                "projectPath": names[session][1],
                "totalTokens": tokens,
                "eventCount": requests,
                "firstTs": first,
                "lastTs": last,
            }
            for session, tokens, requests, first, last in rows
        ]

    def idle(
        self, idle_ms: int, now_ms: int, limit: int, offset: int = 0, since_ms: int = 0
    ) -> list[Json]:
        """Sessions with requests since `since_ms` and none for longer than `idle_ms`, the latest
        first; their tokens are those since then.
        """
        span = (since_ms, now_ms - idle_ms)
        newest_first = self._all(
            f"SELECT last_ms {_QUIET} ORDER BY last_ms DESC LIMIT ?3 OFFSET ?4",
            (*span, limit, offset),
        )
        if not newest_first:
            return []
        (newest,), (oldest,) = newest_first[0], newest_first[-1]
        later = self._all(f"SELECT count(*) {_QUIET} AND last_ms > ?3", (*span, newest))[0][0]
        window = Window(since_ms, END_OF_TIME)
        return [
            {
                "sessionId": name,
                "projectPath": project,
                "lastTs": last,
                "totalTokens": tokens if first >= since_ms else self._inside(number, window)[1],
                "idleMs": now_ms - last,
            }
            for number, name, project, first, last, tokens in self._all(
                _QUIET_NAMED, (oldest, newest, limit, offset - later)
            )
        ]

    def one(self, session: str) -> Json | None:
        """A session's totals and the agent's own; None when there is none of that name."""
        rows = self._all(
            "SELECT session, project, tokens, requests, first_ms, last_ms FROM session_totals"
            " JOIN sessions ON sessions.id = session WHERE number = ? AND name = ?",
            (number_of(session), session),
        )
        if not rows:
            return None
        number, project, tokens, requests, first, last = rows[0]
        return {
            "sessionId": session,
            "projectPath": self._name(project),
            "totalTokens": tokens,
            "eventCount": requests,
            "firstTs": first,
            "lastTs": last,
            "agentsOwnTotals": self._cost_states(number),
        }

    def requests(self, session: str, limit: int, offset: int = 0) -> list[Json]:
        """A session's requests in order of time, each down to the line it came from."""
        values = (number_of(session), session, limit, offset)
        return [self._request(row) for row in self._all(_REQUESTS, values)]

    def _request(self, row: tuple[Any, ...]) -> Json:
        (
            number, at_ms, message_id, request_id, row_id, model, tier, speed, *counters,
        ) = row[:17]  # fmt: skip
        partial, sidechain, agent, project, branch, version, folder, name, offset = row[17:]
        names = (
            "input", "output", "cacheCreate", "cacheRead", "cache5m", "cache1h", "webSearches",
            "webFetches", "thinking",
        )  # fmt: skip
        return {
            "messageId": whole(message_id, MESSAGE) or None,
            "requestId": whole(request_id, REQUEST) or None,
            "uuid": row_id,
            "ts": at_ms,
            "model": model or None,
            "serviceTier": tier or None,
            "speed": speed or None,
            **dict(zip(names, counters, strict=True)),
            "partial": bool(partial),
            "sidechain": bool(sidechain),
            "agentId": agent,
            "projectPath": project,
            "gitBranch": branch,
            "clientVersion": version,
            "file": None if folder is None else shown(os.path.join(folder, name)),
            "offset": None if folder is None else offset,
            "iterations": self._iterations(number),
        }

    def _iterations(self, request: int) -> list[Json]:
        return [
            {
                "kind": KINDS[kind],
                "model": model or None,
                "input": sums[0],
                "output": sums[1],
                "cacheCreate": sums[2],
                "cacheRead": sums[3],
            }
            for kind, model, *sums in self._all(
                "SELECT kind, model, input, output, cache_create, cache_read FROM iterations"
                " WHERE request = ? ORDER BY kind, place_in_list",
                (request,),
            )
        ]

    def _cost_states(self, session: int) -> list[Json]:
        return [
            {
                "model": model,
                "costUSD": micro / 1_000_000,
                "input": sums[0],
                "output": sums[1],
                "cacheCreate": sums[2],
                "cacheRead": sums[3],
            }
            for model, micro, *sums in self._all(
                "SELECT model, cost_micro_usd, input, output, cache_create, cache_read"
                " FROM cost_states WHERE session = ? ORDER BY model",
                (session,),
            )
        ]

    def _session_name(self, number: int) -> str:
        return str(self._all("SELECT name FROM sessions WHERE id = ?", (number,))[0][0])

    def _name(self, number: int) -> str | None:
        rows = self._all("SELECT name FROM names WHERE id = ?", (number,))
        return rows[0][0] if rows else None

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()


def _json(numbers: list[int]) -> str:
    return msgspec.json.encode(numbers).decode()
