"""Text as the search sees it: folded one character to one character. Pure.

Promises that a folded text has as many characters as the text, so that a place found in the one
is the same place in the other (lower-casing a whole text does not promise that: `İ` becomes two
characters). What is indexed and what is looked for pass through the same fold, and nothing of a
query is ever syntax.
"""

from __future__ import annotations

TRIGRAM = 3
CONTEXT_CHARS = 60

_COMMON = " etansiordlhpcmfu\ngkwqyb`|.,\"xvj_-:z()=0#][/;1*'>2}{46538\\+?79<@!$~%&^\t"
_CODES = "kA$^RG3,u'<n}N;gU47 |(VqP*s/YMIz[!~t:2{rJa5DpLo9vhmydOl+eFB?xfWH.Tb-j%>"
"""What is written for each of the common characters: see `spread`."""


def fold(text: str) -> str:
    """`text` in lower case, character by character; NUL, which the index cannot hold, is U+FFFD."""
    lowered = text.lower() if text.isascii() else "".join(_FOLDS[c] for c in text)
    return lowered.replace("\0", "\ufffd") if "\0" in lowered else lowered


def spread(folded: bytes) -> bytes:
    """Folded text, in UTF-8, as the text index holds it: its common characters stand for others.

    While a piece is taken in, FTS5 keeps the trigrams in a hash table, and its hash of three lower
    case letters has two thousand values, for ten times as many trigrams: two thirds of the time
    went into the search of long chains. Under this change of letters, found by trial on prose, on
    code and on random words, a trigram shares its value with one other on average, not with five.
    Two different texts are still different.
    """
    return folded.translate(_SPREAD)


def expression(folded: str) -> str:
    """The match expression of the text index for a folded query of three characters or more.

    Every text that contains the query contains all its trigrams; whether it contains the query is
    looked up in the text itself. Trigrams side by side are enough, and the last one: those that
    overlap them rule out little more and cost as much each (a phrase takes a third of the time).
    """
    last = len(folded) - TRIGRAM
    starts = (*range(0, last, TRIGRAM), last)
    grams = dict.fromkeys(folded[i : i + TRIGRAM] for i in starts)
    codes = [spread(gram.encode("utf-8", "replace")).decode() for gram in grams]
    return " AND ".join('"' + code.replace('"', '""') + '"' for code in codes)


def snippet(text: str, start: int, length: int) -> tuple[str, str, str]:
    """(sixty characters before, the match, sixty after), with `…` where the text was cut."""
    begin, end = max(0, start - CONTEXT_CHARS), min(len(text), start + length + CONTEXT_CHARS)
    before = ("…" if begin else "") + text[begin:start]
    after = text[start + length : end] + ("…" if end < len(text) else "")
    return before, text[start : start + length], after


def _spread() -> bytes:
    """The change of letters as a table of 128 bytes and those of UTF-8: a permutation."""
    there, codes = _COMMON.encode(), _CODES.encode()
    others = [byte for byte in range(256) if byte not in there]
    left = [byte for byte in range(256) if byte not in codes]  # as many, and none of them moves
    table = dict(zip(there + bytes(others), codes + bytes(left), strict=True))  # from ASCII out
    return bytes(table[byte] for byte in range(256))


class _Folds(dict[str, str]):
    def __missing__(self, character: str) -> str:
        lowered = character.lower()
        folded = self[character] = lowered if len(lowered) == 1 else character
        return folded


_SPREAD = _spread()
_FOLDS = _Folds()  # a cache of a pure function: at most one entry a character of Unicode
