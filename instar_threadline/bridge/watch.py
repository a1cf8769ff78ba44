"""What the worker of a chat is told once, and what it asks of the plugin around it.

Promises types only, and no behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Literal, Protocol

from msgspec import Struct

from instar_host.clock import Clock
from instar_threadline.bridge.outbox import Outbox
from instar_threadline.bridge.policy import Decision
from instar_threadline.bridge.port import ChatPort
from instar_threadline.bridge.rows import Row
from instar_threadline.bridge.target import Pace
from instar_threadline.bridge.topics import Topics

SETTLE_MS = 5_000
"""After an unclear attempt to make a topic, what is still on its way gets this long to arrive."""

Settled = Literal["delivered", "dead"]


class Watch(Protocol):
    """What the worker asks of the plugin around it; answers may change at any time."""

    def may_send(self) -> bool:
        """True while this process holds the lease and is not stopping."""
        ...

    def is_on(self) -> bool:
        """The person's switch; while off, only what was asked for by name is sent."""
        ...

    def is_quiet(self) -> bool:
        """True in quiet hours."""
        ...

    def recheck(self, row: Row) -> Decision:
        """Policy, asked again at the moment of sending."""
        ...

    def settled(
        self, rows: Sequence[Row], status: Settled, topic_id: int | None, reason: str
    ) -> None:
        """Rows were delivered or parked; called after the commit."""
        ...


class ChatOptions(Struct, frozen=True, kw_only=True):
    """What one chat's worker is told once."""

    target: str
    chat_id: int
    local_name: str
    pace: Pace
    zone: tzinfo = UTC
    settle_ms: int = SETTLE_MS


class Chat(Struct, frozen=True, kw_only=True):
    """One chat with everything that working for it takes; made once, handed to each part."""

    outbox: Outbox
    topics: Topics
    port: ChatPort
    watch: Watch
    options: ChatOptions
    clock: Clock
    random: Callable[[], float]
    """Returns a number in [0, 1); it only spreads waits."""


class ChatDuty:
    """One part of the work for a chat, with all that it takes at hand. One thread at a time."""

    def __init__(self, chat: Chat) -> None:
        self._outbox = chat.outbox
        self._topics = chat.topics
        self._port = chat.port
        self._watch = chat.watch
        self._options = chat.options
        self._name = chat.options.target
        self._clock = chat.clock
        self._random = chat.random
        self._can = chat.port.capabilities()
