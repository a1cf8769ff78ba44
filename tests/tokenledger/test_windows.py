"""A window cut into days, quarters and edges leaves nothing out and covers nothing twice."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from instar_tokenledger.schema import DAY_MS, QUARTER_MS
from instar_tokenledger.windows import END_OF_TIME, Window, parts, quarter_span

near = st.builds(
    lambda unit, n, off: unit * n + off,
    st.sampled_from([QUARTER_MS, DAY_MS]),
    st.integers(0, 400),
    st.integers(-2, 2),
)
instants = near | st.integers(-10, 3 * DAY_MS) | st.integers(0, END_OF_TIME)


def spans_of(window: Window) -> list[tuple[int, int]]:
    """The pieces of a window in milliseconds, the empty ones left out."""
    pieces = parts(window)
    spans = [(pieces.days[0] * DAY_MS, pieces.days[1] * DAY_MS)]
    spans += [(first * QUARTER_MS, last * QUARTER_MS) for first, last in pieces.quarters]
    spans += pieces.edges
    return sorted((a, b) for a, b in spans if a < b)


def assert_covers(spans: list[tuple[int, int]], window: Window) -> None:
    """The spans follow each other without a gap from the window's begin to its end."""
    since, until = max(0, window.since), min(END_OF_TIME, window.until)
    if since >= until:
        assert not spans
        return
    assert (spans[0][0], spans[-1][1]) == (since, until)
    assert all(a[1] == b[0] for a, b in pairwise(spans))


@given(instants, instants)
def test_the_pieces_are_the_window(since: int, until: int) -> None:
    """Days, quarters and edges are disjoint, in order, and all of it."""
    window = Window(since, until)
    assert_covers(spans_of(window), window)


@given(instants, instants)
def test_whole_quarters_and_edges_are_the_window(since: int, until: int) -> None:
    """The same without days."""
    window = Window(since, until)
    (first, last), edges = quarter_span(window)
    spans = [(first * QUARTER_MS, last * QUARTER_MS), *edges]
    assert_covers(sorted((a, b) for a, b in spans if a < b), window)


@given(instants, instants)
def test_edges_are_less_than_a_quarter_each(since: int, until: int) -> None:
    """What has to be looked up row by row is never long."""
    for edge in parts(Window(since, until)).edges:
        assert edge.until - edge.since < 2 * QUARTER_MS
