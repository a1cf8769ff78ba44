"""Dead letters in the database: messages that were parked for a person to decide about.

Promises the statements that read and write them, one letter at a time: their texts may be long.
Counts nothing and queues nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from instar_threadline.bridge.rows import DeadLetter, Row, dead_letter_from

_COLUMNS = "id, target, reason, at_ms, row"

Named = tuple[int, str]
"""Its number and its target."""


def add(db: apsw.Connection, row: Row, reason: str, at_ms: int) -> None:
    """Keep a row that was refused, and why."""
    db.execute(
        "INSERT INTO dead (target, reason, at_ms, row) VALUES (?, ?, ?, ?)",
        (row.target, reason, at_ms, msgspec.json.encode(row)),
    )


def newest(db: apsw.Connection, limit: int) -> list[DeadLetter]:
    """The newest first."""
    found = db.execute(f"SELECT {_COLUMNS} FROM dead ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
    return [dead_letter_from(values) for values in found]


def chosen(db: apsw.Connection, ids: Sequence[int] | None) -> list[Named]:
    """Those of these numbers that are there, oldest first; None means all."""
    wanted = None if ids is None else msgspec.json.encode(list(ids)).decode()
    return _named(
        db,
        "SELECT id, target FROM dead WHERE ?1 IS NULL OR id IN (SELECT value FROM json_each(?1))"
        " ORDER BY id",
        wanted,
    )


def beyond(db: apsw.Connection, limit: int) -> list[Named]:
    """Those that are older than the newest `limit`."""
    return _named(db, "SELECT id, target FROM dead ORDER BY id DESC LIMIT -1 OFFSET ?", limit)


def read(db: apsw.Connection, number: int) -> DeadLetter:
    """One that is there."""
    found = db.execute(f"SELECT {_COLUMNS} FROM dead WHERE id = ?", (number,)).fetchall()
    return dead_letter_from(found[0])


def remove(db: apsw.Connection, number: int) -> None:
    """Forget one."""
    db.execute("DELETE FROM dead WHERE id = ?", (number,))


def _named(db: apsw.Connection, sql: str, binding: str | int | None) -> list[Named]:
    return msgspec.convert(db.execute(sql, (binding,)).fetchall(), list[Named])
