"""Buckets of hours and days in any time zone, across every kind of clock change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus.answers import bucket_start
from instar_tokenledger import answers
from instar_tokenledger.batch import Batch
from instar_tokenledger.queries import Queries
from instar_tokenledger.series import BUCKETS, Bucket
from instar_tokenledger.service import Reading
from instar_tokenledger.session_queries import SessionQueries
from instar_tokenledger.sources.claude_code import NAME
from instar_tokenledger.usage import Counters, Decoded, UsageRow
from instar_tokenledger.zones import local_zone, zone_of
from tests.tokenledger.arrangements import empty_ledger
from tests.tokenledger.homes import EVER

ZONES = (
    "UTC", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham",
    "Pacific/Apia", "America/St_Johns", "Africa/Casablanca", "Asia/Tehran", "America/Sao_Paulo",
    "America/Havana", "Atlantic/Azores", "Antarctica/Casey", "Antarctica/Troll",
)  # fmt: skip
CHANGES = (
    1_762_063_200_000,  # 2025-11-02T06:00Z New York falls back
    1_741_503_600_000,  # 2025-03-09T07:00Z New York springs forward
    1_775_314_800_000,  # 2026-04-04T15:00Z Lord Howe falls back by half an hour
    1_759_591_800_000,  # 2025-10-04T15:30Z Lord Howe springs forward by half an hour
    1_325_239_200_000,  # 2011-12-30T10:00Z Apia leaves a day out
    1_540_695_600_000,  # 2018-10-28T03:00Z Sao Paulo's midnight
    1_762_059_600_000,  # 2025-11-02T05:00Z Havana's midnight comes a second time
    1_761_440_400_000,  # 2025-10-26T01:00Z the Azores likewise; Troll falls back by two hours
    1_678_291_200_000,  # 2023-03-08T16:00Z Casey falls back by three hours, into the day before
)
USE = Counters(input=10, output=900)
instants = st.builds(
    lambda change, off: change + off,
    st.sampled_from(CHANGES),
    st.integers(-3 * 86_400_000, 3 * 86_400_000) | st.integers(-2, 2),
) | st.integers(0, 4_102_444_800_000)


def rows_at(at: Sequence[int], bucket: Bucket, tz: str) -> list[dict[str, Any]]:
    """The series of a ledger with one request at each instant."""
    ledger = empty_ledger()
    batch = Batch()
    rows = [
        UsageRow(session="s", at_ms=ms, offset=i, counters=USE, message_id=f"m{i}", request_id="r")
        for i, ms in enumerate(at)
    ]
    batch.add(NAME, b"/a", Decoded(rows=rows))
    ledger.commit(batch)
    reading = Reading(
        Queries(ledger.connection), SessionQueries(ledger.connection), ledger.connection
    )
    found: list[dict[str, Any]] = answers.series(reading, EVER, bucket, zone_of(tz))["series"]
    ledger.close()
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(instants, min_size=1, max_size=8), st.sampled_from(ZONES), st.booleans())
def test_a_bucket_begins_where_the_clock_on_the_wall_says(
    at: list[int], tz: str, by_hour: bool
) -> None:
    """Each instant is in the local hour or day that the oracle finds by asking the zone."""
    bucket: Bucket = "hour" if by_hour else "day"
    starts = [bucket_start(ms, bucket, ZoneInfo(tz)) for ms in at]
    rows = rows_at(at, bucket, tz)
    assert [(row["start"], row["eventCount"]) for row in rows] == sorted(Counter(starts).items())


def test_an_hour_that_the_clock_re_enters_in_its_middle_is_one_bucket() -> None:
    """Chatham's clocks go back from 3:45 to 2:45: what follows 3:45 belongs to the second pass."""
    end_of_the_second_pass = 1_775_314_800_000
    rows = rows_at([end_of_the_second_pass - 1, end_of_the_second_pass], "hour", "Pacific/Chatham")
    alone = rows_at([end_of_the_second_pass], "hour", "Pacific/Chatham")
    assert [(row["start"], row["eventCount"]) for row in rows] == [(1_775_312_100_000, 2)]
    assert [row["start"] for row in alone] == [1_775_312_100_000]


def test_an_hour_that_comes_twice_is_two_buckets() -> None:
    """When clocks go back, both passes of the hour are told apart."""
    back = 1_762_063_200_000
    rows = rows_at([back - 1, back], "hour", "America/New_York")
    assert [row["start"] for row in rows] == [back - 3_600_000, back]


@pytest.mark.parametrize(
    ("tz", "midnight"),
    [("America/Havana", 1_762_056_000_000), ("Atlantic/Azores", 1_761_436_800_000)],
)
def test_a_day_whose_first_hour_comes_twice_is_one_bucket(tz: str, midnight: int) -> None:
    """Where clocks go back from one to midnight, the day is 25 hours long and begins once."""
    hours = [midnight + hour * 3_600_000 for hour in range(25)]
    rows = rows_at([midnight - 1, *hours, hours[-1] + 3_600_000], "day", tz)
    assert [(row["start"] - midnight, row["eventCount"]) for row in rows] == [
        (-86_400_000, 1), (0, 25), (90_000_000, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("at_ms", [0, 1, 253_402_300_799_999, 2**53 - 1])
def test_no_instant_is_out_of_reach(tz: str, at_ms: int) -> None:
    """L12: the first and the last instant of the calendar, and beyond, are in some bucket."""
    for bucket in BUCKETS:
        (row,) = rows_at([at_ms], bucket, tz)
        assert at_ms - 90_000_000 < row["start"] <= at_ms


def test_the_local_zone_is_that_of_the_environment_then_the_machine(tmp_path: object) -> None:
    """`TZ` goes first, then the machine's setting, then UTC; a bad name is passed over."""
    nowhere = f"{tmp_path}/localtime"
    assert local_zone({"TZ": "Asia/Kathmandu"}, nowhere).name == "Asia/Kathmandu"
    assert local_zone({"TZ": ":America/New_York"}, nowhere).name == "America/New_York"
    assert local_zone({"TZ": "Mars/Olympus"}, nowhere).name == "UTC"
    assert local_zone({}, nowhere).name == "UTC"
