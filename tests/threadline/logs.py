"""A log in a temporary state directory, and the messages to put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instar_host.clock import Clock
from instar_threadline.messages import NewMessage
from instar_threadline.record.disk import Disk
from instar_threadline.record.keyring import Keyring, open_keyring
from instar_threadline.record.log import ROTATE_BYTES, KnownMessages, MessageLog

TOKEN = "test-auth-token"
DAWN = "d" * 32
GAIL = "a" * 32


class StillClock:
    """A clock that stands at one instant until it is set."""

    def __init__(self, now_ms: int = 1_777_629_600_000) -> None:  # 2026-05-01T10:00:00Z
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def wait(self, event: Any, timeout_s: float) -> bool:
        return bool(event.is_set())


def keyring(state_dir: Path, token: str = TOKEN) -> Keyring:
    """The keyring of a state directory."""
    return open_keyring(str(state_dir / "threadline"), token)


def open_log(
    state_dir: Path,
    clock: Clock | None = None,
    *,
    token: str = TOKEN,
    known: KnownMessages | None = None,
    rotate_bytes: int = ROTATE_BYTES,
    disk: Disk | None = None,
) -> MessageLog:
    """A log to record into."""
    return MessageLog(
        state_dir,
        keyring(state_dir, token),
        clock or StillClock(),
        agent="echo",
        known=known,
        rotate_bytes=rotate_bytes,
        disk=disk,
    )


def received(text: str = "hello", **members: Any) -> NewMessage:
    """An inbound message from Dawn."""
    given: dict[str, Any] = {
        "direction": "in", "counterparty": DAWN, "counterparty_name": "Dawn", "thread_id": "t-1",
        "trust_level": "trusted", "text": text, **members,
    }  # fmt: skip
    return NewMessage(**given)


def sent(text: str = "reply", **members: Any) -> NewMessage:
    """An outbound message to Dawn."""
    given: dict[str, Any] = {
        "direction": "out", "counterparty": DAWN, "counterparty_name": "Dawn", "thread_id": "t-1",
        "outcome": "relay-sent", "text": text, **members,
    }  # fmt: skip
    return NewMessage(**given)
