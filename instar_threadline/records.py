"""The records that threadline hooks return and receive: sources, sinks, redactors, events.

Promises frozen values only; the callables inside are a plugin's and are called off any event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from instar_host.records import Record
from instar_threadline.messages import Message, NewMessage, Thread


class SourceBatch(Record, frozen=True, kw_only=True):
    """What one pull of a source gave."""

    messages: tuple[NewMessage, ...] = ()
    cursor: str | None = None
    """Handed back at the next pull, also after a restart; saved once the messages are durable."""
    more: bool = False
    """True asks for another pull soon: there is history left."""
    skipped: int = 0
    """What it passed over in this pull because it is no message; counted, not kept."""


class MessageSource(Record, frozen=True, kw_only=True):
    """Somewhere messages come from besides the API. A message that was given before is not
    recorded twice."""

    name: str
    """Unique; lower-case letters, digits, `-`."""
    pull: Callable[[str | None, int], SourceBatch]
    """`pull(cursor, limit)`: at most `limit` messages after `cursor` (None: from the beginning of
    history)."""


class SinkResult(Record, frozen=True, kw_only=True):
    """What became of one delivery to a sink."""

    status: Literal["delivered", "rejected", "ambiguous"]
    """`rejected`: certainly not delivered, and trying again is useless unless `retry_after_s` is
    set. `ambiguous`: it may have been delivered; it is never tried again by itself."""
    retry_after_s: float | None = None
    reason: str = ""
    reference: str = ""
    """The sink's own id of what it delivered."""


class Mirror(Record, frozen=True, kw_only=True):
    """A message as a sink gets it: allowed by policy, redacted, rendered."""

    message: Message
    thread: Thread
    body: str
    """Plain text, redacted."""
    key: str
    """Stable over retries and restarts: the same message to the same sink has the same key."""


class BridgeSink(Record, frozen=True, kw_only=True):
    """Somewhere else, besides Telegram, that mirrored messages go to."""

    name: str
    """Unique; lower-case letters, digits, `-`."""
    deliver: Callable[[Mirror], SinkResult]
    """Called once per attempt, in order within a thread. An exception counts as `ambiguous`."""


class Redactor(Record, frozen=True, kw_only=True):
    """Takes out of a text what must not leave. Chained by `order`; an exception blocks the
    message."""

    name: str
    redact: Callable[[str], str]
    order: int = 100


class Mirrored(Record, frozen=True, kw_only=True):
    """Told to observers after a message was delivered, or given up."""

    message: Message
    """With its text redacted."""
    sink: str
    """`telegram`, or `sink:` and the name of a plugin's sink."""
    status: Literal["delivered", "dead"]
    """`dead`: refused, or nobody knows; it is parked for a person, who may send it again."""
    topic_id: int | None = None
    """Telegram's topic; None for a sink and for the general one."""
    at_ms: int = 0
    """When that was known, milliseconds since 1970 UTC."""
    reason: str = ""
    """Why it is dead."""
