"""What waits: one row a message, its key, and how it stands in the database.

Promises plain values and the statements that read and write them. Knows no order, no limit and
no policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import apsw
import msgspec
from msgspec import Struct

from instar_threadline.messages import Identity

Kind = Literal["message", "banner", "placeholder", "skipped", "repeat"]

ROW_OVERHEAD_BYTES = 200

COLUMNS = (
    "seq, target, lane, key, kind, history, ring, thread_id, direction, fingerprint, peer_name,"
    " message_id, verified, outcome, at_ms, body, queued_at_ms, alone, plain, maybe"
)


class Row(Struct, frozen=True, kw_only=True):
    """One message that waits, redacted."""

    target: str
    lane: str
    key: bytes
    thread_id: str
    direction: Literal["in", "out"]
    fingerprint: str
    body: str
    queued_at_ms: int
    kind: Kind = "message"
    history: bool = False
    ring: bool = False
    peer_name: str = ""
    message_id: str = ""
    verified: bool = True
    outcome: str | None = None
    at_ms: int | None = None
    alone: bool = False
    """Sent on its own, to find out which of several Telegram refuses."""
    plain: bool = False
    """Sent without entities, as the last try before it is parked."""
    maybe: bool = False
    """An earlier attempt may have arrived somewhere; the text says so."""
    seq: int = 0


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A message that was parked, and why."""

    id: int
    target: str
    reason: str
    at_ms: int
    row: Row


def identity_key(identity: Identity) -> bytes:
    """The key of a message: the same for live traffic, backfill and retries of either."""
    return key_of(*identity)


def key_of(*parts: str | int | bytes) -> bytes:
    """16 bytes that two different lists of parts never share."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def size_of(row: Row) -> int:
    """Bytes that a row counts for."""
    return len(row.body.encode("utf-8", "replace")) + ROW_OVERHEAD_BYTES


def insert(db: apsw.Connection, row: Row) -> None:
    """Add a row; its `seq` is made here."""
    db.execute(
        "INSERT INTO queue (target, lane, key, kind, history, ring, thread_id, direction,"
        " fingerprint, peer_name, message_id, verified, outcome, at_ms, body, bytes, queued_at_ms,"
        " alone, plain, maybe) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.target,
            row.lane,
            row.key,
            row.kind,
            row.history,
            row.ring,
            row.thread_id,
            row.direction,
            row.fingerprint,
            row.peer_name,
            row.message_id,
            row.verified,
            row.outcome,
            row.at_ms,
            row.body,
            size_of(row),
            row.queued_at_ms,
            row.alone,
            row.plain,
            row.maybe,
        ),
    )


def row_from(values: Sequence[object]) -> Row:
    """A row of `SELECT {COLUMNS}`."""
    names = COLUMNS.split(", ")
    return msgspec.convert(dict(zip(names, values, strict=True)), Row, strict=False)


def dead_letter_from(values: Sequence[object]) -> DeadLetter:
    """A dead letter of `SELECT id, target, reason, at_ms, row`."""
    names = ("id", "target", "reason", "at_ms")
    plain = dict(zip(names, values, strict=False))
    row = msgspec.json.decode(msgspec.convert(values[4], bytes), type=Row)
    return msgspec.convert({**plain, "row": row}, DeadLetter)
