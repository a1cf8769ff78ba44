"""One line of the log: from members to a message, and back. Pure.

Promises that any bytes at all give a value: a message, or a reason why there is none; never an
exception. Reads what the original wrote (strings only, any order, lone surrogates escaped) and what
broken writers wrote (null, missing or wrongly typed members), and says which it was.

Two members are ours: `unverified` (nobody authenticated the sender) and `conflict` (recorded
although another message bears the same identity). They stand before `hmac` and are signed like
the rest.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from instar_threadline.messages import (
    UNKNOWN_AGENT,
    Direction,
    Integrity,
    Message,
    NewMessage,
    Position,
)
from instar_threadline.record.keyring import Key, Keyring
from instar_threadline.record.signing import LineMac, verifies_under, whole_text

MAX_INSTANT_MS = 8_640_000_000_000_000
"""The farthest instant a JavaScript date can name, either way."""

_EPOCH_PLAIN = datetime(1970, 1, 1)  # noqa: DTZ001 - in UTC by what is added to it
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999  # years 1 to 9999


class Line(msgspec.Struct, kw_only=True, gc=False):
    """The members of a line, as far as they are what they should be."""

    id: str = ""
    timestamp: str = ""
    from_: str = msgspec.field(default="", name="from")
    sender_name: str = msgspec.field(default="", name="senderName")
    trust_level: str = msgspec.field(default="", name="trustLevel")
    thread_id: str = msgspec.field(name="threadId")
    text: str | None = None
    to: str = ""
    recipient_name: str = msgspec.field(default="", name="recipientName")
    outcome: str | None = None
    in_reply_to: str | None = msgspec.field(default=None, name="inReplyTo")
    unverified: bool = False
    conflict: bool = False
    hmac: str = ""
    odd: bool = False
    """True when a member was missing or had the wrong type."""


_decode_line = msgspec.json.Decoder(Line).decode
_decode_lines = msgspec.json.Decoder(Line).decode_lines
_STRINGS = (
    ("id", "id"), ("timestamp", "timestamp"), ("from", "from_"), ("senderName", "sender_name"),
    ("trustLevel", "trust_level"), ("text", "text"), ("to", "to"),
    ("recipientName", "recipient_name"), ("outcome", "outcome"), ("inReplyTo", "in_reply_to"),
    ("hmac", "hmac"),
)  # fmt: skip


def read_line(data: bytes) -> Line | str:
    """The line's members, or a few words on why it holds no message."""
    try:
        line = _decode_line(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_odd_line(data)
    if line.odd or not line.id or line.text is None:
        line.odd = True
    return line


def read_genuine(data: bytes, lines: Sequence[bytes], mac: LineMac) -> list[Line] | None:
    """The members of all lines of a block, if each is whole and written and signed the usual way.

    `data`: the lines with their newlines. None: look at them one by one.
    """
    try:
        found = _decode_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(found) != len(lines):  # a newline inside of one, or an empty line
        return None
    for line in found:
        if not line.id or line.text is None or line.odd:
            return None
    return found if mac.usual(lines) else None


def instant_ms(text: str) -> int | None:
    """The instant that an ISO 8601 text names, in milliseconds since 1970; None if it names none,
    or one that is outside the years 1 to 9999 in UTC and could not be shown.

    A text without a zone is taken as UTC.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    at_ms = round(at.timestamp() * 1000)
    return at_ms if _FIRST_MS <= at_ms <= _LAST_MS else None


def iso_instant(at_ms: int) -> str:
    """An instant as the log writes it: `2026-05-01T10:00:00.000Z`."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{(_EPOCH_PLAIN + timedelta(0, seconds)).isoformat()}.{ms:03d}Z"


def integrity_of(data: bytes, line: Line, keyring: Keyring, named: str | None) -> Integrity:
    """What the MAC of a line says. `named` is the key id its chain entry names, if it has one."""
    if named is not None:
        key = keyring.get(named)
        if key is None:
            return "unknown-key"
        return _judged(line) if verifies_under(data, key.line_mac) else "bad-mac"
    if not line.hmac:
        return "no-mac"
    if _signing_key(data, keyring) is None:
        return "bad-mac"
    return _judged(line)


def message_of(
    direction: Direction, line: Line, integrity: Integrity, position: Position | None = None
) -> Message:
    """The message that a line records."""
    peer = (line.from_ if direction == "in" else line.to) or UNKNOWN_AGENT
    return Message(
        direction=direction,
        id=line.id,
        thread_id=line.thread_id,
        counterparty=peer,
        counterparty_name=line.sender_name if direction == "in" else line.recipient_name,
        text=line.text or "",
        timestamp=line.timestamp,
        timestamp_ms=instant_ms(line.timestamp),
        sender=line.from_,
        sender_name=line.sender_name,
        trust_level=line.trust_level or "unknown",
        outcome=line.outcome,
        in_reply_to=line.in_reply_to,
        verified=integrity == "ok" and not line.unverified,
        integrity=integrity,
        conflict=line.conflict,
        position=position,
    )


def members_of(
    new: NewMessage, *, id_: str, timestamp: str, agent: str, conflict: bool
) -> dict[str, Any]:
    """The members that record a message, in the order of the format, without `hmac`."""
    inbound = new.direction == "in"
    sender = new.counterparty if inbound else (new.sender or agent)
    sender_name = new.counterparty_name if inbound else (new.sender_name or new.sender or agent)
    trust = new.trust_level or ("unknown" if inbound else "self")
    members: dict[str, Any] = {
        "id": id_,
        "timestamp": timestamp,
        "from": sender,
        "senderName": sender_name,
        "trustLevel": trust,
        "threadId": new.thread_id,
        "text": new.text,
    }
    if not inbound:
        members["to"] = new.counterparty
        members["recipientName"] = new.counterparty_name
    if new.outcome is not None:
        members["outcome"] = new.outcome
    if new.in_reply_to is not None:
        members["inReplyTo"] = new.in_reply_to
    if not new.verified:
        members["unverified"] = True
    if conflict:
        members["conflict"] = True
    return {k: whole_text(v) if isinstance(v, str) else v for k, v in members.items()}


def identity_key(identity: tuple[str, str, str, str]) -> int:
    """A signed 64-bit number for an identity. Different identities may share one: compare them."""
    raw = hashlib.blake2b("\0".join(identity).encode(), digest_size=8).digest()
    return int.from_bytes(raw, "big", signed=True)


def identity_keys(direction: Direction, peers: Sequence[str], lines: Sequence[Line]) -> list[int]:
    """The same for the identities of many lines; `peers`: their counterparties."""
    begin, digests = hashlib.blake2b(digest_size=8).copy, []
    for peer, line in zip(peers, lines, strict=True):
        raw = begin()
        raw.update(f"{direction}\0{peer}\0{line.thread_id}\0{line.id}".encode())
        digests.append(raw.digest())
    return list(struct.unpack(f">{len(digests)}q", b"".join(digests)))


def same_content(text: str, in_reply_to: str | None, other: Line | Message) -> bool:
    """Whether two messages with one identity say the same. Times, names and outcomes do not count:
    a retry may carry other ones."""
    answered = None if in_reply_to is None else whole_text(in_reply_to)
    return whole_text(text) == (other.text or "") and answered == other.in_reply_to


def _signing_key(data: bytes, keyring: Keyring) -> Key | None:
    return next((key for key in keyring.newest_first() if verifies_under(data, key.line_mac)), None)


def _judged(line: Line) -> Integrity:
    return "malformed" if line.odd else "ok"


def _read_odd_line(data: bytes) -> Line | str:
    try:
        members = json.loads(data)
    except RecursionError:
        return "nested too deeply"
    except (ValueError, OverflowError):
        return "not JSON"
    if not isinstance(members, dict):
        return "not an object"
    thread_id = members.get("threadId")
    if not isinstance(thread_id, str):
        return "no thread id"
    line = Line(thread_id=whole_text(thread_id))
    line.odd = _fill(line, members) or not line.id or line.text is None
    line.unverified = bool(members.get("unverified"))
    line.conflict = members.get("conflict") is True
    return line


def _fill(line: Line, members: dict[str, Any]) -> bool:
    """Copy the strings over; true when a member was there and was none."""
    odd = False
    for name, attribute in _STRINGS:
        value = members.get(name)
        if isinstance(value, str):
            setattr(line, attribute, whole_text(value))
        elif value is not None or name in members:
            odd = True
    return odd
