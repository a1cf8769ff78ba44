"""The one operation that is under way in a chat, in the database before it begins.

Promises that after a crash it is known exactly what may have happened and with which words, so
that it can be resolved before anything else is sent.
"""

from __future__ import annotations

from typing import Literal

import apsw
import msgspec
from msgspec import Struct

from instar_threadline.bridge.render import Piece


class Flight(Struct, frozen=True, kw_only=True):
    """What is being done."""

    kind: Literal["send", "create", "reopen", "correct"]
    lane: str = ""
    thread_id: str = ""
    seqs: tuple[int, ...] = ()
    pieces: tuple[Piece, ...] = ()
    step: int = 0
    """The piece that is next; those before it have arrived."""
    topic_id: int | None = None
    silent: bool = True
    name: str = ""
    """Of the topic to make."""
    message_id: int = 0
    """Of the message to correct."""
    doubtful: bool = False
    """An attempt of this step may have taken effect."""
    high_before: int = 0
    """The newest id of the chat that was known before the first attempt of this step."""
    unclear: int = 0
    """Attempts to make the topic of which nobody knows the end."""
    probed: int = 0
    """Ids above it that were found not to be the topic."""


def load(db: apsw.Connection, target: str) -> tuple[Flight, bool] | None:
    """The flight and whether its attempt was begun and not ended; None when nothing is under
    way.
    """
    found = db.execute("SELECT state, value FROM flight WHERE target = ?", (target,)).fetchall()
    if not found:
        return None
    state, value = msgspec.convert(found[0], tuple[str, bytes])
    return msgspec.json.decode(value, type=Flight), state == "sending"


def save(db: apsw.Connection, target: str, flight: Flight, *, sending: bool) -> None:
    """Store the flight; `sending` from right before the request until its end is known."""
    db.execute(
        "INSERT INTO flight VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET state = excluded.state, value = excluded.value",
        (target, "sending" if sending else "resting", msgspec.json.encode(flight)),
    )


def end(db: apsw.Connection, target: str) -> None:
    """Nothing is under way any more."""
    db.execute("DELETE FROM flight WHERE target = ?", (target,))
