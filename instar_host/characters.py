"""Characters for a stream whose encoding lacks them, as outside UTF-8.

Promises that whatever is written arrives: the few signs that our own tables draw with as something
alike, one column for one, everything else as an escape of JSON. Names of files may be any bytes,
and are shown the same way. Never changes what a stream in UTF-8 gets.
"""

from __future__ import annotations

import codecs
import io
from typing import TextIO

ERRORS = "instar.alike"
LIKENESS = {"▇": "#", "↓": "v", "↑": "^", "→": ">", "…": "~", "«": "<", "»": ">"}


def let_everything_through(stream: TextIO) -> None:
    """Have a stream write what its encoding lacks in another way, in place of failing."""
    if isinstance(stream, io.TextIOWrapper):
        codecs.register_error(ERRORS, _alike)
        stream.reconfigure(errors=ERRORS)


def json_for(stream: TextIO, text: str) -> str:
    """JSON as `stream` may get it: in UTF-8, or else in ASCII, which is part of it."""
    if text.isascii() or codecs.lookup(stream.encoding or "utf-8").name == "utf-8":
        return text
    return "".join(c if c.isascii() else _escape(c) for c in text)


def _alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(LIKENESS.get(c) or _escape(c) for c in lost), error.end


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
