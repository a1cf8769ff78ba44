"""Text for a terminal: nothing that a peer wrote can move the cursor, colour or reorder it.
Pure."""

from __future__ import annotations

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS


def clean(text: str) -> str:
    """`text` on one line, with every character that does not print shown as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def fitted(text: str, width: int) -> str:
    """`text` cut to a number of columns (characters, roughly)."""
    return text if len(text) <= width or width < 20 else text[: width - 1] + "…"


def ago(ms: int) -> str:
    """How long ago, in one unit."""
    if ms < _MINUTE_MS:
        return "just now"
    if ms < _HOUR_MS:
        return f"{ms // _MINUTE_MS}m ago"
    if ms < _DAY_MS:
        return f"{ms // _HOUR_MS}h ago"
    return f"{ms // _DAY_MS}d ago"
