"""`threadline/telegram-bridge-bindings.json`: our bindings as the original keeps them, for both
to read.

Promises the reference's format, written whole or not at all, readable by its owner only. A file
that cannot be read is never overwritten: whoever wrote it may be the only one who knows where
the topics are (C-50). The database stays the truth; the file is an export, and is read once,
for threads that are not known yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from instar_host.store.errors import StoreError
from instar_host.store.files import ensure_private_dir, read_bounded, write_atomic
from instar_threadline.bridge.topics import HUB_THREAD, Binding

FILE = "threadline/telegram-bridge-bindings.json"
MAX_BYTES = 16 << 20


class BindingsFileError(Exception):
    """The file is there and is not what it should be; the text says what to do."""


class _Entry(Struct, rename="camel"):
    thread_id: str
    topic_id: int
    remote_agent: str = ""
    topic_name: str = ""
    created_at: str = ""
    last_message_at: str = ""


def read(path: Path, target: str, now_ms: int) -> list[Binding]:
    """The bindings in the file; none when there is no file. Raises `BindingsFileError`.

    Entries without a thread id or a numeric topic id are left out, as in the reference.
    """
    entries = (_decoded(entry) for entry in _entries(path))
    return [
        Binding(
            target=target,
            thread_id=entry.thread_id,
            state="open",
            topic_id=entry.topic_id,
            name=entry.topic_name,
            agent=entry.remote_agent,
            created_at_ms=_instant_ms(entry.created_at, now_ms),
            last_message_at_ms=_instant_ms(entry.last_message_at, now_ms),
        )
        for entry in entries
        if entry is not None and entry.thread_id
    ]


def write(path: Path, bindings: Iterable[Binding]) -> None:
    """Replace the file. Raises `BindingsFileError` when what is there cannot be read."""
    _entries(path)
    shown = [
        {
            "threadId": b.thread_id,
            "topicId": b.topic_id,
            "remoteAgent": b.agent,
            "topicName": b.name,
            "createdAt": _iso(b.created_at_ms),
            "lastMessageAt": _iso(b.last_message_at_ms),
        }
        for b in bindings
        if b.state == "open" and b.thread_id != HUB_THREAD
    ]
    body = json.dumps({"version": 1, "bindings": shown}, indent=2, ensure_ascii=False)
    ensure_private_dir(path.parent)
    write_atomic(path, body.encode("utf-8", "replace"))


def _entries(path: Path) -> list[Any]:
    try:
        value = json.loads(read_bounded(path, MAX_BYTES))
    except FileNotFoundError:
        return []
    except (OSError, StoreError, ValueError, RecursionError):
        value = None
    entries = value.get("bindings") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise BindingsFileError(
            f"{path} cannot be read as bindings and was left as it is; mend it or move it away"
        )
    return entries


def _decoded(entry: Any) -> _Entry | None:
    try:
        return msgspec.convert(entry, _Entry)
    except msgspec.ValidationError:
        return None


def _iso(at_ms: int) -> str:
    stamp = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")


def _instant_ms(text: str, fallback_ms: int) -> int:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return fallback_ms
    aware = parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)
