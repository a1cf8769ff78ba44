"""Ids and names as the ledger keeps them: short, and found by a number.

Nearly every id of an agent begins alike, and a beginning that millions of rows repeat says nothing;
nearly every name is long, and an index over whole names would keep each of them twice. Pure and
without loss: `whole` undoes `short`.
"""

from __future__ import annotations

from zlib import crc32

MESSAGE = "msg_01"
"""How the ids of messages begin, for as long as anybody has seen."""
REQUEST = "req_011C"
WITHOUT = "="
"""Begins what is kept of an id with another beginning."""


def short(text: str, beginning: str) -> str:
    """What is kept of an id."""
    if text.startswith(beginning):
        rest = text[len(beginning) :]
        if rest[:1] != WITHOUT:
            return rest
    return WITHOUT + text


def whole(kept: str | None, beginning: str) -> str:
    """The id of which `kept` was kept; empty for None."""
    if kept is None:
        return ""
    return kept[1:] if kept.startswith(WITHOUT) else beginning + kept


def number_of(name: str | bytes) -> int:
    """What a name is found by; several names may share it. 32 bits with a sign, the shortest that
    a database keeps well."""
    data = name if isinstance(name, bytes) else name.encode()
    return crc32(data) - (1 << 31)


def whole_sql(column: str, beginning: str) -> str:
    """SQL for `whole`, null for null."""
    return (
        f"CASE WHEN substr({column}, 1, 1) = '{WITHOUT}' THEN substr({column}, 2)"
        f" ELSE '{beginning}' || {column} END"
    )


def short_sql(column: str, beginning: str) -> str:
    """SQL for `short`, null for null."""
    long = len(beginning)
    return (
        f"CASE WHEN substr({column}, 1, {long}) = '{beginning}'"
        f" AND substr({column}, {long + 1}, 1) <> '{WITHOUT}'"
        f" THEN substr({column}, {long + 1}) ELSE '{WITHOUT}' || {column} END"
    )
