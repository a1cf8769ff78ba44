"""Search: exact substrings in any script and case, newest first, and nothing is syntax."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instar_threadline.record.words import expression, fold, snippet
from tests.threadline.logs import GAIL, Seen, open_log, received, sent

TEXTS = (
    "the GROUND-TRUTH is here",
    "reply about ground-truth",
    "quotes \" and ' and \\ and * and -",
    "«guillemets» and İstanbul, STRASSE, straße",
    "ΣΊΣΥΦΟΣ και Ελλάδα, Привет, 你好世界, emoji 🎉🎉🎉",
    "NEAR(a b) OR text:x AND NOT y; DROP TABLE words --",
    "100% sure_thing",
    "a\x00b null",
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("search")
    log = open_log(folder)
    for i, text in enumerate(TEXTS):
        make = sent if i == 1 else received
        peer = GAIL if i == 6 else None
        extra = {"counterparty": peer, "counterparty_name": "Gail"} if peer else {}
        log.record([make(text, timestamp=f"2026-05-01T10:00:{i:02d}Z", **extra)])
    found = Seen(folder)
    yield found
    found.close()


def test_both_directions_marked_in_any_case(seen: Seen) -> None:
    """D5-12, D5-14: the text is found in both files, whatever the case, and marked."""
    for query in ("GROUND-TRUTH", "ground-truth", " Ground-Truth "):
        hits = seen.hits(query)
        assert [hit.count("«") for hit in hits] == [1, 1]
        assert "«ground-truth»" in hits[0]
        assert "«GROUND-TRUTH»" in hits[1]


def test_a_limit_and_the_way_on(seen: Seen) -> None:
    """D5-13: one hit at a time, and the cursor leads to the next and then to the end."""
    found, cursor = [], None
    for _ in range(5):
        page = seen.search.messages("ground-truth", limit=1, cursor=cursor)
        found += [hit.message.direction for hit in page.hits]
        if page.next_cursor is None:
            break
        cursor = int(page.next_cursor)
    assert found == ["out", "in"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ('"', 1), ("' and", 1), ("\\ and *", 1), ("*", 1), ("text:x", 1), ("NOT y", 1), ("--", 1),
        ("NEAR(", 1), ("100%", 1), ("sure_thing", 1), ("e_t", 1), ("___", 0), ("%%%", 0),
        ("a\x00b", 1),
        ("straße", 1), ("STRASSE", 1), ("İstanbul", 1), ("ίσυφος", 0), ("ΊΣΥΦ", 1), ("ελλάδα", 1),
        ("ПРИВЕТ", 1), ("你好世", 1), ("🎉🎉🎉", 1), ("🎉🎉🎉🎉", 0), ("«guill", 1), ("zzz", 0),
    ],
)  # fmt: skip
def test_a_query_is_only_ever_text(seen: Seen, query: str, count: int) -> None:
    """Quotes, operators, wildcards, other scripts: characters to be found, and nothing else."""
    assert len(seen.hits(query)) == count


def test_the_mark_stands_where_the_match_is(seen: Seen) -> None:
    """C-72: characters whose lower case is longer do not shift the snippet."""
    assert seen.hits("stra")[0].count("«stra»") == 0
    assert "«STRA»" in seen.hits("stra")[0]
    assert seen.hits("find me") == []


def test_filters(seen: Seen) -> None:
    """By agent and by instants, both ends included."""
    assert len(seen.hits("and", remote_agent="gail")) == 0
    assert len(seen.hits("sure", remote_agent="gail")) == 1
    at = 1_777_629_601_000
    assert len(seen.hits("ground", since_ms=at)) == 1
    assert len(seen.hits("ground", until_ms=at)) == 2
    assert len(seen.hits("ground", until_ms=at - 1)) == 1


def test_a_short_query_looks_at_recent_messages_and_says_so(seen: Seen) -> None:
    """Fewer than three characters: the newest messages only."""
    page = seen.search.messages("%", limit=10)
    assert (len(page.hits), page.scope) == (1, "recent")


@given(st.text(max_size=40))
def test_folding_keeps_every_place(text: str) -> None:
    """One character in, one character out; folding twice changes nothing."""
    folded = fold(text)
    assert len(folded) == len(text)
    assert fold(folded) == folded


@given(st.text(min_size=1, max_size=80), st.data())
def test_every_substring_is_found(text: str, data: st.DataObject) -> None:
    """Any piece of a text is found in it, marked, in the snippet; its trigrams are quoted whole."""
    start = data.draw(st.integers(0, len(text) - 1))
    piece = text[start : data.draw(st.integers(start + 1, len(text)))]
    at = fold(text).find(fold(piece))
    assert at >= 0
    assert snippet(text, at, len(piece))[1] == text[at : at + len(piece)]
    assert expression(fold(piece)).count('"') % 2 == 0
