"""A span of time cut into what the totals hold whole and what only the requests can tell.

Pure: instants are epoch milliseconds, `since` inclusive, `until` exclusive.
"""

from __future__ import annotations

from typing import NamedTuple

from instar_tokenledger.schema import DAY_MS, DAYS_A_BLOCK, QUARTER_MS

END_OF_TIME = 2**53


class Window(NamedTuple):
    """From `since` up to, not including, `until`."""

    since: int
    until: int


class Parts(NamedTuple):
    """A window in pieces that do not overlap and leave nothing out. Empty spans have first >=
    last."""

    days: tuple[int, int]
    """Numbers of whole days, first inclusive, last exclusive."""
    quarters: tuple[tuple[int, int], ...]
    """Spans of whole quarters outside those days."""
    edges: tuple[Window, ...]
    """What is left: less than a quarter at either end."""


def parts(window: Window) -> Parts:
    """Cut `window` at whole quarters and whole days."""
    since, until = max(0, window.since), min(window.until, END_OF_TIME)
    if since >= until:
        return Parts((0, 0), (), ())
    first, last = -(-since // QUARTER_MS), until // QUARTER_MS
    if first >= last:
        return Parts((0, 0), (), _inner_edges(since, until, first, last))
    edges = _present(Window(since, first * QUARTER_MS), Window(last * QUARTER_MS, until))
    a_day = DAY_MS // QUARTER_MS
    first_day, last_day = -(-first // a_day), last // a_day
    if first_day >= last_day:
        return Parts((0, 0), ((first, last),), edges)
    quarters = ((first, first_day * a_day), (last_day * a_day, last))
    return Parts((first_day, last_day), tuple(q for q in quarters if q[0] < q[1]), edges)


def blocks(days: tuple[int, int]) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
    """The whole blocks in a span of days, and the spans of days that are left."""
    first, last = -(-days[0] // DAYS_A_BLOCK), days[1] // DAYS_A_BLOCK
    if first >= last:
        return (0, 0), tuple(d for d in (days,) if d[0] < d[1])
    rest = ((days[0], first * DAYS_A_BLOCK), (last * DAYS_A_BLOCK, days[1]))
    return (first, last), tuple(d for d in rest if d[0] < d[1])


def quarter_span(window: Window) -> tuple[tuple[int, int], tuple[Window, ...]]:
    """The whole quarters of `window` as one span, and its edges."""
    since, until = max(0, window.since), min(window.until, END_OF_TIME)
    first, last = -(-since // QUARTER_MS), until // QUARTER_MS
    if since >= until:
        return (0, 0), ()
    if first >= last:
        return (0, 0), _inner_edges(since, until, first, last)
    return (first, last), _present(
        Window(since, first * QUARTER_MS), Window(last * QUARTER_MS, until)
    )


def _inner_edges(since: int, until: int, first: int, last: int) -> tuple[Window, ...]:
    """A window without a whole quarter: it lies in one, or cuts two."""
    if first == last:
        return _present(Window(since, first * QUARTER_MS), Window(first * QUARTER_MS, until))
    return (Window(since, until),)


def _present(*windows: Window) -> tuple[Window, ...]:
    return tuple(w for w in windows if w.since < w.until)
