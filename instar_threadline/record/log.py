"""The one append funnel: every message of every path goes through `MessageLog.record`.

Promises: a message that is reported as recorded is on disk, signed and chained; a message that is
there already with the same content is a duplicate; one that is there with other content is a
conflict, dropped for a caller who can be told, kept and flagged for a source that cannot. A
message that nobody authenticated can never make a verified one a duplicate or a conflict. Never
holds a lock while it waits for anything but the disk, and never decides by an id alone.

Several processes may append at once: the lock of the direction is held from the look to the head.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

from instar_host.clock import Clock
from instar_host.store.errors import StoreError
from instar_host.store.files import ensure_private_dir
from instar_threadline.errors import InvalidMessage, LogUnavailable
from instar_threadline.messages import (
    DIRECTIONS,
    Direction,
    Identity,
    Message,
    NewMessage,
    Position,
    Recorded,
)
from instar_threadline.record.disk import Disk, locked
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import FOLDER, layout
from instar_threadline.record.lines import (
    Line,
    instant_ms,
    integrity_of,
    iso_instant,
    members_of,
    message_of,
    read_line,
    same_content,
)
from instar_threadline.record.recent import RecentMessages
from instar_threadline.record.signing import sign, whole_text
from instar_threadline.record.stream import SignedLine, StreamLog

ROTATE_BYTES = 128 << 20
MAX_BATCH = 1000
"""Lines of one append; fewer than a verifier reads ahead."""

MAX_TEXT_BYTES = 1 << 20
MAX_NAME_CHARS = 4096
"""Bound of every member but the text."""


class Findable(Protocol):
    """Somewhere to find the messages of an identity."""

    def find(self, identity: Identity) -> Sequence[Message]: ...


class KnownMessages(Findable, Protocol):
    """What is known of the log already, so that it need not be read again: the index."""

    def covered(self, direction: Direction) -> tuple[int, int]:
        """(segment, offset) before which every line is known; (0, 0) if none is."""
        ...


class NothingKnown:
    """No index: the whole log is read once."""

    def covered(self, direction: Direction) -> tuple[int, int]:
        del direction
        return (0, 0)

    def find(self, identity: Identity) -> Sequence[Message]:
        del identity
        return ()


class MessageLog:
    """Records messages in the signed log of one state directory. Callable from any thread."""

    def __init__(
        self,
        state_dir: str | os.PathLike[str],
        keyring: Keyring,
        clock: Clock,
        *,
        agent: str,
        known: KnownMessages | None = None,
        rotate_bytes: int = ROTATE_BYTES,
        disk: Disk | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """`agent` is this agent's identifier, the sender of outbound messages that name none."""
        self._folder = os.path.join(os.fspath(state_dir), FOLDER)
        self._keyring = keyring
        self._clock = clock
        self._agent = agent
        self._known: KnownMessages = known or NothingKnown()
        self._new_id = new_id
        self._guard = threading.Lock()
        self._streams = {
            direction: StreamLog(
                layout(state_dir, direction),
                keyring,
                rotate_bytes=rotate_bytes,
                disk=disk or Disk(),
                log_name=new_id(),
            )
            for direction in DIRECTIONS
        }
        self._recent = {
            direction: RecentMessages(self._streams[direction].files, keyring)
            for direction in DIRECTIONS
        }

    def record(
        self, messages: Sequence[NewMessage], *, keep_conflicts: bool = False
    ) -> list[Recorded]:
        """Record the messages that are not there yet; one answer a message, in order.

        One sync for all of them, up to `MAX_BATCH`. Raises LogUnavailable when the log cannot be
        written (then the last of them may or may not be there: ask again) and LogBusy when its
        lock is held on.
        """
        answers: list[Recorded | None] = [None] * len(messages)
        for direction in DIRECTIONS:
            wanted = [i for i, new in enumerate(messages) if new.direction == direction]
            for start in range(0, len(wanted), MAX_BATCH):
                part = wanted[start : start + MAX_BATCH]
                chosen = [messages[i] for i in part]
                found = self._record(direction, chosen, keep_conflicts=keep_conflicts)
                for i, answer in zip(part, found, strict=True):
                    answers[i] = answer
        return [answer for answer in answers if answer is not None]

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        with self._guard:
            for stream in self._streams.values():
                stream.close()

    def _record(
        self, direction: Direction, messages: Sequence[NewMessage], *, keep_conflicts: bool
    ) -> list[Recorded]:
        stream = self._streams[direction]
        with self._guard:
            try:
                ensure_private_dir(self._folder)
                with locked(stream.files.lock):
                    return self._record_locked(stream, messages, keep_conflicts=keep_conflicts)
            except (OSError, StoreError) as error:
                raise LogUnavailable(
                    f"The log {stream.files.log()} cannot be written: {error}."
                ) from error

    def _record_locked(
        self, stream: StreamLog, messages: Sequence[NewMessage], *, keep_conflicts: bool
    ) -> list[Recorded]:
        end = stream.prepare()
        recent = self._recent[stream.files.direction]
        covered = self._known.covered(stream.files.direction)
        try:
            recent.catch_up(covered if covered <= end else (0, 0), end)
            known = self._known if (0, 0) < covered <= end else NothingKnown()
            answers, lines = self._judged(messages, recent, known, keep_conflicts=keep_conflicts)
        except StoreError:  # of no use now, or of another log: the log itself knows
            recent.catch_up((0, 0), end)
            found = self._judged(messages, recent, NothingKnown(), keep_conflicts=keep_conflicts)
            answers, lines = found
        positions = self._append(stream, lines)
        recent.settle(positions)
        appended = iter(zip(lines, positions, strict=True))
        return [
            answer if answer is not None else self._recorded(*next(appended)) for answer in answers
        ]

    def _judged(
        self,
        messages: Sequence[NewMessage],
        recent: RecentMessages,
        known: Findable,
        *,
        keep_conflicts: bool,
    ) -> tuple[list[Recorded | None], list[SignedLine]]:
        """An answer a message, None for each that is to be appended, and those lines. Raises
        StoreError when what is known cannot be asked, or is of another log."""
        answers: list[Recorded | None] = []
        lines: list[SignedLine] = []
        for new in messages:
            answer, line = self._judge(new, recent, known, keep_conflicts=keep_conflicts)
            answers.append(answer)
            if line is not None:
                lines.append(line)
                recent.announce(line.data)
        return answers, lines

    def _append(self, stream: StreamLog, lines: Sequence[SignedLine]) -> list[Position]:
        if not lines:
            return []
        try:
            return stream.append(lines)
        except BaseException:
            self._recent[stream.files.direction].forget()
            raise

    def _judge(
        self,
        new: NewMessage,
        recent: RecentMessages,
        known: Findable,
        *,
        keep_conflicts: bool,
    ) -> tuple[Recorded | None, SignedLine | None]:
        """Either an answer, or a line to append."""
        try:
            require_recordable(new)
        except InvalidMessage as error:
            return Recorded(status="refused", reason=str(error)), None
        id_ = whole_text(new.id) if new.id else self._new_id()
        conflict = False
        if new.id:
            identity = Identity(
                new.direction, whole_text(new.counterparty), whole_text(new.thread_id), id_
            )
            indexed = [recent.confirmed(message) for message in known.find(identity)]
            there = [*recent.find(identity), *indexed]
            there = [m for m in there if m.verified or not new.verified]
            same = next((m for m in there if same_content(new.text, new.in_reply_to, m)), None)
            if same is not None:
                return Recorded(status="duplicate", message=same), None
            conflict = bool(there)
            if conflict and not keep_conflicts:
                return Recorded(
                    status="conflict",
                    message=there[0],
                    reason="a message with this id, peer, thread and direction says something else",
                ), None
        timestamp = new.timestamp or iso_instant(self._clock.now_ms())
        members = members_of(
            new, id_=id_, timestamp=timestamp, agent=self._agent, conflict=conflict
        )
        data, mac = sign(members, self._keyring.current.line)
        return None, SignedLine(data=data, mac=mac, thread_id=members["threadId"])

    def _recorded(self, line: SignedLine, position: Position) -> Recorded:
        read = read_line(line.data)
        if not isinstance(read, Line):
            raise LogUnavailable("A line just written does not read back.")
        integrity = integrity_of(line.data, read, self._keyring, self._keyring.current.id)
        return Recorded(
            status="recorded", message=message_of(position.direction, read, integrity, position)
        )


def require_recordable(new: NewMessage) -> None:
    """Raises InvalidMessage with a sentence for the caller."""
    if not new.counterparty:
        which = "from" if new.direction == "in" else "to"
        raise InvalidMessage(f"{which} must name the other agent's fingerprint")
    if len(new.text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise InvalidMessage(f"text must be at most {MAX_TEXT_BYTES} bytes")
    bounded = {
        "threadId": new.thread_id,
        "id": new.id or "",
        "from or to": new.counterparty,
        "from": new.sender,
        "timestamp": new.timestamp or "",
        "the peer's name": new.counterparty_name,
        "senderName": new.sender_name,
        "trustLevel": new.trust_level,
        "outcome": new.outcome or "",
        "inReplyTo": new.in_reply_to or "",
    }
    for name, value in bounded.items():
        if len(value) > MAX_NAME_CHARS:
            raise InvalidMessage(f"{name} must be at most {MAX_NAME_CHARS} characters")
    if new.timestamp is not None and instant_ms(new.timestamp) is None:
        raise InvalidMessage("timestamp must be an ISO 8601 instant, such as 2026-05-01T10:00:00Z")
