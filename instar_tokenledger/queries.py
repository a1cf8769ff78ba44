"""What the ledger knows, as answers: read-only SQL in, JSON-able values out.

Every answer is exact to the millisecond for any window: totals give what lies whole inside it,
requests give the rest. Lists are ordered to the last tie, so that the same ledger always gives
the same answer. Each question is one read transaction; rows are fetched at once, so that no
reader holds the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw
import msgspec

from instar_tokenledger.accounting import CHARS_PER_TOKEN
from instar_tokenledger.retention import Horizon, horizon_of
from instar_tokenledger.rollups import FALLBACK, MESSAGE, total
from instar_tokenledger.schema import PARTIAL, QUARTER_MS
from instar_tokenledger.usage import KINDS
from instar_tokenledger.windows import Parts, Window, blocks, parts, quarter_span

Json = dict[str, Any]
COLUMNS = "requests, input, output, cache_create, cache_read"
SUMS = ", ".join(map(total, COLUMNS.split(", ")))
_GAPS = f"{total('partial')}, {total('missing')}"
_BILLED = f"""{total(f"requests * (kind = {MESSAGE})")},
    {total(f"(input + output + cache_create + cache_read) * (kind <> {FALLBACK})")}"""

_AT_EDGE = f"""quarter_places q CROSS JOIN requests r
    ON r.place = q.place AND r.at_ms / {QUARTER_MS} = +q.quarter AND at_ms >= ?1 AND at_ms < ?2"""
_EDGE_QUARTERS = f"quarter >= ?1 / {QUARTER_MS} AND quarter <= (?2 - 1) / {QUARTER_MS}"
ENTRIES = f"""(
    SELECT at_ms, r.place, {MESSAGE} AS kind, model, 1 AS requests, input, output, cache_create,
        cache_read
    FROM {_AT_EDGE} JOIN variants ON variants.id = variant WHERE {_EDGE_QUARTERS}
    UNION ALL
    SELECT at_ms, r.place, i.kind + (r.id IS NULL), coalesce(nullif(i.model, ''), variants.model),
        1, i.input, i.output, i.cache_create, i.cache_read
    FROM {_AT_EDGE} JOIN iterations i ON i.request = r.id JOIN variants ON variants.id = variant
    WHERE {_EDGE_QUARTERS} AND flags & 32
)"""
"""Every billed or listed entry between two instants: what the totals sum. A condition on the kind
of an iteration alone would have SQLite read all iterations for a filter; hence `r.id IS NULL`."""

_PARTIAL_AT_EDGE = f"""
    SELECT coalesce(max(chars), 0), output FROM (
        SELECT r.id, output, sum(chars) AS chars FROM {_AT_EDGE}
        LEFT JOIN contents c ON c.request = r.id
        WHERE {_EDGE_QUARTERS} AND {PARTIAL} GROUP BY r.id, c.file
    ) GROUP BY id, output
"""
_KINDS = f"""
    SELECT kind, {SUMS}, {_GAPS} FROM {{unit}}s WHERE {{unit}} >= ? AND {{unit}} < ? GROUP BY kind
"""
_BILLED_SUMS = f"{total(f'requests * (kind = {MESSAGE})')}, " + ", ".join(
    map(total, COLUMNS.split(", ")[1:])
)
_MODELS = f"""
    SELECT model, {_BILLED_SUMS} FROM {{table}}
    WHERE {{unit}} >= ? AND {{unit}} < ? AND kind <> {FALLBACK} GROUP BY model
"""
_MODELS_AT_EDGE = f"""
    SELECT coalesce(names.id, 0), {_BILLED_SUMS} FROM {ENTRIES} e
    LEFT JOIN names ON names.name = e.model WHERE kind <> {FALLBACK} GROUP BY 1
"""
_PROJECTS = f"""
    SELECT project, {total("requests")}, {total("tokens")} FROM {{unit}}_projects
    WHERE {{unit}} >= ? AND {{unit}} < ? GROUP BY project
