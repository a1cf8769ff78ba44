"""A second sink, to prove the port: every mirrored message as one line of JSON in a file.

Promises an append of whole lines, synced before it is reported, readable by the owner only. A
line that was written before a crash and reported after it is not written twice: the keys of the
file's end are known.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec

from instar_threadline.records import BridgeSink, Mirror, SinkResult

NAME = "jsonl"
TAIL_BYTES = 4 << 20
"""More than the longest line: a message of a MiB, each character of it escaped."""
KEPT_KEYS = 1000
"""Only the newest lines can be asked for again."""


class JsonlFile:
    """Appends to one file. One thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._recent: dict[str, None] | None = None

    def sink(self) -> BridgeSink:
        """The sink to hand out."""
        return BridgeSink(name=NAME, deliver=self.deliver)

    def deliver(self, mirror: Mirror) -> SinkResult:
        """Write the line unless the file has it. A failed write is tried again later."""
        try:
            if self._recent is None:
                self._recent = self._keys_at_end()
            if mirror.key not in self._recent:
                self._append(mirror)
                _remember(self._recent, mirror.key)
        except OSError as error:
            self._recent = None
            reason = error.strerror or type(error).__name__
            return SinkResult(status="rejected", retry_after_s=60.0, reason=reason)
        return SinkResult(status="delivered", reference=mirror.key)

    def _append(self, mirror: Mirror) -> None:
        message = mirror.message
        line = msgspec.json.encode(
            {
                "key": mirror.key,
                "direction": message.direction,
                "threadId": message.thread_id,
                "agent": message.counterparty,
                "agentName": message.counterparty_name,
                "verified": message.verified,
                "atMs": message.timestamp_ms,
                "text": mirror.body,
            }
        )
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            data = (b"\n" if torn else b"") + line + b"\n"
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, "the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _keys_at_end(self) -> dict[str, None]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return {}
        try:
            size = os.fstat(descriptor).st_size
            data = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
        finally:
            os.close(descriptor)
        recent: dict[str, None] = {}
        for line in data.split(b"\n"):
            if key := _key(line):
                _remember(recent, key)
        return recent


def _remember(recent: dict[str, None], key: str) -> None:
    recent[key] = None
    if len(recent) > KEPT_KEYS:
        del recent[next(iter(recent))]


class _Line(msgspec.Struct):
    key: str = ""


def _key(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_Line).key
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
