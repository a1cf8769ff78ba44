"""Text as the search sees it: what stands for what."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from instar_threadline.record.words import expression, fold, spread


def test_every_character_has_one_that_stands_for_it_alone() -> None:
    """Two texts are the same in the index if they are the same; bytes of UTF-8 stay what they
    are, and so does NUL, which parts the texts of a piece."""
    every = bytes(range(256))
    assert sorted(spread(every)) == list(every)
    assert spread(every)[128:] == every[128:]
    assert spread(b"\0") == b"\0"


@given(st.text(), st.text(min_size=3), st.text())
def test_what_is_in_a_text_is_found_by_its_trigrams(before: str, query: str, after: str) -> None:
    """Whatever the characters are: each trigram that is asked for is in the text of the index."""
    text = spread(fold(before + query + after).encode("utf-8", "replace"))
    grams = expression(fold(query)).removeprefix('"').removesuffix('"').split('" AND "')
    assert all(gram.replace('""', '"').encode() in text for gram in grams)


def test_trigrams_of_letters_fall_apart() -> None:
    """Chains in the hash table of FTS5 are short: its hash of three letters or spaces has two and
    a half times as many values as of letters that stand for themselves."""

    def hashed(gram: bytes) -> int:
        value = 13
        for byte in reversed(b"0" + gram):
            value = (value << 3 ^ value ^ byte) & 0xFFFFFFFF
        return value

    letters = [letter.encode() for letter in "abcdefghijklmnopqrstuvwxyz "]
    grams = [b"".join(three) for three in product(letters, repeat=3)]
    plain, better = {hashed(gram) for gram in grams}, {hashed(spread(gram)) for gram in grams}
    assert len(better) > 2.5 * len(plain)
