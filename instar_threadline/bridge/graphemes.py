"""Where a text may be cut without splitting what a reader sees as one character.

Promises boundaries that are a subset of Unicode's extended grapheme boundaries (UAX #29): it
may refuse a legal cut in rare scripts, it never offers an illegal one. Pure; counts in code
points, as Telegram does.
"""

from __future__ import annotations

import unicodedata

_ZWJ = "\u200d"
_VIRAMA_CLASS = 9
_LONGEST_CLUSTER = 64
"""Code points we look back for a boundary; a longer cluster is an attack on the layout and is
cut hard.
"""

_EXTENDING_LETTERS = frozenset("\u0e33\u0eb3\u200c\u200d\uff9e\uff9f")
_PREPENDED = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e"
    "\U000110bd\U000110cd\U000111c2\U000111c3\U00011a3a\U00011d46\U00011f02"
)


def is_boundary(text: str, index: int) -> bool:
    """True when `text` may be cut before code point `index`."""
    if index <= 0 or index >= len(text):
        return True
    before, after = text[index - 1], text[index]
    if before == "\r" and after == "\n":
        return False
    if before.isascii() and after.isascii():
        return True
    if _extends(after) or before == _ZWJ or before in _PREPENDED:
        return False
    if unicodedata.combining(before) == _VIRAMA_CLASS:
        return False
    if _is_regional(before) and _is_regional(after):
        return _regionals_before(text, index) % 2 == 0
    return not _joins_hangul(before, after)


def cut_at(text: str, limit: int) -> int:
    """The largest boundary that is at most `limit` code points in; `limit` itself when a
    cluster is absurd.
    """
    if limit >= len(text):
        return len(text)
    for index in range(limit, max(0, limit - _LONGEST_CLUSTER), -1):
        if is_boundary(text, index):
            return index
    return max(limit, 1)


def shorten(text: str, limit: int) -> str:
    """`text`, or its beginning and an ellipsis, in at most `limit` code points."""
    if len(text) <= limit:
        return text
    return text[: cut_at(text, limit - 1)].rstrip() + "…" if limit > 1 else "…"


def utf16_length(text: str) -> int:
    """Length in UTF-16 units, the unit of Telegram's entity offsets."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _extends(character: str) -> bool:
    if character in _EXTENDING_LETTERS or "\U0001f3fb" <= character <= "\U0001f3ff":
        return True
    if "\U000e0020" <= character <= "\U000e007f":
        return True
    return unicodedata.category(character) in ("Mn", "Me", "Mc")


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _regionals_before(text: str, index: int) -> int:
    count = 0
    while count < index and _is_regional(text[index - 1 - count]):
        count += 1
    return count


def _joins_hangul(before: str, after: str) -> bool:
    leading = "\u1100" <= before <= "\u115f" or "\ua960" <= before <= "\ua97c"
    syllable = "\uac00" <= before <= "\ud7a3"
    medial = "\u1160" <= before <= "\u11ff" or "\ud7b0" <= before <= "\ud7fb"
    if "\u1160" <= after <= "\u11ff" or "\ud7b0" <= after <= "\ud7fb":
        return leading or syllable or medial
    if "\u1100" <= after <= "\u115f" or "\ua960" <= after <= "\ua97c":
        return leading
    return leading and "\uac00" <= after <= "\ud7a3"
