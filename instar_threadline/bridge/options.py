"""The section `threadline.bridge`: how the bridge behaves beyond the five settings of the
reference.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta

from instar_host.errors import ConfigError
from instar_host.settings import Settings
from instar_threadline.bridge.machine_zone import MachineZone
from instar_threadline.bridge.outbox import Limits
from instar_threadline.bridge.policy import Notify, QuietHours
from instar_threadline.bridge.topics import Budget

SECTION = "threadline.bridge"
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")


class BridgeOptions(Settings, frozen=True, kw_only=True):
    """The section `threadline.bridge`."""

    notify: Annotated[
        Notify, Meta(description="what rings: everything, what matters, or nothing")
    ] = "important"
    quiet_hours: Annotated[
        str,
        Meta(description="when nothing rings, as 22:00-07:00 in timeZone; empty for never"),
    ] = ""
    time_zone: Annotated[
        str, Meta(description="IANA name for times that are shown, and for quietHours")
    ] = ""
    human_names: Annotated[
        tuple[str, ...],
        Meta(description="@names that mean the person: a message that has one rings"),
    ] = ("human", "operator", "owner")
    on_topic_deleted: Annotated[
        Literal["recreate", "hub", "mute"],
        Meta(description="what a topic that somebody deleted means for its thread"),
    ] = "recreate"
    topics_per_agent: Annotated[
        int, Meta(ge=0, le=1000, description="topics one agent may open within topicWindowMs")
    ] = 8
    topics_total: Annotated[
        int, Meta(ge=0, le=1000, description="topics all agents may open within topicWindowMs")
    ] = 12
    topic_window_ms: Annotated[
        int,
        Meta(ge=1000, description="window of the topic budget", extra={"unit": "ms"}),
    ] = 600_000
    max_queued_messages: Annotated[
        int, Meta(ge=10, description="beyond it the oldest of the longest thread are skipped")
    ] = 200_000
    max_queued_bytes: Annotated[
        int,
        Meta(ge=100_000, description="the same in bytes of text", extra={"unit": "bytes"}),
    ] = 256 << 20
    protect_content: Annotated[
        bool, Meta(description="forbid forwarding and copying what the bridge posts")
    ] = False
    jsonl_file: Annotated[
        str,
        Meta(description="also append every mirrored message to this file, as one JSON a line"),
    ] = ""

    def quiet(self) -> QuietHours | None:
        """The quiet hours. Raises ConfigError."""
        if not self.quiet_hours:
            return None
        match = _HOURS.fullmatch(self.quiet_hours.strip())
        if match is None:
            raise ConfigError(f"{SECTION}.quietHours has to look like 22:00-07:00")
        hours = [int(group) for group in match.groups()]
        return QuietHours(
            start_minute=hours[0] * 60 + hours[1], end_minute=hours[2] * 60 + hours[3]
        )

    def zone(self) -> tzinfo:
        """The time zone; this machine's own when none is named. Raises ConfigError."""
        if not self.time_zone:
            return MachineZone()
        try:
            return ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ConfigError(f"{SECTION}.timeZone: no zone is called {self.time_zone}") from None

    def budget(self) -> Budget:
        """The topic budget."""
        return Budget(
            per_agent=self.topics_per_agent,
            total=self.topics_total,
            window_ms=self.topic_window_ms,
        )

    def limits(self) -> Limits:
        """The bounds of the queue."""
        return Limits(rows=self.max_queued_messages, bytes=self.max_queued_bytes)
