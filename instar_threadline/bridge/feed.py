"""Where the bridge reads: the signed log, after a mark that the bridge keeps with its own rows.

Promises every message once the log has it, in the order of each file, and a mark that stands
exactly after what was handed out. Never writes to the log. A log that was rewritten behind the
mark is not read again from its beginning, which would flood a chat with old messages: reading
goes on at its end, and the event is counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self

import msgspec
from msgspec import Struct

from instar_host.store.files import open_regular
from instar_threadline.messages import DIRECTIONS, Direction, Integrity, Message, Position
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import layout
from instar_threadline.record.lines import Line, integrity_of, message_of, read_line
from instar_threadline.record.reader import Batch, Place, StreamReader

STEP_BYTES = 256 * 1024
MAX_OPEN_FILES = 16
"""Files of the log that are held open to read single lines."""


class FeedBatch(Struct, frozen=True, kw_only=True):
    """What one step read."""

    messages: tuple[Message, ...]
    mark: bytes
    """Where the next step begins; save it together with what was made of the messages."""
    more: bool = False
    restarted: bool = False
    """The log was rewritten behind the mark; what came between may be missing."""


class MessageFeed(Protocol):
    """Messages of the log, in steps."""

    def read(self, mark: bytes | None) -> FeedBatch:
        """The next step after a mark; None is the beginning of the log."""
        ...

    def end(self) -> bytes:
        """The mark of the log's present end."""
        ...


class LogFeed:
    """The signed log of one state directory. One thread at a time."""

    def __init__(self, state_dir: Path, keyring: Callable[[], Keyring]) -> None:
        """`keyring` is asked before each step, so that new keys are known at once."""
        self._state_dir = state_dir
        self._ask_keyring = keyring
        self._keyring = keyring()
        self._readers: dict[Direction, StreamReader] = {}
        self._at: bytes | None = None

    def read(self, mark: bytes | None) -> FeedBatch:
        """As the protocol says; raises what `StreamReader.read` does, and then nothing has
        moved.
        """
        keyring = self._ask_keyring()
        if keyring is not self._keyring:
            self._keyring, self._readers = keyring, {}
        readers = self._standing_at(mark)
        found: dict[Direction, list[Message]] = {"in": [], "out": []}
        more = restarted = False
        for direction in DIRECTIONS:
            reader = readers[direction]
            if reader.idle():
                continue
            batch = reader.read(STEP_BYTES)
            if batch.rewritten:
                self._readers[direction] = self._ended(direction)
                restarted = True
                continue
            found[direction] = self._messages(direction, batch)
            more = more or not batch.at_end
        self._at = self._mark()
        messages = tuple(_merged(found["in"], found["out"]))
        return FeedBatch(messages=messages, mark=self._at, more=more, restarted=restarted)

    def end(self) -> bytes:
        self._readers = {direction: self._ended(direction) for direction in DIRECTIONS}
        self._at = self._mark()
        return self._at

    def _standing_at(self, mark: bytes | None) -> dict[Direction, StreamReader]:
        """The readers, set back when the mark is not the one they last gave."""
        if mark is None or mark != self._at or not self._readers:
            places = msgspec.json.decode(mark, type=dict[str, Place]) if mark else {}
            self._readers = {d: self._reader(d, places.get(d)) for d in DIRECTIONS}
        return self._readers

    def _reader(self, direction: Direction, place: Place | None) -> StreamReader:
        return StreamReader(layout(self._state_dir, direction), self._keyring, place)

    def _ended(self, direction: Direction) -> StreamReader:
        reader = self._reader(direction, None)
        while not reader.read().at_end:
            pass
        return reader

    def _mark(self) -> bytes:
        return msgspec.json.encode({d: self._readers[d].place for d in DIRECTIONS})

    def _messages(self, direction: Direction, batch: Batch) -> list[Message]:
        found: list[Message] = []
        for checked in batch.lines:
            line = read_line(checked.data)
            if not isinstance(line, Line):
                continue
            integrity = integrity_of(checked.data, line, self._keyring, checked.key)
            if integrity == "malformed":
                continue
            position = Position(
                direction=direction,
                segment=batch.segment,
                offset=checked.offset,
                length=len(checked.data),
            )
            found.append(message_of(direction, line, integrity, position))
        return found


class LogLines:
    """Messages of the log at places that were read before. One thread at a time."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._open: dict[tuple[Direction, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def at(self, position: Position, integrity: Integrity) -> Message | None:
        """The message there, as credible as it was found to be; None when there is none any more:
        the log was rewritten. Raises OSError or StoreError.
        """
        descriptor = self._file(position.direction, position.segment)
        if descriptor is None:
            return None
        line = read_line(os.pread(descriptor, position.length, position.offset))
        if not isinstance(line, Line):
            return None
        return message_of(position.direction, line, integrity, position)

    def _file(self, direction: Direction, segment: int) -> int | None:
        """A file keeps its descriptor when it is rotated meanwhile."""
        known = self._open.get((direction, segment))
        if known is not None:
            return known
        if len(self._open) >= MAX_OPEN_FILES:
            os.close(self._open.pop(next(iter(self._open))))
        files = layout(self._state_dir, direction)
        number = segment if segment in files.rotated() else None
        try:
            descriptor = open_regular(files.log(number))
        except FileNotFoundError:
            return None
        self._open[direction, segment] = descriptor
        return descriptor


def _merged(first: list[Message], second: list[Message]) -> Iterator[Message]:
    """Both by their times, each in its own order whatever its times say."""
    i = j = 0
    while i < len(first) and j < len(second):
        if (first[i].timestamp_ms or 0) <= (second[j].timestamp_ms or 0):
            yield first[i]
            i += 1
        else:
            yield second[j]
            j += 1
    yield from first[i:]
    yield from second[j:]
