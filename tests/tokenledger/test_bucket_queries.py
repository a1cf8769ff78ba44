"""Series of any window in any zone, over ledgers with and without holes, against the plain sum."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus.answers import bucket_start
from instar_tokenledger.batch import Batch
from instar_tokenledger.bucket_queries import points
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.schema import DAY_MS, QUARTER_MS
from instar_tokenledger.series import BUCKETS, Bucket, bucketed
from instar_tokenledger.sources.claude_code import NAME
from instar_tokenledger.usage import KINDS, Counters, Decoded, Iteration, Kind, UsageRow
from instar_tokenledger.windows import Window
from tests.tokenledger.arrangements import empty_ledger
from tests.tokenledger.test_series import ZONES

BEGIN_MS = 1_761_609_600_000
"""2025-10-28T00:00:00Z: New York's clocks go back on the sixth day."""
DAYS = 9
SPAN_MS = DAYS * DAY_MS
Use = tuple[int, Kind | None]
"""Milliseconds after the beginning, and the kind of a call inside the request."""

offsets = st.builds(
    lambda quarter, off: quarter * QUARTER_MS + off,
    st.integers(0, SPAN_MS // QUARTER_MS - 1),
    st.sampled_from([0, 1, QUARTER_MS // 2, QUARTER_MS - 1]),
)
uses = st.tuples(offsets, st.none() | st.sampled_from(KINDS[1:]))
windows = st.tuples(offsets, offsets).map(lambda ends: Window(*(BEGIN_MS + at for at in ends)))


def ledger_of(found: list[Use]) -> Ledger:
    """One request a use, each with tokens of its own, some with a call of another kind inside."""
    ledger = empty_ledger()
    batch = Batch()
    rows = [
        UsageRow(
            session="s",
            at_ms=BEGIN_MS + at,
            offset=i,
            counters=Counters(input=1 << i % 40, output=i),
            message_id=f"m{i}",
            request_id=f"r{i}",
            has_stop=True,
            iterations=(Iteration(kind, 0, "", Counters(cache_read=7)),) if kind else (),
        )
        for i, (at, kind) in enumerate(found)
    ]
    batch.add(NAME, b"/a", Decoded(rows=rows))
    ledger.commit(batch)
    return ledger


def summed(found: list[Use], window: Window, bucket: Bucket, tz: str) -> list[dict[str, Any]]:
    """The series of those uses, one by one."""
    buckets: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for i, (at, kind) in enumerate(found):
        if window.since <= BEGIN_MS + at < window.until:
            sums = buckets[bucket_start(BEGIN_MS + at, bucket, ZoneInfo(tz))]
            billed = 7 if kind and kind != "fallback" else 0
            for place, value in enumerate((1, 1 << i % 40, i, billed)):
                sums[place] += value
    return [
        {"start": start, "eventCount": n, "input": a, "output": b, "cacheCreate": 0, "cacheRead": c}
        for start, (n, a, b, c) in sorted(buckets.items())
    ]


def series(ledger: Ledger, window: Window, bucket: Bucket, tz: str) -> list[dict[str, Any]]:
    return bucketed(points(ledger.connection, window, bucket, ZoneInfo(tz)))


@settings(max_examples=60, deadline=None)
@given(st.lists(uses, max_size=60), windows, st.sampled_from(ZONES))
def test_a_series_is_the_sum_of_what_lies_inside_its_window(
    found: list[Use], window: Window, tz: str
) -> None:
    """To the millisecond at both ends, whether or not buckets begin where hours and days of UTC
    do, and whatever hours are empty."""
    ledger = ledger_of(found)
    said = {bucket: series(ledger, window, bucket, tz) for bucket in BUCKETS}
    ledger.close()
    assert said == {bucket: summed(found, window, bucket, tz) for bucket in BUCKETS}


@pytest.mark.parametrize("tz", ZONES)
def test_every_quarter_of_a_full_ledger_is_in_its_bucket(tz: str) -> None:
    """A request at both ends of each quarter, for days on end: no bucket lacks any, none has
    one twice."""
    quarters = range(0, SPAN_MS, QUARTER_MS)
    kinds = (None, *KINDS[1:])
    found = [(at + off, kinds[i % 4]) for i, at in enumerate(quarters) for off in (0, 899_999)]
    ledger = ledger_of(found)
    ever = Window(0, 2**53)
    cut = Window(BEGIN_MS + DAY_MS + 1, BEGIN_MS + 7 * DAY_MS + 5 * QUARTER_MS)
    for window in (ever, cut):
        for bucket in BUCKETS:
            assert series(ledger, window, bucket, tz) == summed(found, window, bucket, tz)
    ledger.close()
