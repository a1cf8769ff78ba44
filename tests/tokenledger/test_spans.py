"""Instants and spans as people write them, read strictly."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instar_tokenledger.errors import BadQuery
from instar_tokenledger.spans import instant_ms, span_ms
from instar_tokenledger.windows import END_OF_TIME

NOW_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("0", 0), ("1767571200000", NOW_MS), ("7d", NOW_MS - 7 * 86_400_000),
        ("12h", NOW_MS - 12 * 3_600_000), ("30m", NOW_MS - 1_800_000),
        ("2w", NOW_MS - 14 * 86_400_000),
        ("999999w", 0), ("2026-01-05", NOW_MS), ("2026-01-05T00:00", NOW_MS),
        ("2026-01-05T00:00:00.001Z", NOW_MS + 1), ("2026-01-05T05:45+05:45", NOW_MS),
        ("9007199254740992", END_OF_TIME),
    ],
)  # fmt: skip
def test_every_form_of_an_instant(text: str, at_ms: int) -> None:
    """Milliseconds, spans ago, dates and times; an instant never lies before 1970."""
    assert instant_ms(text, NOW_MS, UTC) == at_ms


def test_a_date_begins_at_local_midnight() -> None:
    """A date is that of the zone given, DST included."""
    there = ZoneInfo("America/New_York")
    assert instant_ms("2026-01-05", NOW_MS, there) == NOW_MS + 5 * 3_600_000
    assert instant_ms("2026-07-01", NOW_MS, there) == 1_782_878_400_000


@pytest.mark.parametrize("text", ["2026-01-05", "2026-01-05T00:00:00"])
def test_without_a_zone_a_local_time_is_refused(text: str) -> None:
    """A route does not know whose midnight is meant."""
    with pytest.raises(BadQuery, match="no time zone"):
        instant_ms(text, NOW_MS, None)


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "1.5", "7 d", "7D", "d7", "٣d", "0x10", "now", "2026-02-30", "9007199254740993",
     "1969-12-31T23:59:59Z", "99999999999999999", "2026-01-05T00:00:00Z; --"],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(BadQuery):
        instant_ms(text, NOW_MS, UTC)


@given(st.text(max_size=30))
def test_any_text_is_an_instant_or_refused(text: str) -> None:
    """No input gets another exception out."""
    try:
        assert 0 <= instant_ms(text, NOW_MS, UTC) <= END_OF_TIME
    except BadQuery:
        return


@pytest.mark.parametrize(("text", "ms"), [("30m", 1_800_000), ("2d", 172_800_000)])
def test_spans(text: str, ms: int) -> None:
    """A span is a number with a unit."""
    assert span_ms(text) == ms


@pytest.mark.parametrize("text", ["", "0", "0m", "-5m", "m", "1y", "9" * 17])
def test_what_is_no_span_is_refused(text: str) -> None:
    """A span is longer than nothing."""
    with pytest.raises(BadQuery):
        span_ms(text)
