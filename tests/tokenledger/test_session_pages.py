"""Pages of sessions, near and deep, against a list that is made request by request."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instar_tokenledger.batch import Batch
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.session_queries import WORTH, SessionQueries
from instar_tokenledger.sources.claude_code import NAME
from instar_tokenledger.usage import Counters, Decoded, Iteration, UsageRow
from instar_tokenledger.windows import Window
from tests.tokenledger.arrangements import empty_ledger

NEVER = 1 << 30
ALWAYS = 1 << 30
Use = tuple[int, int, int, int]
"""Session, instant, tokens, tokens of an advisor beside them."""

LAST = 12
uses = st.tuples(
    st.integers(0, 7),
    st.integers(0, LAST),
    st.sampled_from([0, 1, 1, 2, 9]),
    st.sampled_from([0, 2]),
)
ledgers = st.lists(uses, min_size=6, max_size=30)
instants = st.integers(0, LAST + 1)


def ledger_of(found: Sequence[Use]) -> Ledger:
    """One request a use."""
    ledger = empty_ledger()
    batch = Batch()
    rows = [
        UsageRow(
            session=f"s{session}",
            at_ms=at_ms,
            offset=i,
            counters=Counters(input=tokens),
            message_id=f"m{i}",
            request_id=f"r{i}",
            has_stop=True,
            iterations=(Iteration("advisor", 0, "", Counters(input=more)),) if more else (),
        )
        for i, (session, at_ms, tokens, more) in enumerate(found)
    ]
    batch.add(NAME, b"/a", Decoded(rows=rows))
    ledger.commit(batch)
    return ledger


def listed(found: Sequence[Use], window: Window) -> list[tuple[str, int, int, int, int]]:
    """(name, tokens, requests, first, last) of every session in a window, in order."""
    inside: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for session, at_ms, tokens, more in found:
        if window.since <= at_ms < window.until:
            inside[f"s{session}"].append((at_ms, tokens + more))
    rows = [
        (name, sum(t for _, t in mine), len(mine), min(mine)[0], max(mine)[0])
        for name, mine in inside.items()
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def shown(sessions: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("sessionId", "totalTokens", "eventCount", "firstTs", "lastTs")
    return [tuple(row[name] for name in names) for row in sessions]


@settings(max_examples=80, deadline=None)
@given(ledgers, instants, instants)
@example([(0, 5, 9, 0), (1, 1, 1, 0), (1, 10, 1, 0)], 4, 7)
@example([(0, 5, 1, 0), (1, 5, 1, 0), (1, 10, 0, 0)], 4, 7)
def test_any_page_is_that_part_of_the_whole_list(found: list[Use], since: int, until: int) -> None:
    """Whichever way a page is found, equal sessions by name and those that a window cuts
    included."""
    ledger = ledger_of(found)
    window = Window(since, until)
    whole = listed(found, window)
    for worth in (0, WORTH, ALWAYS):
        queries = SessionQueries(ledger.connection, worth)
        for limit, offset in itertools.product((1, 2, 5), range(len(whole) + 2)):
            page = queries.page(window, limit, offset)
            assert page.total == len(whole)
            assert shown(page.sessions) == whole[offset : offset + limit]
    ledger.close()


@settings(max_examples=40, deadline=None)
@given(ledgers, instants, instants)
def test_any_page_of_quiet_sessions_is_that_part_of_the_whole_list(
    found: list[Use], since_ms: int, until_ms: int
) -> None:
    """The latest first, equal ones by name, with their tokens since an instant."""
    ledger = ledger_of(found)
    rows = [row for row in listed(found, Window(since_ms, NEVER)) if row[4] < until_ms]
    rows.sort(key=lambda row: (-row[4], row[0]))
    whole = [(name, tokens, last) for name, tokens, _, _, last in rows]
    queries = SessionQueries(ledger.connection)
    for limit, offset in itertools.product((1, 3), range(len(whole) + 2)):
        idle = queries.idle(50 - until_ms, 50, limit, offset, since_ms)
        said = [(row["sessionId"], row["totalTokens"], row["lastTs"]) for row in idle]
        assert said == whole[offset : offset + limit]
    ledger.close()


@pytest.mark.parametrize("worth", [0, ALWAYS])
@pytest.mark.parametrize("spread", [1, 2, 300])
def test_a_deep_page_is_right_however_many_are_equal(worth: int, spread: int) -> None:
    """Where all sessions use the same, their names alone say which of them come onto a page."""
    rng = random.Random(5)
    found: list[Use] = []
    for number in range(1_000):
        found += [(number, rng.randrange(10), 500 + rng.randrange(spread), 0)]
        if number % 50 == 0:
            found.append((number, 20, 300, 2))
    ledger = ledger_of(found)
    queries = SessionQueries(ledger.connection, worth)
    for window in (Window(0, 30), Window(0, 15), Window(3, 30)):
        whole = listed(found, window)
        for offset in (0, 1, 60, 400, 499, len(whole) - 3):
            page = queries.page(window, 40, offset)
            assert (page.total, shown(page.sessions)) == (len(whole), whole[offset : offset + 40])
    ledger.close()
