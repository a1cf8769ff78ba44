"""What a question reads, by the database's own plan: a wrong index is found here and not by a user
with millions of requests."""

from __future__ import annotations

import re
from typing import Any

import pytest

from instar_tokenledger import queries, retention, session_queries
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.rollups import FALLBACK

BY_PLACE_AND_QUARTER = "USING INDEX requests_place (place=? AND <expr>"
LARGE = (
    ("requests", "requests_place", "5000000 38 18"),
    ("iterations", "iterations", "39993 1 1 1"),
    ("quarter_places", "quarter_places", "286421 9 1"),
    ("places", "places_session", "134536 2 1"),
)
"""What the planner knows of a ledger of five million requests."""


@pytest.fixture
def large(ledger: Ledger) -> Ledger:
    """A ledger that the planner takes for a large one."""
    ledger.connection.execute("ANALYZE")
    ledger.connection.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", LARGE)
    ledger.connection.execute("ANALYZE sqlite_schema")
    return ledger


def plan(ledger: Ledger, sql: str) -> list[str]:
    """The lines of a plan."""
    numbers = [int(number) for number in re.findall(r"\?(\d)", sql)]
    values = (None,) * (max(numbers) if numbers else sql.count("?"))
    rows: list[Any] = ledger.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    return [row[3] for row in rows]


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT sum(input) FROM {queries.ENTRIES} WHERE kind <> {FALLBACK}",
        queries.SESSIONS_ACTIVE,
        session_queries.INSIDE,
        f"SELECT input FROM requests r WHERE {retention.OF_A_PLACE_AND_QUARTER}",
    ],
)
def test_what_a_window_cuts_is_found_by_place_and_quarter(large: Ledger, sql: str) -> None:
    """An edge costs what lies in its quarter, not all that its sessions ever did."""
    steps = [step for step in plan(large, sql) if step.startswith(("SEARCH r ", "SCAN r "))]
    assert steps
    assert all(BY_PLACE_AND_QUARTER in step for step in steps)


def test_no_filter_is_built_over_all_iterations(large: Ledger) -> None:
    """The iterations of an edge are looked up one by one: there may be a million others."""
    sql = f"SELECT sum(input) FROM {queries.ENTRIES} WHERE kind <> {FALLBACK}"
    assert not [step for step in plan(large, sql) if "BLOOM" in step]
