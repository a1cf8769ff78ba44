"""Sums put into the hours or days of a time zone. Pure; instants are epoch milliseconds.

Every zone in use today is a whole number of quarters from UTC, so a quarter never straddles an
hour or a day. An hour that the clock shows twice is two buckets, a day whose first hour it shows
twice is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo
from operator import add
from typing import Any, Literal, NamedTuple

from instar_tokenledger.schema import DAY_MS, QUARTER_MS

Bucket = Literal["hour", "day"]
BUCKETS: tuple[Bucket, ...] = ("hour", "day")
HOUR_MS = 60 * 60 * 1000
_A_DAY = DAY_MS // QUARTER_MS
_LAST = 253_402_214_400_000 // QUARTER_MS
"""9999-12-30, the last quarter a calendar is asked about: a transcript may name any instant, and
what is later has the offset of this day."""
_LENGTHS = {"hour": HOUR_MS // QUARTER_MS, "day": _A_DAY}

Point = tuple[int, int, int, int, int, int]
"""Where a bucket begins, requests, and what is billed: input, output, cache made, cache read."""


class Run(NamedTuple):
    """A span of quarters, last exclusive, in which the clock of a zone does not jump: all with the
    same `(quarter + shift) // length` are in the same bucket."""

    first: int
    last: int
    shift: int
    length: int


def runs(first: int, last: int, bucket: Bucket, zone: tzinfo) -> list[Run]:
    """Quarters `first` up to, not including, `last`, cut where the clock of `zone` jumps. Looks at
    the zone four times a day of the span."""
    found: list[Run] = []
    begin = first
    while begin < last:
        shift = _shift_at(begin, zone)
        end = _next_jump(begin, last, shift, zone)
        found.append(Run(begin, end, shift, _LENGTHS[bucket]))
        begin = end
    return found


def start_in(run: Run, quarter: int, bucket: Bucket, zone: tzinfo) -> int:
    """Where the bucket of a quarter of `run` begins; by arithmetic, unless it is the first of the
    run: that may have begun before the clock jumped, even where the clock now shows its beginning
    once more."""
    start = (quarter + run.shift) // run.length * run.length - run.shift
    if start >= run.first + run.length:
        return start * QUARTER_MS
    return start_of(quarter * QUARTER_MS, bucket, zone)


def start_of(at_ms: int, bucket: Bucket, zone: tzinfo) -> int:
    """Where the bucket of an instant begins."""
    quarter = at_ms // QUARTER_MS
    if quarter >= _LAST:
        shift, length = _shift_at(_LAST, zone), _LENGTHS[bucket]
        return ((quarter + shift) // length * length - shift) * QUARTER_MS
    local = datetime.fromtimestamp(at_ms // 1000, zone)
    start = local.replace(minute=0, second=0, microsecond=0)
    if bucket == "day":
        return round(start.replace(hour=0, fold=0).timestamp() * 1000)
    # Where clocks went back there are two hours of that name: the later that has begun is meant.
    # The instant's own fold does not tell, because the hour may lie in both passes by a part.
    begun = (round(start.replace(fold=fold).timestamp() * 1000) for fold in (0, 1))
    return max(start_ms for start_ms in begun if start_ms <= at_ms)


def bucketed(points: Iterable[Point]) -> list[dict[str, Any]]:
    """Buckets with anything in them, earliest first; points of one bucket are added up."""
    found: dict[int, Point] = {}
    for point in points:
        known = found.setdefault(point[0], point)
        if known is not point:
            found[point[0]] = _both(known, point)
    return [
        {
            "start": start,
            "eventCount": requests,
            "input": fresh,
            "output": output,
            "cacheCreate": create,
            "cacheRead": read,
        }
        for start, requests, fresh, output, create, read in sorted(found.values())
    ]


def _both(one: Point, other: Point) -> Point:
    start, *sums = one
    requests, fresh, output, create, read = map(add, sums, other[1:])
    return start, requests, fresh, output, create, read


def _next_jump(begin: int, last: int, shift: int, zone: tzinfo) -> int:
    """The first quarter after `begin` with another offset, else `last`."""
    look = _A_DAY // 4
    for after in range(begin + look, last + look, look):
        if _shift_at(min(after, last - 1), zone) != shift:
            low, high = after - look, min(after, last - 1)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _shift_at(middle, zone) == shift else (low, middle)
            return high
    return last


def _shift_at(quarter: int, zone: tzinfo) -> int:
    """Quarters that the clock of `zone` is ahead of UTC, and a day, so that none is below zero."""
    at_s = min(quarter, _LAST) * (QUARTER_MS // 1000)
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    seconds = 0 if offset is None else round(offset.total_seconds())
    return _A_DAY + seconds * 1000 // QUARTER_MS
