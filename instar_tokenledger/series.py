"""Sums put into the hours or days of a time zone. Pure; instants are epoch milliseconds.

Every zone in use today is a whole number of quarters from UTC, so a quarter never straddles an
hour or a day. An hour that the clock shows twice is two buckets.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from instar_tokenledger.rollups import FALLBACK, MESSAGE
from instar_tokenledger.schema import DAY_MS

Bucket = Literal["hour", "day"]
BUCKETS: tuple[Bucket, ...] = ("hour", "day")
HOUR_MS = 60 * 60 * 1000
LAST_MS = 253_402_214_400_000
"""9999-12-30: what is said to be later has the offset of this day, for no clock goes further."""


def bucketed(
    items: Iterable[tuple[int, int, tuple[int, ...]]], bucket: Bucket, zone: tzinfo
) -> list[dict[str, Any]]:
    """Buckets with anything in them, earliest first, from (instant, kind, sums) items."""
    starts = _Starts(bucket, zone)
    found: dict[int, list[int]] = {}
    for at_ms, kind, sums in items:
        if kind == FALLBACK:
            continue
        start = starts.of(at_ms)
        known = found.get(start)
        if known is None:
            known = found[start] = [0, 0, 0, 0, 0]
        known[0] += sums[0] if kind == MESSAGE else 0
        for i in (1, 2, 3, 4):
            known[i] += sums[i]
    names = ("eventCount", "input", "output", "cacheCreate", "cacheRead")
    return [
        {"start": start, **dict(zip(names, found[start], strict=True))} for start in sorted(found)
    ]


class _Starts:
    """Where the bucket of an instant begins; asks the zone once a day, not once an instant."""

    def __init__(self, bucket: Bucket, zone: tzinfo) -> None:
        self._bucket = bucket
        self._zone = zone
        self._length = HOUR_MS if bucket == "hour" else DAY_MS
        self._offsets: dict[int, int | None] = {}

    def of(self, at_ms: int) -> int:
        day = at_ms // DAY_MS
        if day not in self._offsets:
            self._offsets[day] = self._offset_of(day)
        offset = self._offsets[day]
        if offset is None:
            return self._exactly(at_ms)
        return (at_ms + offset) // self._length * self._length - offset

    def _offset_of(self, day: int) -> int | None:
        """The zone's offset in ms if it is the same all around the UTC day, else None."""
        offsets = {self._offset_at(day * DAY_MS + hours * HOUR_MS) for hours in range(-24, 49, 3)}
        return offsets.pop() if len(offsets) == 1 else None

    def _offset_at(self, at_ms: int) -> int:
        offset = (
            datetime.fromtimestamp(min(at_ms, LAST_MS) / 1000, UTC)
            .astimezone(self._zone)
            .utcoffset()
        )
        return round(offset.total_seconds() * 1000) if offset is not None else 0

    def _exactly(self, at_ms: int) -> int:
        local = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(self._zone)
        start = local.replace(minute=0, second=0, microsecond=0)
        if self._bucket == "day":
            start = start.replace(hour=0, fold=0)
        return round(start.timestamp() * 1000)
