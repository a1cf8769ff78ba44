"""What the ledger knows, as answers: read-only SQL in, JSON-able values out.

Every answer is exact to the millisecond for any window: totals give what lies whole inside it,
requests give the rest. Lists are ordered to the last tie, so that the same ledger always gives
the same answer. Each question is one read transaction; rows are fetched at once, so that no
reader holds the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from typing import Any

import apsw

from instar_tokenledger.accounting import CHARS_PER_TOKEN
from instar_tokenledger.rollups import FALLBACK, MESSAGE, total
from instar_tokenledger.schema import DAY_MS, PARTIAL, QUARTER_MS
from instar_tokenledger.series import Bucket, runs, start_in, start_of
from instar_tokenledger.usage import KINDS
from instar_tokenledger.windows import Parts, Window, parts, quarter_span

Json = dict[str, Any]
WEEK = 7 * DAY_MS // QUARTER_MS
"""In quarters."""

_CUT = "(t.first_ms < ?1 OR t.last_ms >= ?2) AND t.last_ms >= ?1 AND t.first_ms < ?2"
"""A session that begins before the window or ends after it, and may have been active inside."""

_ACTIVE = (
    "EXISTS (SELECT 1 FROM places CROSS JOIN requests ON requests.place = places.id"
    " WHERE places.session = t.session AND at_ms >= ?1 AND at_ms < ?2)"
)
_NUMBER_OF = {"model": "coalesce(names.id, 0)", "project": "coalesce(places.project, 0)"}

COLUMNS = "requests, input, output, cache_create, cache_read"
SUMS = ", ".join(map(total, COLUMNS.split(", ")))

_AT_EDGE = f"""quarter_places q CROSS JOIN requests r ON r.place = q.place
    AND at_ms >= max(?1, quarter * {QUARTER_MS})
    AND at_ms < min(?2, (quarter + 1) * {QUARTER_MS})"""
_EDGE_QUARTERS = f"quarter >= ?1 / {QUARTER_MS} AND quarter <= (?2 - 1) / {QUARTER_MS}"
ENTRIES = f"""(
    SELECT at_ms, r.place, {MESSAGE} AS kind, model, 1 AS requests, input, output, cache_create,
        cache_read
    FROM {_AT_EDGE} JOIN variants ON variants.id = variant WHERE {_EDGE_QUARTERS}
    UNION ALL
    SELECT at_ms, r.place, kind, coalesce(nullif(i.model, ''), variants.model), 1, i.input,
        i.output, i.cache_create, i.cache_read
    FROM {_AT_EDGE} JOIN iterations i ON i.request = r.id JOIN variants ON variants.id = variant
    WHERE {_EDGE_QUARTERS} AND flags & 32
)"""
"""Every billed or listed entry between two instants: what the totals sum."""

_PARTIAL_AT_EDGE = f"""
    SELECT coalesce(max(chars), 0), output FROM (
        SELECT r.id, output, sum(chars) AS chars FROM {_AT_EDGE}
        LEFT JOIN contents c ON c.request = r.id
        WHERE {_EDGE_QUARTERS} AND {PARTIAL} GROUP BY r.id, c.file
    ) GROUP BY id, output
"""
_BY_KIND_AT_EDGE = f"SELECT kind, {SUMS} FROM {ENTRIES} GROUP BY kind"
_FIRST_QUARTER = "SELECT min(quarter) FROM quarters WHERE quarter >= ? AND quarter < ?"
_LAST_QUARTER = "SELECT max(quarter) FROM quarters WHERE quarter >= ? AND quarter < ?"
_IN_BUCKETS = f"""
    SELECT min(quarter), sum(requests * (kind = {MESSAGE})), sum(input), sum(output),
        sum(cache_create), sum(cache_read)
    FROM quarters WHERE quarter >= ?1 AND quarter < ?2 AND kind <> {FALLBACK}
    GROUP BY (quarter + ?3) / ?4
