"""Cuts between what a reader sees as characters, checked against an independent implementation."""

from __future__ import annotations

import regex
from hypothesis import given
from hypothesis import strategies as st

from instar_threadline.bridge.graphemes import cut_at, is_boundary, shorten, utf16_length

CLUSTERS = st.sampled_from(
    ["👨‍👩‍👧‍👦", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👍🏽", "é", "각", "क्षि", "ำ", "\r\n", "a", " ", "😀"]
)
TEXTS = st.lists(CLUSTERS | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join)


@given(TEXTS)
def test_every_boundary_is_one_of_unicode(text: str) -> None:
    """A cut that we allow is a grapheme boundary by UAX #29."""
    allowed = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    ours = {i for i in range(len(text) + 1) if is_boundary(text, i)}
    assert ours <= allowed | {0}


@given(TEXTS, st.integers(1, 50))
def test_a_cut_is_within_its_limit_and_makes_progress(text: str, limit: int) -> None:
    """Cutting takes at least one and at most `limit` code points."""
    at = cut_at(text, limit)
    assert (0 < at <= limit) or at == len(text) <= limit


def test_a_cluster_of_absurd_length_is_cut_hard() -> None:
    """A thousand combining marks on one letter cannot make the cut stall."""
    assert cut_at("a" + "\u0301" * 1000, 200) == 200


def test_c_56_no_surrogate_pair_is_split() -> None:
    """C-56: a text cut in the middle of an emoji keeps whole characters."""
    assert shorten("x" * 8 + "😀😀😀", 10) == "x" * 8 + "😀…"


@given(st.text())
def test_utf16_length_is_what_the_codec_says(text: str) -> None:
    """Entity units are counted exactly as UTF-16 encodes them."""
    assert utf16_length(text) == len(text.encode("utf-16-le", "surrogatepass")) // 2
