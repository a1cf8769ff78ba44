"""Letting go of the detail of old requests, by choice; what they add up to stays.

Promises that no total changes: sums by quarter of an hour stay as they are, and what each session
used in each quarter is kept in place of its requests, in the transaction that removes them. A
horizon says from when detail is kept (`detail_from_ms`) and below which instant nothing read later
is added (`sealed_before_ms`), because it cannot be told whether it was counted before. Works in
steps of bounded size, and waits where a reader keeps the log from being cut; readers are never
blocked, and freed pages go back to the disk. Requests of running totals stay: their readings are
needed whenever a late one turns up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw
import msgspec

from instar_host.store import sqlite
from instar_tokenledger import journal
from instar_tokenledger.rollups import FALLBACK, MOST, added, total
from instar_tokenledger.schema import DAY_MS, QUARTER_MS

ROWS_A_STEP = 2_000
PLACES_A_STEP = 2_000
PAGES_A_STEP = 512
"""Freed pages given back after each step: 2 MiB."""
MARGIN_DAYS = 1
"""Detail is kept this much longer than late rows are taken: every row of a request that is gone
then lies below the seal, so none is counted twice."""

OF_A_PLACE_AND_QUARTER = f"r.place = ? AND r.at_ms / {QUARTER_MS} = ?"


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """Where detail begins. 0: it was never let go of."""

    detail_from_ms: int = 0
    """Answers before it are exact at quarters of an hour."""
    sealed_before_ms: int = 0
    """Rows before it that are read from now on are counted as skipped, and not added."""


def horizon_of(connection: apsw.Connection) -> Horizon:
    """The horizon of a ledger."""
    rows = _all(connection, "SELECT detail_from_ms, sealed_before_ms FROM horizon")
    return Horizon(detail_from_ms=rows[0][0], sealed_before_ms=rows[0][1]) if rows else Horizon()


def prune(
    connection: apsw.Connection,
    detail_days: int,
    now_ms: int,
    go_on: Callable[[], bool] = lambda: True,
) -> bool:
    """Let go of requests older than `detail_days` and a day (0 days: of none), a step at a time
    for as long as `go_on` says; true when some are left.
    """
    if not detail_days:
        return False
    newest_ms = _all(connection, "SELECT coalesce(max(last_ms), 0) FROM session_totals")[0][0]
    # A clock that jumped ahead takes nothing away from a ledger that has not.
    seal_ms = min(now_ms, newest_ms + DAY_MS) - detail_days * DAY_MS
    wanted = Horizon(
        detail_from_ms=(seal_ms - MARGIN_DAYS * DAY_MS) // QUARTER_MS * QUARTER_MS,
        sealed_before_ms=seal_ms // QUARTER_MS * QUARTER_MS,
    )
    while go_on() and not journal.is_too_long(connection):
        if not _step(connection, wanted):
            return False
        connection.execute(f"PRAGMA incremental_vacuum({PAGES_A_STEP})").fetchall()
    return True


def _step(connection: apsw.Connection, wanted: Horizon) -> bool:
    """Remove at most `ROWS_A_STEP` requests; false when there was nothing to remove."""
    pairs = _all(
        connection,
        "SELECT quarter, place, session, coalesce(project, 0) FROM quarter_places"
        " JOIN places ON places.id = place WHERE quarter < ?"
        " AND source NOT IN (SELECT source FROM running_totals) ORDER BY quarter LIMIT ?",
        (wanted.detail_from_ms // QUARTER_MS, PLACES_A_STEP),
    )
    if not pairs:
        return False
    with sqlite.write_transaction(connection):
        _move_horizon(connection, wanted)
        left = ROWS_A_STEP
        for quarter, place, session, project in pairs:
            removed = _remove(connection, quarter, place, session, project, left)
            left -= removed
            if left <= 0:
                break
            connection.execute(
                "DELETE FROM quarter_places WHERE quarter = ? AND place = ?", (quarter, place)
            )
    return True


def _move_horizon(connection: apsw.Connection, wanted: Horizon) -> None:
    """It only ever moves forward, and before anything it stands for is removed."""
    connection.execute(
        "INSERT INTO horizon VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET"
        " detail_from_ms = max(detail_from_ms, excluded.detail_from_ms),"
        " sealed_before_ms = max(sealed_before_ms, excluded.sealed_before_ms)",
        (wanted.detail_from_ms, wanted.sealed_before_ms),
    )


def _remove(
    connection: apsw.Connection, quarter: int, place: int, session: int, project: int, limit: int
) -> int:
    """Replace at most `limit` requests of one place and quarter by their sum; how many."""
    rows = _all(
        connection,
        "SELECT id, at_ms, input + output + cache_create + cache_read, flags & 32 FROM requests r"
        f" WHERE {OF_A_PLACE_AND_QUARTER} LIMIT ?",
        (place, quarter, limit),
    )
    if not rows:
        return 0
    tokens = sum(row[2] for row in rows)
    ids = [(row[0],) for row in rows]
    for request in (row[0] for row in rows if row[3]):
        tokens += _all(
            connection,
            f"SELECT {total('input + output + cache_create + cache_read')} FROM iterations"
            f" WHERE request = ? AND kind <> {FALLBACK}",
            (request,),
        )[0][0]
        for table in ("nodes", "iterations", "contents"):
            connection.execute(f"DELETE FROM {table} WHERE request = ?", (request,))
    instants = [row[1] for row in rows]
    connection.execute(
        "INSERT INTO pruned VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        f" requests = requests + excluded.requests, {added('tokens')},"
        " first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)",
        (session, project, quarter, len(rows), min(tokens, MOST), min(instants), max(instants)),
    )
    connection.executemany("DELETE FROM requests WHERE id = ?", ids)
    return len(rows)


def _all(
    connection: apsw.Connection, sql: str, values: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    return connection.execute(sql, values).fetchall()