"""
_ENDS_AT_EDGE = f"SELECT min(at_ms), max(at_ms) FROM {_AT_EDGE} WHERE {_EDGE_QUARTERS}"


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
        kinds = self._kinds(window)
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
            "sessionsActive": self._sessions_active(window),
            "oldestEventTs": oldest,
            "newestEventTs": newest,
            "kinds": kinds,
            "partial": self._partial(window, kinds["message"]["requests"]),
        }

    def by_model(self, window: Window, limit: int, offset: int = 0) -> list[Json]:
        """Models by tokens, most first."""
        rows = self._by("model", window)
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
        rows = self._by("project", window)
        names = self._names(set(rows))
        sessions = self._sessions_by_project(window)
        projects: list[Json] = [
            {
                "projectPath": names.get(project),
                "totalTokens": sum(sums[1:5]),
                "eventCount": sums[0],
                "sessionCount": sessions.get(project, 0),
            }
            for project, sums in rows.items()
        ]
        projects.sort(key=lambda row: (-row["totalTokens"], row["projectPath"] or ""))
        return projects[offset : offset + limit]

    def series(
        self, window: Window, bucket: Bucket, zone: tzinfo
    ) -> Iterator[tuple[int, int, list[int]]]:
        """(start of a bucket in ms, kind, sums) of a window; a start may come more than once."""
        (first, last), edges = quarter_span(window)
        for begin, end in self._filled(first, last):
            for run in runs(begin, end, bucket, zone):
                for quarter, *sums in self._all(_IN_BUCKETS, run):
                    yield start_in(run, quarter, bucket, zone), MESSAGE, sums
        for edge in edges:  # less than a quarter, so that it lies in one bucket
            for kind, *sums in self._all(_BY_KIND_AT_EDGE, edge):
                yield start_of(edge.since, bucket, zone), kind, sums

    def _filled(self, first: int, last: int) -> list[tuple[int, int]]:
        """Spans of quarters with something in every week: a stray instant of another century must
        not make a question walk there."""
        found: list[tuple[int, int]] = []
        while first < last:
            begin = self._all(_FIRST_QUARTER, (first, last))[0][0]
            if begin is None:
                break
            first = min(begin + WEEK, last)
            if found and found[-1][1] == begin:
                found[-1] = (found[-1][0], first)
            else:
                found.append((begin, first))
        return found

    def contents(self) -> Json:
        """How much the ledger holds, whatever the window: files, bytes, requests, sessions,
        skips."""
        files, size = self._all("SELECT count(*), coalesce(sum(offset), 0) FROM marks")[0]
        sessions, requests = self._all(
            "SELECT count(*), coalesce(sum(requests), 0) FROM session_totals"
        )[0]
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

    def _kinds(self, window: Window) -> dict[str, dict[str, int]]:
        totals = [[0] * 5 for _ in KINDS]
        (first, last), edges = quarter_span(window)
        rows = self._all(
            f"SELECT kind, {SUMS} FROM quarters WHERE quarter >= ? AND quarter < ? GROUP BY kind",
            (first, last),
        )
        for edge in edges:
            rows += self._all(_BY_KIND_AT_EDGE, edge)
        for kind, *sums in rows:
            totals[kind] = [a + b for a, b in zip(totals[kind], sums, strict=True)]
        names = ("requests", "input", "output", "cacheCreate", "cacheRead")
        return {kind: dict(zip(names, totals[i], strict=True)) for i, kind in enumerate(KINDS)}

    def _partial(self, window: Window, requests: int) -> Json:
        (first, last), edges = quarter_span(window)
        partial, missing = self._all(
            f"SELECT {total('partial')}, {total('missing')} FROM quarters"
            " WHERE quarter >= ? AND quarter < ?",
            (first, last),
        )[0]
        for edge in edges:
            for chars, output in self._all(_PARTIAL_AT_EDGE, edge):
                partial += 1
                missing += max(0, round(chars / CHARS_PER_TOKEN) - output)
        share = partial / requests if requests else 0
        return {"requests": partial, "share": share, "estimatedOutput": missing}

    def _ends(self, window: Window) -> tuple[int | None, int | None]:
        """The first and the last instant of a request inside the window."""
        (first, last), edges = quarter_span(window)
        ends = [self._all(sql, (first, last))[0][0] for sql in (_FIRST_QUARTER, _LAST_QUARTER)]
        spans = [*edges, *(_quarter_window(quarter) for quarter in ends if quarter is not None)]
        found = [at for span in spans for at in self._all(_ENDS_AT_EDGE, span)[0]]
        instants = [at for at in found if at is not None]
        return min(instants, default=None), max(instants, default=None)

    def _sessions_active(self, window: Window) -> int:
        whole = self._all(
            "SELECT count(*) FROM session_totals"
            " WHERE first_ms >= ?1 AND last_ms < ?2 AND last_ms >= ?1",
            window,
        )[0][0]
        cut = self._all(
            f"SELECT count(*) FROM session_totals t WHERE {_CUT} AND {_ACTIVE}", window
        )[0][0]
        return int(whole + cut)

    def _sessions_by_project(self, window: Window) -> dict[int, int]:
        found = dict(
            self._all(
                "SELECT project, count(*) FROM session_usage"
                " WHERE first_ms >= ? AND last_ms < ? GROUP BY project",
                window,
            )
        )
        for project, count in self._all(
            "SELECT t.project, count(*) FROM session_usage t"
            f" WHERE {_CUT} AND EXISTS (SELECT 1 FROM places CROSS JOIN requests"
            " ON requests.place = places.id WHERE places.session = t.session"
            " AND coalesce(places.project, 0) = t.project AND at_ms >= ?1 AND at_ms < ?2)"
            " GROUP BY t.project",
            window,
        ):
            found[project] = found.get(project, 0) + count
        return found

    def _by(self, column: str, window: Window) -> dict[int, list[int]]:
        """Sums of what is billed, by project or model number: requests (messages only), then
        tokens."""
        found: dict[int, list[int]] = {}
        for key, kind, requests, *tokens in self._usage(column, parts(window)):
            sums = found.setdefault(key, [0] * 5)
            sums[0] += requests if kind == MESSAGE else 0
            for i, value in enumerate(tokens, 1):
                sums[i] += value
        return found

    def _usage(self, column: str, pieces: Parts) -> list[tuple[Any, ...]]:
        rows = self._all(
            f"SELECT {column}, kind, {SUMS} FROM day_usage"
            f" WHERE day >= ? AND day < ? AND kind <> {FALLBACK} GROUP BY {column}, kind",
            pieces.days,
        )
        for span in pieces.quarters:
            rows += self._all(
                f"SELECT {column}, kind, {SUMS} FROM quarter_usage"
                f" WHERE quarter >= ? AND quarter < ? AND kind <> {FALLBACK}"
                f" GROUP BY {column}, kind",
                span,
            )
        for edge in pieces.edges:
            rows += self._all(
                f"SELECT {_NUMBER_OF[column]}, kind, {SUMS} FROM {ENTRIES} e"
                " JOIN places ON places.id = e.place LEFT JOIN names ON names.name = e.model"
                f" WHERE kind <> {FALLBACK} GROUP BY 1, kind",
                edge,
            )
        return rows

    def _names(self, ids: set[int]) -> dict[int, str]:
        marks = ", ".join("?" * len(ids))
        return dict(self._all(f"SELECT id, name FROM names WHERE id IN ({marks})", tuple(ids)))

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()


def _quarter_window(quarter: int) -> Window:
    return Window(quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS)
