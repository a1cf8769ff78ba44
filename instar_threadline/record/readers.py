"""Connections that read the index, shared by the threads that answer.

Promises that a connection is used by one thread at a time, that an index which was replaced is
found at the next question, and that a failure closes them all. No cursor is ever left open.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import apsw
import msgspec

from instar_host.store.errors import StoreError
from instar_host.store.sqlite import open_reader
from instar_threadline.errors import IndexUnavailable
from instar_threadline.messages import Direction, Identity, Message, Position
from instar_threadline.record import schema
from instar_threadline.record.index import FILE_NAME, WORDS_FILE_NAME
from instar_threadline.record.lines import identity_key
from instar_threadline.record.reader import Place, Witness

MAX_IDLE = 4

MESSAGE_COLUMNS = (
    "m.id, m.direction, m.message_id, t.thread_id, m.peer, m.peer_name, m.sender, m.sender_name,"
    " m.text, m.timestamp, m.at_ms, m.trust_level, m.outcome, m.in_reply_to, m.integrity, m.status,"
    " m.verified, m.conflict, m.segment, m.offset, m.length"
)


_Files = tuple[tuple[int, int] | None, ...]
"""Device and number of the index and of its text index; None for one that is not there."""


class Stored(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message as the index has it."""

    id: int
    message: Message
    status: str


class Readers:
    """Readers of one index. Callable from any thread."""

    def __init__(self, state_dir: str | os.PathLike[str]) -> None:
        self._path = os.path.join(os.fspath(state_dir), FILE_NAME)
        self._words = os.path.join(os.fspath(state_dir), WORDS_FILE_NAME)
        self._lock = threading.Lock()
        self._idle: list[apsw.Connection] = []
        self._files: _Files = ()
        """What the idle ones have open."""

    @contextlib.contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        """A connection for the block, in one read transaction.

        Raises IndexUnavailable when there is no index, or it cannot be read now.
        """
        try:
            files, connection = self._take()
        except (apsw.Error, StoreError, OSError) as error:
            raise IndexUnavailable(f"The index of messages cannot be read: {error}") from error
        try:
            connection.execute("BEGIN")
            yield connection
            connection.execute("ROLLBACK")
        except apsw.Error as error:
            connection.close()
            self.close()
            raise IndexUnavailable(f"The index of messages cannot be read: {error}") from error
        except BaseException:
            connection.close()
            raise
        self._give_back(files, connection)

    def exist(self) -> bool:
        """Whether there is an index at all."""
        return os.path.lexists(self._path)

    def close(self) -> None:
        """Close what is idle; connections are opened anew when they are wanted."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def covered(self, direction: Direction) -> tuple[int, int]:
        """(segment, offset) before which the index knows every line; (0, 0) without an index."""
        try:
            with self.connection() as connection:
                found = schema.rows(
                    connection, "SELECT place FROM streams WHERE direction = ?", (direction,)
                )
        except IndexUnavailable:
            return (0, 0)
        if not found:
            return (0, 0)
        place = msgspec.json.decode(found[0][0], type=Place)
        return place.segment, place.offset

    def remembered(self) -> dict[Direction, Witness]:
        """How far the index has seen each chain; empty without an index."""
        try:
            with self.connection() as connection:
                query = "SELECT direction, witness_n, witness_mac FROM streams"
                found = schema.rows(connection, query)
        except IndexUnavailable:
            return {}
        return {direction: Witness(n=n, mac=mac) for direction, n, mac in found}

    def find(self, identity: Identity) -> Sequence[Message]:
        """The messages of an identity. Raises StoreError when the index is gone by now."""
        query = (
            f"SELECT {MESSAGE_COLUMNS} FROM by_identity i CROSS JOIN messages m ON m.id = i.id"
            " CROSS JOIN threads t ON t.id = m.thread WHERE i.identity = ? ORDER BY i.id"
        )
        try:
            with self.connection() as connection:
                found = schema.rows(connection, query, (identity_key(identity),))
        except IndexUnavailable as error:
            raise StoreError(str(error)) from error
        messages = [stored(row).message for row in found]
        return [message for message in messages if message.identity == identity]

    def _take(self) -> tuple[_Files, apsw.Connection]:
        files = tuple(_file(path) for path in (self._path, self._words))
        if files != self._files:  # an older index would answer as it was, for ever
            self.close()
        with self._lock:
            self._files = files
            if self._idle:
                return files, self._idle.pop()
        connection = open_reader(self._path, application_id=schema.APPLICATION_ID)
        if os.path.exists(self._words):
            try:
                connection.execute("ATTACH ? AS texts", (self._words,))
            except BaseException:
                connection.close()
                raise
        return files, connection

    def _give_back(self, files: _Files, connection: apsw.Connection) -> None:
        with self._lock:
            if files == self._files and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def stored(row: Sequence[Any]) -> Stored:
    """A message from the columns of `MESSAGE_COLUMNS`."""
    (id_, direction, message_id, thread_id, peer, peer_name, sender, sender_name, text, timestamp,
     at_ms, trust, outcome, in_reply_to, integrity, status, verified, conflict, segment, offset,
     length) = row  # fmt: skip
    message = Message(
        direction=direction,
        id=message_id,
        thread_id=thread_id,
        counterparty=peer,
        counterparty_name=peer_name,
        text=text,
        timestamp=timestamp,
        timestamp_ms=at_ms,
        sender=sender,
        sender_name=sender_name,
        trust_level=trust,
        outcome=outcome,
        in_reply_to=in_reply_to,
        verified=bool(verified),
        integrity=integrity,
        conflict=bool(conflict),
        position=Position(direction=direction, segment=segment, offset=offset, length=length),
    )
    return Stored(id=id_, message=message, status=status)


def json_list(values: Sequence[object]) -> str:
    """A list as `json_each` takes it."""
    return json.dumps(list(values))