"""
_PROJECTS_BY_QUARTER = f"""
    SELECT project, {_BILLED} FROM quarter_usage
    WHERE quarter >= ? AND quarter < ? GROUP BY project
"""
_PROJECTS_AT_EDGE = f"""
    SELECT coalesce(places.project, 0), {_BILLED} FROM {ENTRIES} e
    JOIN places ON places.id = e.place GROUP BY 1
"""
_BY_KIND_AT_EDGE = f"SELECT kind, {SUMS} FROM {ENTRIES} GROUP BY kind"
_FIRST_QUARTER = "SELECT min(quarter) FROM quarters WHERE quarter >= ? AND quarter < ?"
_LAST_QUARTER = "SELECT max(quarter) FROM quarters WHERE quarter >= ? AND quarter < ?"
IN_QUARTERS = f"""r.at_ms / {QUARTER_MS} >= {{0}} / {QUARTER_MS}
    AND r.at_ms / {QUARTER_MS} <= ({{1}} - 1) / {QUARTER_MS} AND at_ms >= {{0}} AND at_ms < {{1}}"""
"""From one instant up to, not including, another, as the index of a place's requests finds it."""
_IDLE = f"""u.last_ms >= ?2 AND u.first_ms < ?1 AND NOT EXISTS (
    SELECT 1 FROM places CROSS JOIN requests r ON r.place = places.id
    WHERE places.session = u.session AND {IN_QUARTERS.format("?1", "?2")}{{more}}) AND NOT EXISTS (
    SELECT 1 FROM pruned
    WHERE pruned.session = u.session AND first_ms >= ?1 AND last_ms < ?2{{pruned}})"""
SESSIONS_ACTIVE = f"""
    SELECT active - (SELECT count(*) FROM json_each(across) CROSS JOIN session_totals u
        ON u.session = value WHERE {_IDLE.format(more="", pruned="")})
    FROM (SELECT count(*) AS active,
            json_group_array(session) FILTER (WHERE last_ms >= ?2 AND first_ms < ?1) AS across
        FROM session_totals WHERE last_ms >= ?1 AND first_ms < ?2)
"""
"""A session that begins or ends inside the window was active there; only those that do neither,
and they are few, have to be looked into."""
SESSIONS_IDLE = f"""
    SELECT count(*) FROM json_each(?3) CROSS JOIN session_totals u ON u.session = value
    WHERE {_IDLE.format(more="", pruned="")}
"""
"""How many of some sessions were not active, though they were before and after."""
_PROJECT_SESSIONS = """
    SELECT project, count(*) FROM session_usage WHERE last_ms >= ?1 AND first_ms < ?2
    GROUP BY project
"""
_PROJECT_SESSIONS_IDLE = f"""
    SELECT u.project, count(*) FROM session_totals t JOIN session_usage u USING (session)
    WHERE ?1 < ?2 AND t.last_ms >= ?2 AND t.first_ms < ?1
    AND {
    _IDLE.format(
        more=" AND coalesce(places.project, 0) = u.project",
        pruned=" AND pruned.project = u.project",
    )
} GROUP BY u.project
"""
_ENDS_AT_EDGE = f"""
    SELECT min(first_ms), max(last_ms) FROM (
        SELECT min(at_ms) AS first_ms, max(at_ms) AS last_ms FROM {_AT_EDGE} WHERE {_EDGE_QUARTERS}
        UNION ALL
        SELECT min(first_ms), max(last_ms) FROM pruned
        WHERE {_EDGE_QUARTERS} AND first_ms >= ?1 AND last_ms < ?2
    )
"""


