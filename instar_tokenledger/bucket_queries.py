"""What each hour or day of a time zone used: read-only SQL in, points of a series out.

As `queries`: exact for any window. Where a bucket is as long as the rows of a table of totals and
begins with them, that table answers; else finer rows are summed bucket by bucket in the order in
which they lie, because putting a year of quarters in order takes longer than reading it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Any, NamedTuple

import apsw

from instar_tokenledger.queries import ENTRIES
from instar_tokenledger.rollups import FALLBACK, MESSAGE, QUARTERS_AN_HOUR, total
from instar_tokenledger.schema import DAY_MS, QUARTER_MS
from instar_tokenledger.series import Bucket, Point, Run, runs, start_in, start_of
from instar_tokenledger.windows import Window, quarter_span

WEEK = 7 * DAY_MS // QUARTER_MS
"""In quarters."""

_TOKENS = ("input", "output", "cache_create", "cache_read")
_SUMS = ", ".join(
    total(sum_of) for sum_of in (f"p.requests * (p.kind = {MESSAGE})", *(f"p.{t}" for t in _TOKENS))
)
_ROWS = f"""
    SELECT {{unit}}, {_SUMS} FROM {{unit}}s p
    WHERE {{unit}} >= ? AND {{unit}} < ? AND kind <> {FALLBACK} GROUP BY {{unit}}
"""
"""Grouping by a bare column needs no sorting."""
_ACROSS = f"""
    SELECT u.{{unit}}, {_SUMS} FROM {{unit}}s u CROSS JOIN {{part}}s p
        ON p.{{part}} >= u.{{unit}} * ?3 + ?4 AND p.{{part}} < u.{{unit}} * ?3 + ?5
    WHERE u.{{unit}} >= ?1 AND u.{{unit}} < ?2 AND u.kind = {MESSAGE} AND p.kind <> {FALLBACK}
    {{more}} GROUP BY u.{{unit}}
"""
"""From parts `?4` up to, not including, `?5` of every unit, of which there are `?3`. Each unit with
anything in it has messages."""
_NO_NEXT = f"""AND NOT EXISTS (
    SELECT 1 FROM {{unit}}s n WHERE n.{{unit}} = u.{{unit}} + 1 AND n.kind = {MESSAGE})"""
_SPAN = f"""
    SELECT {_SUMS} FROM quarters p
    WHERE quarter >= ? AND quarter < ? AND kind <> {FALLBACK} HAVING count(*)
"""
_EDGE = f"SELECT {_SUMS} FROM {ENTRIES} p WHERE kind <> {FALLBACK} HAVING count(*)"
_FIRST_QUARTER = "SELECT min(quarter) FROM quarters WHERE quarter >= ? AND quarter < ?"


class _Unit(NamedTuple):
    """What a table of totals counts by, and how many quarters that is."""

    name: str
    quarters: int


_QUARTER = _Unit("quarter", 1)
_HOUR = _Unit("hour", QUARTERS_AN_HOUR)
_UNITS = {"hour": _HOUR, "day": _Unit("day", DAY_MS // QUARTER_MS)}


def points(
    connection: apsw.Connection, window: Window, bucket: Bucket, zone: tzinfo
) -> Iterator[Point]:
    """What a window used, by buckets; the start of a bucket may come more than once."""
    (first, last), edges = quarter_span(window)
    for begin, end in _filled(connection, first, last):
        for run in runs(begin, end, bucket, zone):
            yield from _of_run(connection, run, bucket, zone)
    for edge in edges:  # less than a quarter, so that it lies in one bucket
        for sums in connection.execute(_EDGE, edge):
            yield (start_of(edge.since, bucket, zone), *sums)


def _of_run(connection: apsw.Connection, run: Run, bucket: Bucket, zone: tzinfo) -> Iterator[Point]:
    """The whole buckets of a run, and the parts of one at either end."""
    first, last, shift, length = run
    whole = -(-(first + shift) // length), (last + shift) // length
    if whole[0] > whole[1]:
        ends = [(first, last)]
    else:
        begin, end = (number * length - shift for number in whole)
        ends = [(first, begin), (end, last)]
        if begin < end and start_in(run, begin, bucket, zone) != begin * QUARTER_MS:
            # The clock went back to this very beginning: the bucket began before the run.
            ends.append((begin, begin + length))
            whole = whole[0] + 1, whole[1]
        yield from _of_buckets(connection, run, bucket, whole)
    for begin, end in ends:
        if begin < end:
            for sums in connection.execute(_SPAN, (begin, end)):
                yield (start_in(run, begin, bucket, zone), *sums)


def _of_buckets(
    connection: apsw.Connection, run: Run, bucket: Bucket, whole: tuple[int, int]
) -> Iterable[Point]:
    """Buckets from the first of `whole` up to, not including, the second."""
    unit, length_ms = _UNITS[bucket], run.length * QUARTER_MS
    ahead, offset = divmod(run.shift, run.length)
    first, last = (number - ahead for number in whole)
    if not offset:
        found = connection.execute(_ROWS.format(unit=unit.name), (first, last))
        return _begun(found, length_ms, 0)
    part = _QUARTER if offset % _HOUR.quarters or unit is _HOUR else _HOUR
    parts, late = unit.quarters // part.quarters, offset // part.quarters
    names = {"unit": unit.name, "part": part.name}
    own = connection.execute(
        _ACROSS.format(**names, more=""), (first, last, parts, -late, parts - late)
    )
    # A bucket whose own unit is empty has but the end of the unit before.
    left = connection.execute(
        _ACROSS.format(**names, more=_NO_NEXT.format(**names)),
        (first - 1, last - 1, parts, parts - late, parts),
    )
    offset_ms = offset * QUARTER_MS
    return [*_begun(own, length_ms, -offset_ms), *_begun(left, length_ms, length_ms - offset_ms)]


def _begun(rows: Iterable[tuple[Any, ...]], length_ms: int, offset_ms: int) -> list[Point]:
    """Rows of (number of a unit, sums), with the instant instead of the number."""
    return [(n * length_ms + offset_ms, r, i, o, c, d) for n, r, i, o, c, d in rows]


def _filled(connection: apsw.Connection, first: int, last: int) -> list[tuple[int, int]]:
    """Spans of quarters with something in every week: a stray instant of another century must
    not make a question walk there."""
    found: list[tuple[int, int]] = []
    while first < last:
        rows: list[Any] = connection.execute(_FIRST_QUARTER, (first, last)).fetchall()
        begin = rows[0][0]
        if begin is None:
            break
        first = min(begin + WEEK, last)
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], first)
        else:
            found.append((begin, first))
    return found
