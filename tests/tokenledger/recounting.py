"""The stored totals, and the same totals counted again in plain SQL from the requests."""

from __future__ import annotations

from typing import Any

from instar_tokenledger.rollups import FALLBACK
from tests.tokenledger.homes import LedgerHome


def rollups_of(home: LedgerHome) -> dict[str, list[tuple[Any, ...]]]:
    """Every stored total."""
    with home.reading() as reading:
        return {
            table: reading.connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
            for table in RECOUNTED
        }


def recounted(home: LedgerHome) -> dict[str, list[tuple[Any, ...]]]:
    """The same totals, counted again from the requests."""
    with home.reading() as reading:
        reading.connection.create_scalar_function("tokens_of", _tokens_of)
        return {
            table: reading.connection.execute(sql).fetchall() for table, sql in RECOUNTED.items()
        }


def _tokens_of(*chars: Any) -> int:
    length: float = chars[0]
    return round(length / 2.48)  # SQL would round a half up, the rule rounds it to even


_ENTRIES = """
    WITH entries AS (
        SELECT r.id AS request, at_ms, session, coalesce(project, 0) AS project, 0 AS kind,
            v.model AS model, r.input, r.output, r.cache_create, r.cache_read
        FROM requests r JOIN places ON places.id = place JOIN variants v ON v.id = variant
        UNION ALL
        SELECT r.id, at_ms, session, coalesce(project, 0), i.kind,
            coalesce(nullif(i.model, ''), v.model), i.input, i.output, i.cache_create, i.cache_read
        FROM requests r JOIN places ON places.id = place JOIN variants v ON v.id = variant
        JOIN iterations i ON i.request = r.id
    ), numbered AS (
        SELECT entries.*, coalesce(names.id, 0) AS number FROM entries
        LEFT JOIN names ON names.name = entries.model AND entries.model <> ''
    )
"""
_SUMS = "count(*), sum(input), sum(output), sum(cache_create), sum(cache_read)"
_TOKENS = f"sum(iif(kind = {FALLBACK}, 0, input + output + cache_create + cache_read))"
_FIRST_PROJECT = """(
    SELECT coalesce(p.project, 0) FROM places p JOIN requests q ON q.place = p.id
    LEFT JOIN files f ON f.id = p.file LEFT JOIN folders d ON d.id = f.folder
    WHERE p.session = n.session
    ORDER BY q.at_ms, p.file IS NULL, CAST(d.path || '/' || f.name AS BLOB), q.offset LIMIT 1
)"""
_MISSING = """
    SELECT at_ms / 900000 AS quarter, count(*) AS partial, sum(missing) AS missing FROM (
        SELECT at_ms, max(0, tokens_of(max(coalesce(chars, 0))) - output)
            AS missing
        FROM (
            SELECT r.id, r.at_ms, r.output, sum(chars) AS chars FROM requests r
            LEFT JOIN contents c ON c.request = r.id
            WHERE flags & 4 = 0 AND output <= 10 GROUP BY r.id, c.file
        ) GROUP BY id
    ) GROUP BY 1
"""
RECOUNTED = {
    "quarters": f"""{_ENTRIES}, gaps AS ({_MISSING})
        SELECT at_ms / 900000, kind, {_SUMS},
            iif(kind = 0, coalesce(max(gaps.partial), 0), 0),
            iif(kind = 0, coalesce(max(gaps.missing), 0), 0)
        FROM numbered LEFT JOIN gaps ON gaps.quarter = at_ms / 900000
        GROUP BY 1, 2 ORDER BY 1, 2""",
    "quarter_usage": f"""{_ENTRIES} SELECT at_ms / 900000, project, number, kind, {_SUMS}
        FROM numbered GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""",
    "hours": f"""{_ENTRIES}, gaps AS ({_MISSING})
        SELECT at_ms / 3600000 AS hour, kind, {_SUMS},
            iif(kind = 0, coalesce((SELECT sum(partial) FROM gaps
                WHERE quarter / 4 = at_ms / 3600000), 0), 0),
            iif(kind = 0, coalesce((SELECT sum(missing) FROM gaps
                WHERE quarter / 4 = at_ms / 3600000), 0), 0)
        FROM numbered GROUP BY 1, 2 ORDER BY 1, 2""",
    "days": f"""{_ENTRIES}, gaps AS ({_MISSING})
        SELECT at_ms / 86400000 AS day, kind, {_SUMS},
            iif(kind = 0, coalesce((SELECT sum(partial) FROM gaps
                WHERE quarter / 96 = at_ms / 86400000), 0), 0),
            iif(kind = 0, coalesce((SELECT sum(missing) FROM gaps
                WHERE quarter / 96 = at_ms / 86400000), 0), 0)
        FROM numbered GROUP BY 1, 2 ORDER BY 1, 2""",
    "day_models": f"""{_ENTRIES} SELECT at_ms / 86400000, number, kind, {_SUMS}
        FROM numbered GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    "day_projects": f"""{_ENTRIES}
        SELECT at_ms / 86400000, project, count(DISTINCT request), {_TOKENS}
        FROM numbered GROUP BY 1, 2 ORDER BY 1, 2""",
    "block_projects": f"""{_ENTRIES}
        SELECT at_ms / 86400000 / 32, project, count(DISTINCT request), {_TOKENS}
        FROM numbered GROUP BY 1, 2 ORDER BY 1, 2""",
    "session_usage": f"""{_ENTRIES}
        SELECT session, project, count(DISTINCT request), {_TOKENS}, min(at_ms), max(at_ms)
        FROM numbered GROUP BY 1, 2 ORDER BY 1, 2""",
    "session_totals": f"""{_ENTRIES}
        SELECT session, {_FIRST_PROJECT}, count(DISTINCT request), {_TOKENS}, min(at_ms),
            max(at_ms)
        FROM numbered n GROUP BY 1 ORDER BY 1""",
}
"""Every total again, in plain SQL over the requests."""
