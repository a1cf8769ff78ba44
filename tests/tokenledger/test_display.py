"""Numbers and words as a person reads them."""

from __future__ import annotations

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instar_tokenledger import display
from instar_tokenledger.display import (
    clean,
    duration,
    grouped,
    moment,
    progress_text,
    series_text,
    size,
    table,
)
from instar_tokenledger.ingest import Progress


@given(st.text())
def test_no_text_drives_the_terminal(text: str) -> None:
    """T13: whatever a transcript says is printable, on one line, and encodable."""
    shown = clean(text)
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue", "Asia/Kathmandu"])
@pytest.mark.parametrize("at_ms", [None, 0, 253_402_300_799_999, 2**53])
def test_any_instant_can_be_shown(at_ms: int | None, zone: str) -> None:
    """L12: instants at the ends of the calendar, and none at all, are shown in any zone."""
    assert moment(at_ms, ZoneInfo(zone))
    row = {"input": 1, "output": 1, "cacheCreate": 0, "cacheRead": 0, "eventCount": 1}
    assert series_text([{**row, "start": at_ms or 0}], "hour", ZoneInfo(zone))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1 << 20, "1.0 MB"),
        (5_000_000_000, "5.0 GB"),
        (10**15, "1000.0 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    """Bytes in units of 1000, as the page has them."""
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1 s"), (61, "1 min 02 s"), (3_725, "1 h 02 min")]
)
def test_durations(seconds: float, text: str) -> None:
    """A time left is rounded up."""
    assert duration(seconds) == text


def test_tables_line_up() -> None:
    """Columns are as wide as their widest cell; numbers stand to the right."""
    text = table(["NAME", "N"], [["a", "1"], ["long name", grouped(12_345)]], right=(1,))
    assert text.splitlines() == ["NAME            N", "a               1", "long name  12,345"]


def test_the_terminal_and_the_page_say_why_alike() -> None:
    """A reason for which a line was skipped has the same words in both."""
    page = (Path(display.__file__).parent / "dashboard" / "reading.js").read_text(encoding="utf-8")
    block = page.partition("const REASONS = {")[2].partition("}")[0]
    assert dict(re.findall(r'"([a-z-]+)": "([^"]+)"', block)) == display.SKIPPED


def test_progress_says_first_what_a_narrow_terminal_has_to_keep() -> None:
    """How much of how much and the time left stand within 80 columns, the rate behind them."""
    progress = Progress(
        files_seen=120_000,
        files_waiting=100_000,
        bytes_waiting=10_900_000_000,
        files_read=20_000,
        bytes_read=1_100_000_000,
        errors={},
    )
    assert progress_text(progress, 60.0) == (
        "Reading: 20,000 of 120,000 files, 1.1 GB of 12.0 GB, 9 min 55 s left (18.3 MB/s)"
    )
