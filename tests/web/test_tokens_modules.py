"""The pure parts of the Tokens tab, asked in a browser that lives in another time zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.web.conftest import OpenTab
from tests.web.ledgers import DAY_MS, HOUR_MS, ServedLedger

pytestmark = pytest.mark.browser

MODULE = "static/panels/tokenledger"


def at(zone: str, *moment: int) -> int:
    """Epoch milliseconds of a local moment."""
    year, month, day, *rest = moment
    hour, minute = (*rest, 0, 0)[:2]
    local = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone))
    return round(local.timestamp() * 1000)


def asked(open_tab: OpenTab, ledger: ServedLedger, zone: str, script: str, *values: Any) -> Any:
    """What a function of the page's modules answers in a zone."""
    tab = open_tab(ledger.serve(look=False), timezone=zone)
    tab.open("tab=host")
    modules = f"const m = (n) => import(new URL(`{MODULE}/${{n}}`, document.baseURI));"
    return tab.page.evaluate(f"async (v) => {{ {modules} {script} }}", list(values))


@pytest.mark.parametrize(
    ("zone", "moment", "since"),
    [
        ("America/New_York", (2026, 3, 8, 12), (2026, 3, 2)),  # the clock goes forward that night
        ("Australia/Lord_Howe", (2026, 4, 6, 12), (2026, 3, 31)),  # by half an hour
        ("Asia/Kathmandu", (2026, 1, 3), (2025, 12, 28)),
    ],
)
def test_seven_days_are_local_days(
    ledger: ServedLedger,
    open_tab: OpenTab,
    zone: str,
    moment: tuple[int, ...],
    since: tuple[int, ...],
) -> None:
    """A range of days begins at a local midnight, whatever the clocks did since."""
    script = "return (await m('ranges.js')).spanOf({range: '7d'}, v[0]);"
    span = asked(open_tab, ledger, zone, script, at(zone, *moment))
    assert (span["since"], span["until"], span["bucket"]) == (at(zone, *since), None, "day")


def test_labels_are_no_closer_than_the_buckets(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """Bars of days bear dates, and no noon between two of them."""
    script = "return ['hour', 'day'].map((await m('buckets.js')).labelSteps);"
    hours, days = asked(open_tab, ledger, "Europe/Berlin", script)
    assert (hours[0] * 1000, days[0] * 1000) == (HOUR_MS, DAY_MS)
    assert hours == sorted(hours)
    assert days == [step for step in hours if step >= days[0]]


def test_ranges_that_make_no_sense_are_the_usual_one(
    ledger: ServedLedger, open_tab: OpenTab
) -> None:
    """Whatever the address says, there is a span; hours are not offered for what is too long."""
    script = """
      const { spanOf } = await m('ranges.js');
      return [{range: 'x'}, {range: 'custom'}, {range: 'custom', from: '2026-02-30x', to: '1'},
        {range: 'custom', from: '2026-05-02', to: '2026-05-01'},
        {range: '__proto__'}, {range: '7d', bucket: 'week'}].map((p) => spanOf(p, v[0]).range)
        .concat(spanOf({range: '1y', bucket: 'hour'}, v[0]).bucket);
    """
    answers = asked(open_tab, ledger, "UTC", script, at("UTC", 2026, 11, 22))
    assert answers == [*["7d"] * 6, "day"]


def test_a_zoomed_range_survives_the_address(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """What a drag chose is the span that the address then means: whole days and single hours."""
    script = """
      const { customParams, spanOf } = await m('ranges.js');
      return v.map(([since, until]) => { const s = spanOf(customParams(since, until), until);
        return [s.since, s.until]; });
    """
    zone = "Europe/Zurich"
    spans = [
        [at(zone, 2026, 3, 28), at(zone, 2026, 3, 30)],  # a day of 23 hours within
        [at(zone, 2026, 10, 1, 14), at(zone, 2026, 10, 1, 18)],
    ]
    assert asked(open_tab, ledger, zone, script, *spans) == spans


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25)])
def test_a_day_has_the_hours_it_has(
    ledger: ServedLedger, open_tab: OpenTab, day: tuple[int, int, int], hours: int
) -> None:
    """Empty hours are filled in: 23 when the clock goes forward, 25 when it goes back."""
    zone = "Europe/Zurich"
    start, end = at(zone, *day), at(zone, day[0], day[1], day[2] + 1)
    script = """
      const { filled } = await m('buckets.js');
      const all = filled([], {bucket: 'hour', since: v[0], until: v[1], now: v[1]});
      const days = filled([], {bucket: 'day', since: v[0], until: v[1], now: v[1]});
      return [all.length, all[0].start, all.at(-1).start, days.length];
    """
    answer = asked(open_tab, ledger, zone, script, start, end)
    assert answer == [hours, start, end - HOUR_MS, 1]


def test_the_stack_adds_up(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """Each kind is drawn on top of those below it; a bucket holds what is later than its start."""
    script = """
      const { stacked, placeOf } = await m('buckets.js');
      const buckets = [{start: 0, a: 1, b: 2}, {start: v[0], a: 3, b: 4}];
      const places = [-1, 0, v[0] - 1, v[0], v[0] * 9].map((t) => placeOf(buckets, t));
      return [stacked(buckets, ['a', 'b']), places];
    """
    assert asked(open_tab, ledger, "UTC", script, DAY_MS) == [
        [[0, DAY_MS / 1000], [1, 3], [3, 7]],
        [-1, 0, 0, 1, 1],
    ]


def test_short_numbers_have_three_digits(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """Where "1M" stood beside "5.11M": three digits from 1,000 on; MB are of 1000."""
    script = """
      const { bytes, compact } = await import(new URL('static/format.js', document.baseURI));
      return [v.map(compact), v.map(bytes)];
    """
    numbers, sizes = asked(open_tab, ledger, "UTC", script, 0, 7, 999.6, 1000, 1_000_000, 5_110_000)
    assert numbers == ["0", "7", "1.00K", "1.00K", "1.00M", "5.11M"]
    assert sizes[3:] == ["1.0 kB", "1.0 MB", "5.1 MB"]
