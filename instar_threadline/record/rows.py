"""From checked lines to rows of the index: ids in the order of time, threads kept up to date. Pure.

Promises that the figures of a thread are the same for any order of arrival: while messages come
in the order of time they are carried on; a thread that gets one out of turn is marked `stale`, to
be counted anew from its rows. Every inbound message that waits counts for the latency, until the
next outbound one strictly later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from instar_threadline.messages import UNKNOWN_AGENT, Direction, Integrity, Message, Position
from instar_threadline.record.checked import CheckedLine, Status, Stretch
from instar_threadline.record.lines import (
    Line,
    identity_key,
    identity_keys,
    instant_ms,
    message_of,
)
from instar_threadline.record.schema import IDS_A_MS

SUBJECT_CHARS = 200
LANE_IDS = IDS_A_MS // 2
"""Ids of one millisecond for one direction."""


class Row(msgspec.Struct, gc=False):
    """A message on its way into the index."""

    direction: Direction
    line: Line
    peer: str
    peer_name: str
    at_ms: int | None
    at: int
    """What it is ordered by: its instant, or that of the line before it when it names none."""
    integrity: Integrity
    verified: bool
    status: Status
    segment: int
    offset: int
    length: int
    identity: int
    id: int = 0
    conflict: bool = False

    def same_as(self) -> tuple[str, str, str, str]:
        """The identity in full."""
        return self.direction, self.peer, self.line.thread_id, self.line.id

    def message(self) -> Message:
        """The message as everybody sees it."""
        position = Position(
            direction=self.direction, segment=self.segment, offset=self.offset, length=self.length
        )
        message = message_of(self.direction, self.line, self.integrity, position)
        return msgspec.structs.replace(message, conflict=self.conflict)


def row_of(
    direction: Direction,
    segment: int,
    checked: CheckedLine,
    line: Line,
    integrity: Integrity,
    at: int,
) -> Row:
    """The row of a line. `at`: the instant before it, for a line that names none."""
    if direction == "in":
        peer, name = line.from_ or UNKNOWN_AGENT, line.sender_name
    else:
        peer, name = line.to or UNKNOWN_AGENT, line.recipient_name
    at_ms = instant_ms(line.timestamp)
    return Row(
        direction=direction,
        line=line,
        peer=peer,
        peer_name=name,
        at_ms=at_ms,
        at=at if at_ms is None else at_ms,
        integrity=integrity,
        verified=integrity == "ok" and not line.unverified,
        status=checked.status,
        segment=segment,
        offset=checked.offset,
        length=len(checked.data),
        identity=identity_key((direction, peer, line.thread_id, line.id)),
        conflict=line.conflict,
    )


def rows_of(
    direction: Direction, segment: int, stretch: Stretch, lines: Sequence[Line], at: int
) -> list[Row]:
    """The rows of the lines of a stretch, whose MACs hold; the same as of each by itself."""
    rows, offset = [], stretch.offset
    if direction == "in":
        peers = [line.from_ or UNKNOWN_AGENT for line in lines]
        names = [line.sender_name for line in lines]
    else:
        peers = [line.to or UNKNOWN_AGENT for line in lines]
        names = [line.recipient_name for line in lines]
    identities = identity_keys(direction, peers, lines)
    columns = zip(stretch.lines, lines, peers, names, identities, strict=True)
    for data, line, peer, name, identity in columns:
        at_ms = instant_ms(line.timestamp)
        if at_ms is not None:
            at = at_ms
        length = len(data)
        rows.append(
            Row(direction, line, peer, name, at_ms, at, "ok", not line.unverified, "chained",
                segment, offset, length, identity, 0, line.conflict)
        )  # fmt: skip
        offset += length + 1
    return rows


class ThreadFigures(msgspec.Struct, gc=False):
    """One row of `threads`, its columns in the order of the table."""

    id: int
    thread_id: str
    peer: str
    """The sender of the first inbound message; without one, whom the first outbound one went to."""
    peer_name: str
    peer_direction: str
    peer_id: int
    """Id of the message that the peer is taken from."""
    subject: str
    subject_id: int
    """Id of the first message, whose opening words the subject is."""
    inbound: int
    outbound: int
    first_at: int
    last_at: int
    waiting: int = 0
    """Inbound messages that no outbound one has followed yet."""
    waiting_sum: int = 0
    """Sum of their instants, ms."""
    waits: int = 0
    """Inbound messages that were followed by an outbound one."""
    waits_sum: int = 0
    """How long they waited in all, ms."""
    unverified: int = 0
    bad: int = 0
    unchained: int = 0
    conflicts: int = 0
    mixed: int = 0
    """1 when more than one peer wrote in it."""
    stale: bool = False
    """Something came out of turn: count the latency anew. Never stored."""


def new_thread(row: Row, id_: int) -> ThreadFigures:
    """A thread before its first message is added."""
    return ThreadFigures(
        id=id_,
        thread_id=row.line.thread_id,
        peer=row.peer,
        peer_name=row.peer_name,
        peer_direction=row.direction,
        peer_id=row.id,
        subject=(row.line.text or "")[:SUBJECT_CHARS],
        subject_id=row.id,
        inbound=0,
        outbound=0,
        first_at=row.at,
        last_at=row.at,
    )


def add(thread: ThreadFigures, row: Row) -> None:
    """Count a message that is new to the thread, and has its id."""
    at = row.at
    if at > thread.last_at:
        thread.last_at = at
    else:
        if at < thread.last_at or thread.inbound or thread.outbound:
            thread.stale = True
        if at < thread.first_at:
            thread.first_at = at
    if row.direction == "in":
        thread.inbound += 1
        thread.waiting += 1
        thread.waiting_sum += at
    else:
        thread.outbound += 1
        thread.waits += thread.waiting
        thread.waits_sum += thread.waiting * at - thread.waiting_sum
        thread.waiting = thread.waiting_sum = 0
    if row.peer != thread.peer and UNKNOWN_AGENT not in (row.peer, thread.peer):
        thread.mixed = 1
    if row.direction != thread.peer_direction:
        if row.direction == "in":
            _take_peer(thread, row)
    elif row.id < thread.peer_id:
        _take_peer(thread, row)
    if row.id < thread.subject_id:
        thread.subject = (row.line.text or "")[:SUBJECT_CHARS]
        thread.subject_id = row.id
    if not row.verified or row.status != "chained" or row.conflict:  # bad is never verified
        _count_integrity(thread, row)


def latency(rows: list[tuple[str, int]]) -> tuple[int, int, int, int]:
    """(waiting, sum of their instants, waits, sum of the waits) of (direction, at) in time
    order."""
    waiting: list[int] = []
    waits = waits_sum = 0
    for direction, at in rows:
        if direction == "in":
            waiting.append(at)
            continue
        answered = [begun for begun in waiting if begun < at]
        waits += len(answered)
        waits_sum += sum(at - begun for begun in answered)
        waiting = waiting[len(answered) :]
    return len(waiting), sum(waiting), waits, waits_sum


class Slots:
    """Gives out message ids in the order of time."""

    def __init__(self, last_in: Callable[[int, int], int | None], newest: int) -> None:
        """`last_in(low, high)`: the highest id already given in that range, None if there is
        none. `newest`: the highest of all."""
        self._last_in = last_in
        self._newest = newest
        self._next: dict[int, int] = {}
        self._hop: dict[tuple[int, Direction], int] = {}

    def take(self, at: int, direction: Direction) -> int:
        """A free id for a message of that instant; near it when its own millisecond is full.

        Of one instant, inbound messages stand before outbound ones, each in the order of the log.
        """
        lane = 0 if direction == "in" else LANE_IDS
        low = at * IDS_A_MS + lane
        if low > self._newest and low not in self._next:  # as a rule
            self._next[low] = low + 1
            return low
        return self._near(at, direction, lane)

    def _near(self, at: int, direction: Direction, lane: int) -> int:
        step, start = 1, (at, direction)
        while True:
            at = self._hop.get((at, direction), at)
            low = at * IDS_A_MS + lane
            free = self._next.get(low)
            if free is None:
                last = self._last_in(low, low + LANE_IDS - 1) if low <= self._newest else None
                free = low if last is None else last + 1
            if free < low + LANE_IDS:
                self._next[low] = free + 1
                if at != start[0]:
                    self._hop[start] = at
                return free
            at += step
            step *= 2


def _take_peer(thread: ThreadFigures, row: Row) -> None:
    thread.peer = row.peer
    thread.peer_name = row.peer_name
    thread.peer_direction = row.direction
    thread.peer_id = row.id


def _count_integrity(thread: ThreadFigures, row: Row) -> None:
    if not row.verified:
        thread.unverified += 1
    if row.integrity in ("bad-mac", "no-mac") or row.status in ("altered", "outside"):
        thread.bad += 1
    if row.status == "unchained":
        thread.unchained += 1
    if row.conflict:
        thread.conflicts += 1
