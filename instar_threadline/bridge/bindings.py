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
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Struct

from instar_host.clock import Clock
from instar_host.errors import reason
from instar_host.store.errors import StoreError
from instar_host.store.files import ensure_private_dir, read_bounded, write_atomic
from instar_threadline.bridge.topics import HUB_THREAD, Binding, Topics
from instar_threadline.record.lines import instant_ms, iso_instant

FILE = "threadline/telegram-bridge-bindings.json"
MAX_BYTES = 16 << 20
WRITE_EVERY_S = 5.0


class BindingsFileError(Exception):
    """The file is there and is not what it should be; the text says what to do."""


class _Entry(Struct, rename="camel"):
    thread_id: str
    topic_id: Annotated[int, msgspec.Meta(gt=0, lt=1 << 53)]
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
            "createdAt": iso_instant(b.created_at_ms),
            "lastMessageAt": iso_instant(b.last_message_at_ms),
        }
        for b in bindings
        if b.state == "open" and b.thread_id != HUB_THREAD
    ]
    body = json.dumps({"version": 1, "bindings": shown}, indent=2, ensure_ascii=False)
    ensure_private_dir(path.parent)
    write_atomic(path, body.encode("utf-8", "replace"))


class BindingsFile:
    """Keeps the file and one target's bindings alike, both ways. One thread at a time."""

    def __init__(self, path: Path, target: str, clock: Clock) -> None:
        self._path = path
        self._target = target
        self._clock = clock
        self._written = (-1, 0.0)
        self.problem = ""
        """What keeps them from being alike; empty when nothing does."""

    def take_over(self, topics: Topics) -> None:
        """Adopt what only the file knows."""
        try:
            for binding in read(self._path, self._target, self._clock.now_ms()):
                topics.adopt(binding)
        except BindingsFileError as error:
            self.problem = str(error)
        else:
            self.problem = ""

    def bring_up_to_date(self, topics: Topics, *, at_once: bool = False) -> None:
        """Write the file when it is stale, and not at every message. After a problem it is read
        first: whoever mended it knew topics that nobody else knows.
        """
        version, at_s = self._written
        now_s = self._clock.monotonic_s()
        if not at_once and now_s - at_s < WRITE_EVERY_S:
            return
        if self.problem:
            self.take_over(topics)
        elif topics.version == version:
            return
        version = topics.version
        try:
            write(self._path, topics.all(self._target))
        except BindingsFileError as error:
            self.problem = str(error)
        except (OSError, StoreError) as error:
            self.problem = f"the bindings file cannot be written: {reason(error)}"
        self._written = (version, now_s)


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
    """The entry; None for one that is none, or that a database would not take."""
    try:
        decoded = msgspec.convert(entry, _Entry)
        msgspec.json.encode(decoded)
    except (msgspec.ValidationError, UnicodeEncodeError):  # half a character, for one
        return None
    return decoded


def _instant_ms(text: str, fallback_ms: int) -> int:
    at_ms = instant_ms(text)
    return fallback_ms if at_ms is None else at_ms
