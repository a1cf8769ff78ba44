"""Which messages a backfill is about, by thread and by time, however long the log is.

Promises that memory does not grow with the log: what is noted of a message is where it stands, in
a nameless file on disk that nobody else can open and that is gone with the process; its words
stay in the log and are read again one at a time. What is in no log, a seed's message, is kept as
it is. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, Self

import apsw
import msgspec
from msgspec import Struct

from instar_threadline.messages import UNKNOWN_AGENT, Direction, Integrity, Message, Position

State = Literal["new", "posted", "known"]
"""`new`: to be queued. `posted`: the original did it. `known`: in the queue, sent, or left out."""

ReadAgain = Callable[[Position, Integrity], Message | None]
"""The message at a place of the log; None when the log is no longer what it was there."""

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8000;
CREATE TABLE thread (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL);
CREATE TABLE item (
  thread INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  state TEXT NOT NULL,
  direction TEXT NOT NULL,
  integrity TEXT NOT NULL,
  segment INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  length INTEGER NOT NULL,
  PRIMARY KEY (thread, at_ms, ordinal)
) WITHOUT ROWID;
BEGIN;
"""
_KEPT = 0
"""The segment of what is in no log; its offset is the number in our own list."""
_PLACE = "direction, integrity, segment, offset, length"


class ThreadHistory(Struct, frozen=True, kw_only=True):
    """One thread and how much of it there is."""

    number: int
    """Counts up by the threads' first messages."""
    thread_id: str
    total: int
    inbound: int
    new: int
    posted: int


class History:
    """The messages that were added, as long as it is open. One thread at a time."""

    def __init__(self, read_again: ReadAgain) -> None:
        self._read_again = read_again
        self._kept: list[Message] = []
        self._count = 0
        self._db = apsw.Connection("")  # a file of SQLite's own, without a name
        self._db.execute(_SCHEMA).fetchall()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def add(self, message: Message, state: State) -> None:
        """Note a message; one without a thread is left out."""
        if not message.thread_id:
            return
        place = message.position
        if place is None:
            place = Position(
                direction=message.direction, segment=_KEPT, offset=len(self._kept), length=0
            )
            self._kept.append(message)
        self._count += 1
        self._db.execute(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._number(message.thread_id),
                message.timestamp_ms or 0,
                self._count,
                state,
                message.direction,
                message.integrity,
                place.segment,
                place.offset,
                place.length,
            ),
        )

    def has(self, thread_id: str) -> bool:
        """True when there is a message of the thread."""
        found = self._db.execute("SELECT EXISTS (SELECT 1 FROM thread WHERE id = ?)", (thread_id,))
        return bool(found.get)

    def threads(self) -> Iterator[ThreadHistory]:
        """All threads, by their first messages. Nothing may be added meanwhile."""
        for row in self._db.execute(
            "SELECT number, id, count(*), sum(direction = 'in'), sum(state = 'new'),"
            " sum(state = 'posted') FROM thread CROSS JOIN item ON thread = number"
            " GROUP BY number ORDER BY number"
        ):
            number, thread_id, *counts = msgspec.convert(row, tuple[int, str, int, int, int, int])
            total, inbound, new, posted = counts
            yield ThreadHistory(
                number=number,
                thread_id=thread_id,
                total=total,
                inbound=inbound,
                new=new,
                posted=posted,
            )

    def messages(self, thread: ThreadHistory, state: State) -> Iterator[Message]:
        """The thread's messages of one state, by time and then as they were added."""
        for row in self._db.execute(
            f"SELECT {_PLACE} FROM item WHERE thread = ? AND state = ? ORDER BY at_ms, ordinal",
            (thread.number, state),
        ):
            message = self._message(row)
            if message is not None:
                yield message

    def counterparty(self, thread: ThreadHistory) -> tuple[str, str]:
        """(fingerprint, name): the first sender, else the first recipient, else unknown."""
        directions: tuple[Direction, ...] = ("in", "out")
        for direction in directions:
            found = self._one(thread, "AND direction = ? ORDER BY at_ms, ordinal", direction)
            if found is not None:
                return found.counterparty, found.counterparty_name
        return UNKNOWN_AGENT, UNKNOWN_AGENT

    def span(self, thread: ThreadHistory) -> tuple[int | None, int | None]:
        """When the first and the last message were written, epoch milliseconds."""
        first = self._one(thread, "ORDER BY at_ms, ordinal")
        last = self._one(thread, "ORDER BY at_ms DESC, ordinal DESC")
        return (
            None if first is None else first.timestamp_ms,
            None if last is None else last.timestamp_ms,
        )

    def _one(self, thread: ThreadHistory, which: str, *bindings: str) -> Message | None:
        sql = f"SELECT {_PLACE} FROM item WHERE thread = ? {which} LIMIT 1"
        found = self._db.execute(sql, (thread.number, *bindings)).fetchall()
        return self._message(found[0]) if found else None

    def _message(self, row: object) -> Message | None:
        direction, integrity, segment, offset, length = msgspec.convert(
            row, tuple[Direction, Integrity, int, int, int]
        )
        if segment == _KEPT:
            return self._kept[offset]
        place = Position(direction=direction, segment=segment, offset=offset, length=length)
        return self._read_again(place, integrity)

    def _number(self, thread_id: str) -> int:
        known = self._db.execute("SELECT number FROM thread WHERE id = ?", (thread_id,)).get
        if known is None:
            self._db.execute("INSERT INTO thread (id) VALUES (?)", (thread_id,))
            return self._db.last_insert_rowid()
        return msgspec.convert(known, int)
