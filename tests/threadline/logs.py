"""A log in a temporary state directory, and the messages to put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instar_host.clock import Clock
from instar_threadline.messages import NewMessage
from instar_threadline.record.disk import Disk
from instar_threadline.record.index import Index
from instar_threadline.record.keyring import Keyring, open_keyring
from instar_threadline.record.log import ROTATE_BYTES, KnownMessages, MessageLog
from instar_threadline.record.readers import Readers
from instar_threadline.record.search import Search
from instar_threadline.record.signing import derive_key, sign
from instar_threadline.record.views import Views
from instar_threadline.sources.statefiles import StateFiles

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


def original_line(direction: str, token: str = TOKEN, **members: Any) -> bytes:
    """A line as the original program writes it."""
    given = {
        "id": "m-1", "timestamp": "2026-05-01T10:00:00.000Z", "from": DAWN, "senderName": "Dawn",
        "trustLevel": "trusted", "threadId": "t-1", "text": "hello",
    }  # fmt: skip
    if direction == "out":
        given |= {"from": "echo", "senderName": "echo", "trustLevel": "self",
                  "to": DAWN, "recipientName": "Dawn"}  # fmt: skip
    return sign({**given, **members}, derive_key(token))[0] + b"\n"


def write_original(state_dir: Path, inbox: list[bytes], outbox: list[bytes] = []) -> None:  # noqa: B006
    """The files of the original program, with these lines in them."""
    folder = state_dir / "threadline"
    folder.mkdir(exist_ok=True)
    (folder / "inbox.jsonl.active").write_bytes(b"".join(inbox))
    (folder / "outbox.jsonl.active").write_bytes(b"".join(outbox))


class Seen:
    """Everything that can be asked about a state directory, freshly indexed."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.index = Index(state_dir, keyring(state_dir), lambda: 0)
        self.readers = Readers(state_dir)
        files = StateFiles(str(state_dir / "threadline"))
        self.views = Views(self.readers, files, keyring(state_dir))
        self.search = Search(self.readers, files, lambda: 0.0)
        self.refresh()

    def refresh(self) -> None:
        self.index.catch_up()

    def threads(self, **filters: Any) -> list[str]:
        return [thread.thread_id for thread in self.views.threads(**filters).threads]

    def hits(self, query: str, **filters: Any) -> list[str]:
        """The snippets of the hits."""
        filters = {"limit": 50, **filters}
        return [hit.snippet for hit in self.search.messages(query, **filters).hits]

    def close(self) -> None:
        self.readers.close()
        self.index.close()


def rearrange(lines: list[bytes], how: str, i: int, j: int) -> None:
    """Delete line i, swap it with line j, or copy j to before i; nothing for any other `how`."""
    if how == "delete":
        del lines[i]
    elif how == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    elif how == "copy":
        lines.insert(i, lines[j])
