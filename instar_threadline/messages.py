"""Messages as everything in this package sees them, and what makes two of them the same.

Promises frozen values only. A `Message` is what a line of the signed log says, together with how
far that line can be believed; a `NewMessage` is what somebody asks to have recorded. Neither
opens a file or knows a clock.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from instar_host.records import Record

Direction = Literal["in", "out"]
"""Seen from this agent: `in` was received, `out` was sent."""

DIRECTIONS: tuple[Direction, ...] = ("in", "out")

Integrity = Literal["ok", "no-mac", "bad-mac", "unknown-key", "malformed"]
"""What the MAC of a line says. `unknown-key`: signed with a key that is not in the keyring.
`malformed`: the MAC may verify, but a member is missing or has the wrong type."""

UNKNOWN_AGENT = "(unknown)"
"""The counterparty of a message that names none."""


class Identity(NamedTuple):
    """What makes two messages the same one. Ids are the peer's choice, so the peer is part of
    it."""

    direction: Direction
    counterparty: str
    thread_id: str
    id: str


class Position(Record, frozen=True, kw_only=True):
    """Where a line stands in the signed log. Ordered by (segment, offset) within one direction."""

    direction: Direction
    segment: int
    """Number of the file: rotated files count up from 1, the active one has the highest."""
    offset: int
    """Bytes from the start of that file."""
    length: int
    """Bytes of the line without its newline."""


class Message(Record, frozen=True, kw_only=True):
    """One message of the signed log."""

    direction: Direction
    id: str
    thread_id: str
    counterparty: str
    """The other agent: its fingerprint, as the record has it (`from` inbound, `to` outbound)."""
    counterparty_name: str = ""
    """A label that the peer or the host chose. Never an identity."""
    text: str
    timestamp: str
    """As the record has it."""
    timestamp_ms: int | None
    """The instant it names, milliseconds since 1970 UTC; None when it names none."""
    sender: str
    """`from`: inbound the peer's fingerprint, outbound this agent."""
    sender_name: str = ""
    trust_level: str = "unknown"
    outcome: str | None = None
    in_reply_to: str | None = None
    verified: bool = False
    """The MAC verifies and the sender was asserted by an authenticated host. Only then may policy
    match it."""
    integrity: Integrity = "ok"
    conflict: bool = False
    """Another message with the same identity and other content stands before it in the log."""
    position: Position | None = None
    """None before it is in the log."""

    @property
    def identity(self) -> Identity:
        return Identity(self.direction, self.counterparty, self.thread_id, self.id)


class NewMessage(Record, frozen=True, kw_only=True):
    """A message to record. What is None is filled in: a random id, the time of recording.

    A source gives an id, and the same one whenever it gives the message again: without one each
    reading is another message.
    """

    direction: Direction
    counterparty: str
    """The other agent's fingerprint; a label belongs in `counterparty_name`."""
    thread_id: str
    text: str
    id: str | None = None
    timestamp: str | None = None
    """ISO 8601 with a zone."""
    counterparty_name: str = ""
    sender: str = ""
    """Outbound only: this agent's identifier; empty means the host's name."""
    sender_name: str = ""
    trust_level: str = ""
    """Empty means `unknown` inbound and `self` outbound."""
    outcome: str | None = None
    in_reply_to: str | None = None
    verified: bool = True
    """False when nobody authenticated the sender: it is then shown as unverified for good."""


class Recorded(Record, frozen=True, kw_only=True):
    """What became of a request to record a message."""

    status: Literal["recorded", "duplicate", "conflict", "spooled", "refused"]
    """`duplicate`: it was there with the same content. `conflict`: there with other content.
    `spooled`: the log could not be written, it will be tried again. `refused`: `reason` says what
    is wrong with it."""
    message: Message | None = None
    """The message as it stands in the log (recorded, duplicate)."""
    reason: str = ""


class Thread(Record, frozen=True, kw_only=True):
    """What policy and titles are told about a thread."""

    thread_id: str
    counterparty: str
    counterparty_name: str = ""
    subject: str = ""
    """Opening words: for a title of the message that opens the topic, redacted; for a vote of the
    message that is voted on; empty for a sink."""
