"""Text as the search sees it: folded one character to one character. Pure.

Promises that a folded text has as many characters as the text, so that a place found in the one
is the same place in the other (lower-casing a whole text does not promise that: `İ` becomes two
characters). What is indexed and what is looked for pass through the same fold, and nothing of a
query is ever syntax.
"""

from __future__ import annotations

TRIGRAM = 3
CONTEXT_CHARS = 60


def fold(text: str) -> str:
    """`text` in lower case, character by character; NUL, which the index cannot hold, is U+FFFD."""
    lowered = text.lower() if text.isascii() else "".join(_FOLDS[c] for c in text)
    return lowered.replace("\0", "\ufffd") if "\0" in lowered else lowered


def expression(folded: str) -> str:
    """The match expression of the text index for a folded query of three characters or more.

    Every text that contains the query contains all its trigrams; whether it contains the query is
    looked up in the text itself. Trigrams side by side are enough, and the last one: those that
    overlap them rule out little more and cost as much each (a phrase takes a third of the time).
    """
    last = len(folded) - TRIGRAM
    starts = (*range(0, last, TRIGRAM), last)
    grams = dict.fromkeys(folded[i : i + TRIGRAM] for i in starts)
    return " AND ".join('"' + gram.replace('"', '""') + '"' for gram in grams)


def snippet(text: str, start: int, length: int) -> tuple[str, str, str]:
    """(sixty characters before, the match, sixty after), with `…` where the text was cut."""
    begin, end = max(0, start - CONTEXT_CHARS), min(len(text), start + length + CONTEXT_CHARS)
    before = ("…" if begin else "") + text[begin:start]
    after = text[start + length : end] + ("…" if end < len(text) else "")
    return before, text[start : start + length], after


class _Folds(dict[str, str]):
    def __missing__(self, character: str) -> str:
        lowered = character.lower()
        folded = self[character] = lowered if len(lowered) == 1 else character
        return folded


_FOLDS = _Folds()  # a cache of a pure function: at most one entry a character of Unicode
