"""What people and scripts write for an instant or a span, read strictly.

Pure: `now_ms` and the zone of dates without one are given. An instant is epoch milliseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from instar_tokenledger.errors import BadQuery
from instar_tokenledger.windows import END_OF_TIME

UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_WHOLE = re.compile(r"[0-9]{1,16}")
_AGO = re.compile(r"([0-9]{1,6})([mhdw])")


def instant_ms(text: str, now_ms: int, zone: tzinfo | None) -> int:
    """An instant from `1767225600000`, `7d` (ago), `2026-01-31` or `2026-01-31T12:00[Z]`.

    A date or time without an offset is local to `zone`; with `zone` None it is refused. Raises
    `BadQuery`.
    """
    if _WHOLE.fullmatch(text):
        at_ms = int(text)
    elif ago := _AGO.fullmatch(text):
        at_ms = max(0, now_ms - int(ago[1]) * UNITS_MS[ago[2]])
    else:
        at_ms = _date_ms(text, zone)
    if not 0 <= at_ms <= END_OF_TIME:
        raise BadQuery(f"{text!r} is out of range: instants run from 1970 on.")
    return at_ms


def span_ms(text: str) -> int:
    """A span from `30m`, `12h`, `7d` or `2w`, in milliseconds. Raises `BadQuery`.

    A bare number is refused: people mean minutes by it, and scripts milliseconds.
    """
    if (ago := _AGO.fullmatch(text)) and int(ago[1]):
        return int(ago[1]) * UNITS_MS[ago[2]]
    if _WHOLE.fullmatch(text) and int(text):
        raise BadQuery(f"{text!r} names no unit: write {text}m for minutes, or {text}h, {text}d.")
    raise BadQuery(f"{text!r} is not a span: write 30m, 12h, 7d or 2w.")


def _date_ms(text: str, zone: tzinfo | None) -> int:
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            if zone is None:
                raise BadQuery(f"{text!r} names no time zone: end it with Z or an offset.")
            when = when.replace(tzinfo=zone)
        return (when - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise BadQuery(
            f"{text!r} is not an instant: write epoch milliseconds, a span such as 7d or 12h, or a"
            " date such as 2026-01-31."
        ) from None