class Queries:
    """Questions to one ledger over one read-only connection; one thread at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    @contextmanager
    def at_one_instant(self) -> Iterator[None]:
        """Hold one snapshot, so that several questions agree with each other."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def summary(self, window: Window) -> Json:
        """Totals of a window, by kind, with what the transcripts left out."""
        kinds, partial = self._kinds(window)
        billed = [kinds[kind] for kind in KINDS if kind != "fallback"]
        oldest, newest = self._ends(window)
        sums = {name: sum(kind[name] for kind in billed) for name in billed[0]}
        return {
            "totalTokens": sums["input"] + sums["output"] + sums["cacheRead"] + sums["cacheCreate"],
            "totalInput": sums["input"],
            "totalOutput": sums["output"],
            "totalCacheRead": sums["cacheRead"],
            "totalCacheCreate": sums["cacheCreate"],
            "eventCount": kinds["message"]["requests"],
            "sessionsActive": self._all(SESSIONS_ACTIVE, window)[0][0],
            "oldestEventTs": oldest,
            "newestEventTs": newest,
            "kinds": kinds,
            "partial": partial,
        }

    def by_model(self, window: Window, limit: int, offset: int = 0) -> list[Json]:
        """Models by tokens, most first."""
        rows = self._by_model(parts(window))
        names = self._names(set(rows))
        models: list[Json] = [
            {
                "model": names.get(model),
                "totalTokens": sum(sums[1:5]),
                "eventCount": sums[0],
                "input": sums[1],
                "output": sums[2],
                "cacheCreate": sums[3],
                "cacheRead": sums[4],
            }
            for model, sums in rows.items()
        ]
        models.sort(key=lambda row: (-row["totalTokens"], row["model"] or ""))
        return models[offset : offset + limit]

    def by_project(self, window: Window, limit: int, offset: int = 0) -> list[Json]:
        """Projects (working directories) by tokens, most first."""
        rows = self._by_project(parts(window))
        names = self._names(set(rows))
        sessions = self._sessions_by_project(window)
        projects: list[Json] = [
            {
                "projectPath": names.get(project),
                "totalTokens": tokens,
                "eventCount": requests,
                "sessionCount": sessions.get(project, 0),
            }
            for project, (requests, tokens) in rows.items()
        ]
        projects.sort(key=lambda row: (-row["totalTokens"], row["projectPath"] or ""))
        return projects[offset : offset + limit]

    def answerable(self, window: Window) -> Window:
        """The window, at whole quarters where the detail was let go of. Both ends go back to the
        quarter's beginning, so that two windows that meet still do."""
        detail_from_ms = self.horizon().detail_from_ms
        since, until = (
            at_ms // QUARTER_MS * QUARTER_MS if at_ms < detail_from_ms else at_ms
            for at_ms in window
        )
        return Window(since, until)

    def horizon(self) -> Horizon:
        """From when on there is detail."""
        return horizon_of(self._connection)

    def contents(self) -> Json:
        """How much the ledger holds, whatever the window: files, bytes, requests, sessions,
        skips."""
        files, size = self._all("SELECT count(*), coalesce(sum(offset), 0) FROM marks")[0]
        requests = self._all(f"SELECT {total('requests')} FROM days WHERE kind = {MESSAGE}")[0][0]
        sessions = self._all("SELECT count(*) FROM session_totals")[0][0]
        skips = self._all("SELECT reason, sum(lines) FROM skips GROUP BY reason ORDER BY reason")
        return {
            "files": files,
            "bytes": size,
            "requests": requests,
            "sessions": sessions,
            "skips": dict(skips),
        }

    def own_totals(self) -> Json:
        """What the agents' own running totals say, beside ours for the very same sessions."""
        sums = [total(f"c.{name}") for name in ("input", "output", "cache_create", "cache_read")]
        sessions, cost, *theirs = self._all(
            f"SELECT count(DISTINCT session), {total('cost_micro_usd')}, {', '.join(sums)}"
            " FROM cost_states c"
        )[0]
        ours = self._all(
            f"SELECT {total('tokens')} FROM session_totals"
            " WHERE session IN (SELECT session FROM cost_states)"
        )[0][0]
        return {
            "sessions": sessions,
            "tokens": sum(theirs),
            "costUSD": cost / 1_000_000,
            "ledgerTokens": ours,
        }

    def partial(self, window: Window) -> Json:
        """How many requests never logged their output, and an estimate of it."""
        return self._kinds(window)[1]

    def _kinds(self, window: Window) -> tuple[dict[str, dict[str, int]], Json]:
        """Totals by kind, and what the placeholders among the messages leave out."""
        pieces = parts(window)
        rows = self._all(_KINDS.format(unit="day"), pieces.days)
        for span in pieces.quarters:
            rows += self._all(_KINDS.format(unit="quarter"), span)
        for edge in pieces.edges:
            rows += [(*row, 0, 0) for row in self._all(_BY_KIND_AT_EDGE, edge)]
        totals = [[0] * 7 for _ in KINDS]
        for kind, *sums in rows:
            totals[kind] = [a + b for a, b in zip(totals[kind], sums, strict=True)]
        requests, *_, partial, missing = totals[MESSAGE]
        for edge in pieces.edges:
            for chars, output in self._all(_PARTIAL_AT_EDGE, edge):
                partial += 1
                missing += max(0, round(chars / CHARS_PER_TOKEN) - output)
        share = partial / requests if requests else 0
        names = ("requests", "input", "output", "cacheCreate", "cacheRead")
        kinds: dict[str, dict[str, int]] = {
            k: dict(zip(names, totals[i][:5], strict=True)) for i, k in enumerate(KINDS)
        }
        return kinds, {"requests": partial, "share": share, "estimatedOutput": missing}

    def _ends(self, window: Window) -> tuple[int | None, int | None]:
        """The first and the last instant of a request inside the window."""
        (first, last), edges = quarter_span(window)
        ends = [self._all(sql, (first, last))[0][0] for sql in (_FIRST_QUARTER, _LAST_QUARTER)]
        spans = [*edges, *(_quarter_window(quarter) for quarter in ends if quarter is not None)]
        found = [at for span in spans for at in self._all(_ENDS_AT_EDGE, span)[0]]
        instants = [at for at in found if at is not None]
        return min(instants, default=None), max(instants, default=None)

    def _sessions_by_project(self, window: Window) -> dict[int, int]:
        found = dict(self._all(_PROJECT_SESSIONS, window))
        for project, idle in self._all(_PROJECT_SESSIONS_IDLE, window):
            found[project] -= idle
        return found

    def _by_model(self, pieces: Parts) -> dict[int, list[int]]:
        """By model number: requests (messages only), then the sums of billed tokens."""
        rows = self._all(_MODELS.format(table="day_models", unit="day"), pieces.days)
        for span in pieces.quarters:
            rows += self._all(_MODELS.format(table="quarter_usage", unit="quarter"), span)
        for edge in pieces.edges:
            rows += self._all(_MODELS_AT_EDGE, edge)
        return _added_up(rows)

    def _by_project(self, pieces: Parts) -> dict[int, list[int]]:
        """By project number: requests and billed tokens."""
        whole, days = blocks(pieces.days)
        rows = self._all(_PROJECTS.format(unit="block"), whole)
        for span in days:
            rows += self._all(_PROJECTS.format(unit="day"), span)
        for span in pieces.quarters:
            rows += self._all(_PROJECTS_BY_QUARTER, span)
        for edge in pieces.edges:
            rows += self._all(_PROJECTS_AT_EDGE, edge)
        return _added_up(rows)

    def _names(self, ids: set[int]) -> dict[int, str]:
        # One parameter for all: there may be more names than a statement takes parameters.
        numbers = msgspec.json.encode(list(ids)).decode()
        found = self._all(
            "SELECT names.id, name FROM json_each(?) j CROSS JOIN names ON names.id = j.value",
            (numbers,),
        )
        return dict(found)

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()


def _added_up(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[int]]:
    """Rows of (number, sums) with equal numbers made one."""
    found: dict[int, list[int]] = {}
    for number, *sums in rows:
        known = found.get(number)
        found[number] = sums if known is None else [a + b for a, b in zip(known, sums, strict=True)]
    return found


def _quarter_window(quarter: int) -> Window:
    return Window(quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS)
