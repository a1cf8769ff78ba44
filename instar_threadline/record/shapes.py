"""Threads and messages in the shape that JSON shows them: the keys of the original, and some more.

Promises shapes only. A name is a label; the fingerprint always stands beside it.
"""

from __future__ import annotations

from typing import Literal

from instar_host.records import Record
from instar_threadline.record.lines import iso_instant
from instar_threadline.record.readers import Stored
from instar_threadline.sources.statefiles import Binding, Known

HASH_CHARS = 8
"""The beginning of a fingerprint that the original shows where it knows no name."""


class Json(Record, frozen=True, kw_only=True, rename="camel", omit_defaults=False):
    """A record as JSON shows it."""


class ThreadIntegrity(Json, frozen=True, kw_only=True):
    """What is known about the genuineness of one thread."""

    state: Literal["ok", "broken"]
    completeness: Literal["complete", "short", "unknown"]
    bad: int
    unverified: int
    unchained: int
    conflicts: int
    missing: int


class ThreadSummary(Json, frozen=True, kw_only=True):
    """One thread in the list."""

    thread_id: str
    remote_agent: str
    """The peer's fingerprint, as the record has it."""
    remote_agent_name: str
    message_count: int
    inbound_count: int
    outbound_count: int
    first_seen: str
    last_seen: str
    avg_response_latency_ms: int | None
    bridge: Binding | None
    has_spawned_session: bool
    subject: str
    waiting: int
    """Inbound messages that nothing has answered yet."""
    several_peers: bool
    integrity: ThreadIntegrity


class MessageView(Json, frozen=True, kw_only=True, omit_defaults=True):
    """One message of a conversation."""

    direction: str
    id: str
    timestamp: str
    thread_id: str
    remote_agent: str
    remote_agent_name: str
    text: str
    trust_level: str
    outcome: str | None = None
    in_reply_to: str | None = None
    at: str = ""
    """The instant that `timestamp` names, in UTC; empty if it names none."""
    verified: bool
    integrity: str
    status: str
    """`chained`, `unchained`, `outside` or `altered`."""
    conflict: bool = False
    cursor: str


class Stats(Json, frozen=True, kw_only=True):
    """Figures over everything."""

    threads: int
    messages: int
    inbound: int
    outbound: int
    unverified: int
    bad: int
    unreadable: int
    conflicts: int
    waiting: int
    avg_response_latency_ms: int | None
    first_seen: str | None
    last_seen: str | None


def message_view(one: Stored, known: Known) -> MessageView:
    """A message as it is shown."""
    message = one.message
    at_ms = message.timestamp_ms
    return MessageView(
        direction=message.direction,
        id=message.id,
        timestamp=message.timestamp,
        thread_id=message.thread_id,
        remote_agent=message.counterparty,
        remote_agent_name=shown_name(message.counterparty, message.counterparty_name, known),
        text=message.text,
        trust_level=message.trust_level,
        outcome=message.outcome,
        in_reply_to=message.in_reply_to,
        at=iso_instant(at_ms) if at_ms is not None else "",
        verified=message.verified,
        integrity=message.integrity,
        status=one.status,
        conflict=message.conflict,
        cursor=str(one.id),
    )


def shown_name(peer: str, said: str, known: Known) -> str:
    """What an agent is called: as the message says, else as it is known here, else its id
    shortened.

    A name that is only the beginning of the fingerprint says nothing, so it is no name.
    """
    if said and said != peer[:HASH_CHARS]:
        return said
    hashed = len(peer) >= 2 * HASH_CHARS and all(c in "0123456789abcdefABCDEF" for c in peer)
    return known.name_of(peer) or (peer[:HASH_CHARS] if hashed else peer)
