"""What stands in the log past what the index knows: so that a duplicate is found at once.

Promises to know every line between a covered place and the end of the log, whoever wrote it, after
`catch_up`. Keeps an identity as 64 bits and a place, never a text: what is found is read again.
One thread at a time, with the direction's lock held.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from instar_host.store.errors import StoreError
from instar_threadline.messages import Identity, Message, Position
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import Layout
from instar_threadline.record.lines import (
    Line,
    identity_key,
    integrity_of,
    message_of,
    read_line,
)

READ_BYTES = 1 << 20
MAX_LINE_BYTES = 16 << 20
MAX_KEPT = 50_000
"""Lines kept before those that the index knows by now are dropped."""

Place = tuple[int, int]
"""(segment, offset)."""


class RecentMessages:
    """The messages of one direction that are not covered by the index yet."""

    def __init__(self, files: Layout, keyring: Keyring) -> None:
        self._files = files
        self._keyring = keyring
        self._from: Place = (0, 0)
        self._at: Place = (0, 0)
        self._places: dict[int, list[Place]] = {}
        self._count = 0
        self._most = MAX_KEPT
        self._pending: list[tuple[int, bytes]] = []

    def catch_up(self, covered: Place, end: Place) -> None:
        """Read what others appended. `covered`: the index knows everything before. Raises
        OSError."""
        self._pending.clear()
        useless = covered >= self._at or end < self._at or covered < self._from
        too_many = self._count > self._most and covered > self._from
        if useless or too_many:
            self._restart(covered if covered <= end else (0, 0))
            too_many = True
        if self._at == end:
            return
        for segment in self._segments(end[0]):
            start = self._at[1] if segment == self._at[0] else 0
            stop = end[1] if segment == end[0] else None
            for offset, data in self._lines(segment, end[0], start, stop):
                key = self._key(data)
                if key is not None:
                    self._keep(key, (segment, offset))
        self._at = end
        if too_many:  # an index that lags must not have the same lines read for every append
            self._most = max(MAX_KEPT, 2 * self._count)

    def announce(self, line: bytes) -> None:
        """A line that is about to be appended in the same batch."""
        key = self._key(line)
        if key is not None:
            self._pending.append((key, line))

    def settle(self, positions: Sequence[Position]) -> None:
        """The announced lines were appended, at these positions."""
        for (key, data), position in zip(self._pending, positions, strict=True):
            self._keep(key, (position.segment, position.offset))
            self._at = (position.segment, position.offset + len(data) + 1)
        self._pending.clear()

    def forget(self) -> None:
        """Start again: an append failed, and what stands in the log is not known."""
        self._pending.clear()
        self._restart((0, 0))

    def find(self, identity: Identity) -> list[Message]:
        """The messages of that identity past the covered place. Raises OSError."""
        key = identity_key(identity)
        read = [self._message(self._read(place), place) for place in self._places.get(key, ())]
        read += [self._message(data, None) for at, data in self._pending if at == key]
        return [m for m in read if m is not None and m.identity == identity]

    def confirmed(self, message: Message) -> Message:
        """A message that the index knows, as the log has it. After `catch_up`.

        Raises StoreError when something else stands there: the index is of another log. What was
        in a file that was put away since is taken as it is.
        """
        place = message.position
        if place is None:
            return message
        active = place.segment == self._at[0]
        try:
            path = self._files.log(None if active else place.segment)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return message
        try:
            data = os.pread(descriptor, place.length, place.offset)
        finally:
            os.close(descriptor)
        found = self._message(data, (place.segment, place.offset))
        if found is None or found.identity != message.identity:
            raise StoreError("The index of messages is of another log.")
        return found

    def _restart(self, at: Place) -> None:
        self._places.clear()
        self._count = 0
        self._from = self._at = at

    def _keep(self, key: int, place: Place) -> None:
        self._places.setdefault(key, []).append(place)
        self._count += 1

    def _key(self, data: bytes) -> int | None:
        read = read_line(data)
        if not isinstance(read, Line):
            return None
        return identity_key(message_of(self._files.direction, read, "ok").identity)

    def _message(self, data: bytes, place: Place | None) -> Message | None:
        read = read_line(data)
        if not isinstance(read, Line):
            return None
        position = place and Position(
            direction=self._files.direction, segment=place[0], offset=place[1], length=len(data)
        )
        integrity = integrity_of(data, read, self._keyring, None)
        return message_of(self._files.direction, read, integrity, position or None)

    def _segments(self, active: int) -> list[int]:
        numbers = [n for n in self._files.rotated() if self._at[0] <= n < active]
        return [*numbers, active]

    def _path(self, segment: int, active: int) -> str:
        return self._files.log(None if segment == active else segment)

    def _lines(
        self, segment: int, active: int, start: int, stop: int | None
    ) -> Iterator[tuple[int, bytes]]:
        try:
            descriptor = os.open(self._path(segment, active), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            yield from _whole_lines(descriptor, start, stop)
        finally:
            os.close(descriptor)

    def _read(self, place: Place) -> bytes:
        rotated = self._files.log(place[0])
        path = rotated if os.path.exists(rotated) else self._files.log()
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return next((data for _, data in _whole_lines(descriptor, place[1], None)), b"")
        finally:
            os.close(descriptor)


def _whole_lines(descriptor: int, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
    """(offset, line) from `start`; a line over the bound is passed over."""
    rest, position = b"", start
    size = os.fstat(descriptor).st_size if stop is None else stop
    while position < size:
        data = os.pread(descriptor, min(READ_BYTES, size - position), position)
        if not data:
            return
        begin = position - len(rest)
        block = rest + data
        position += len(data)
        at = 0
        while (newline := block.find(b"\n", at)) >= 0:
            yield begin + at, block[at:newline]
            at = newline + 1
        rest = block[at:] if len(block) - at <= MAX_LINE_BYTES else b""
