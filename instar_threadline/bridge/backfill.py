"""What a backfill is given besides the log: the original's ledger, and a seed. Pure but for two
readers.

Promises that what the original had posted (its ledger) counts as posted, and that a seed is taken
whole or not at all, without what the log has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from instar_host.errors import InstarError, UsageError
from instar_host.store.errors import StoreError
from instar_host.store.files import read_bounded
from instar_threadline.bridge.graphemes import cut_at
from instar_threadline.bridge.rows import key_of
from instar_threadline.messages import UNKNOWN_AGENT, Direction, Message
from instar_threadline.record.lines import instant_ms
from instar_threadline.record.signing import whole_text

LEDGER_FILE = "threadline/bridge-backfill-ledger.json"
MAX_FILE_BYTES = 64 << 20
CHUNK = 3800
"""The reference's chunk, in code points here."""


class Ledger(Struct, frozen=True, kw_only=True):
    """What the original's backfill had posted."""

    posted: Mapping[str, frozenset[str]]
    """Thread id -> keys."""
    topics: Mapping[str, tuple[int, str]]
    """Thread id -> (topic id, topic name)."""


def chunk_body(text: str, size: int = CHUNK) -> list[str]:
    """`text` in pieces of at most `size` code points, none ending inside a character."""
    chunks: list[str] = []
    while len(text) > size:
        at = cut_at(text, size)
        chunks.append(text[:at])
        text = text[at:]
    return [*chunks, text]


def ledger_key(message: Message) -> str:
    """The original's key of a message: its id, else direction, time and opening words. These are
    the first 32 as JavaScript counts, which may end inside of a character.
    """
    if message.id:
        return message.id
    opening = message.text.encode("utf-16-le", "surrogatepass")[:64]
    words = opening.decode("utf-16-le", "surrogatepass")
    return f"{message.direction}:{message.timestamp}:{words}"


def read_ledger(path: Path) -> Ledger:
    """The original's ledger; empty without one. Raises InstarError when it cannot be read."""
    value = _read_json(path)
    if value is None:
        return Ledger(posted={}, topics={})
    threads = value.get("threads") if isinstance(value, dict) else None
    if not isinstance(threads, dict):
        raise InstarError(f"{path} is no ledger of posted messages; mend it or move it away")
    posted: dict[str, frozenset[str]] = {}
    topics: dict[str, tuple[int, str]] = {}
    for name, entry in threads.items():
        if not isinstance(entry, dict):
            continue
        thread_id = whole_text(name)
        keys = entry.get("posted")
        listed = keys if isinstance(keys, list) else ()
        posted[thread_id] = frozenset(key for key in listed if isinstance(key, str))
        topic = entry.get("topicId")
        if isinstance(topic, int) and not isinstance(topic, bool) and 0 < topic < 1 << 53:
            topics[thread_id] = (topic, whole_text(str(entry.get("topicName", ""))))
    return Ledger(posted=posted, topics=topics)


def read_seed(path: Path) -> list[Any]:
    """The rows of a seed file, all of them messages. Raises UsageError with the number of the
    first row that is wrong.
    """
    value = _read_json(path)
    if value is None:
        raise UsageError(f"there is no seed file {path}")
    seed_messages(value, str(path))
    return [_whole(row) for row in value]


def seed_messages(value: Any, origin: str) -> list[Message]:
    """The rows of a seed as messages. A row without an id gets one made of what it says.

    Raises UsageError.
    """
    if not isinstance(value, list):
        raise UsageError(f"{origin} has to hold a list of messages")
    same: Counter[tuple[str, ...]] = Counter()
    return [_seed_message(row, f"{origin}, row {n}", same) for n, row in enumerate(value, 1)]


class Seeded:
    """The messages of a seed that are not in the log: with no same id, and no same words at the
    same instant. Holds the seed and nothing of the log.
    """

    def __init__(self, messages: Iterable[Message]) -> None:
        self._left = dict(enumerate(messages))
        self._by: dict[tuple[object, ...], list[int]] = {}
        for number, message in self._left.items():
            for sign in _signs(message):
                self._by.setdefault(sign, []).append(number)

    def seen(self, logged: Message) -> None:
        """The log has this one."""
        for sign in _signs(logged) if self._left else ():
            for number in self._by.pop(sign, ()):
                self._left.pop(number, None)

    def left(self) -> list[Message]:
        """Those that were not seen, as they came."""
        return list(self._left.values())


class _SeedRow(Struct, rename="camel"):
    thread_id: str
    direction: Direction
    timestamp: str
    text: str
    remote_agent: str = UNKNOWN_AGENT
    remote_agent_name: str = ""
    id: str = ""


def _seed_message(row: Any, where: str, same: Counter[tuple[str, ...]]) -> Message:
    try:
        read = msgspec.convert(_whole(row), _SeedRow)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}") from None
    at_ms = instant_ms(read.timestamp)
    if not read.thread_id or at_ms is None:
        raise UsageError(f"{where}: it needs a threadId and an ISO 8601 timestamp with a zone")
    says = (read.direction, read.thread_id, read.remote_agent, read.timestamp, read.text)
    same[says] += 1
    return Message(
        direction=read.direction,
        id=read.id or f"seed-{key_of(*says, same[says]).hex()}",
        thread_id=read.thread_id,
        counterparty=read.remote_agent,
        counterparty_name=read.remote_agent_name,
        text=read.text,
        timestamp=read.timestamp,
        timestamp_ms=at_ms,
        sender=read.remote_agent if read.direction == "in" else "",
        integrity="no-mac",
    )


def _whole(row: Any) -> Any:
    """The row without halves of characters, which no database takes."""
    if not isinstance(row, dict):
        return row
    return {key: whole_text(said) if isinstance(said, str) else said for key, said in row.items()}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_bounded(path, MAX_FILE_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, StoreError, ValueError, RecursionError) as error:
        raise InstarError(f"{path} cannot be read: {error}") from None


def _signs(message: Message) -> tuple[tuple[object, ...], ...]:
    """What two records of one message have in common: the one or the other."""
    of = (message.direction, message.thread_id)
    return ("id", *of, message.id), ("words", *of, message.timestamp_ms, message.text)
