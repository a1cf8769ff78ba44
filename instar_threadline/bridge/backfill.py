"""Reconstructing the history of threads: what there is, what is new, how long it takes. Pure
but for two readers.

Promises the same keys as live traffic, so that nothing is ever posted twice by either; honest
numbers before anything begins; and that what the original had posted (its ledger) counts as
posted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from instar_host.errors import InstarError, UsageError
from instar_host.store.errors import StoreError
from instar_host.store.files import read_bounded
from instar_threadline.bridge.graphemes import cut_at
from instar_threadline.bridge.hygiene import clean_body, clean_name, short_fingerprint
from instar_threadline.bridge.render import Entry, Layout, fitting, render
from instar_threadline.bridge.rows import identity_key, key_of
from instar_threadline.bridge.target import Pace
from instar_threadline.messages import UNKNOWN_AGENT, Direction, Message
from instar_threadline.record.lines import instant_ms

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


class ThreadPlan(Struct, frozen=True, kw_only=True):
    """What a backfill would do for one thread."""

    thread_id: str
    agent: str
    agent_name: str
    messages: tuple[Message, ...]
    """Those that were never posted, oldest first."""
    posted: tuple[Message, ...]
    """Those that the original's ledger says were posted."""
    total: int
    known: int
    """Posted, or waiting, already."""
    opens_topic: bool
    banner: bool
    operations: int
    banner_text: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """What a backfill would do."""

    threads: tuple[ThreadPlan, ...]
    missing: tuple[str, ...] = ()
    """Threads that were asked for and have no messages."""
    skipped_unbound: int = 0
    problems: tuple[str, ...] = ()

    @property
    def messages(self) -> int:
        """How many messages would be queued."""
        return sum(len(thread.messages) for thread in self.threads)

    @property
    def operations(self) -> int:
        """How many calls to Telegram that takes."""
        return sum(thread.operations for thread in self.threads)

    def seconds(self, pace: Pace) -> float:
        """How long they take at the pace that is allowed to a backfill."""
        return self.operations * 60 / pace.for_history


class Known(Struct, frozen=True, kw_only=True):
    """What the bridge knows, as questions."""

    has_message: Callable[[bytes], bool]
    has_topic: Callable[[str], bool]


def chunk_body(text: str, size: int = CHUNK) -> list[str]:
    """`text` in pieces of at most `size` code points, none ending inside a character."""
    chunks: list[str] = []
    while len(text) > size:
        at = cut_at(text, size)
        chunks.append(text[:at])
        text = text[at:]
    return [*chunks, text]


def group_by_thread(messages: Iterable[Message]) -> dict[str, list[Message]]:
    """The messages by thread, each thread by time; messages without a thread are left out."""
    groups: dict[str, list[Message]] = {}
    for message in messages:
        if message.thread_id:
            groups.setdefault(message.thread_id, []).append(message)
    for group in groups.values():
        group.sort(key=lambda m: m.timestamp_ms or 0)
    return groups


def counterparty_of(messages: Sequence[Message]) -> tuple[str, str]:
    """(fingerprint, name): the first sender, else the first recipient, else unknown."""
    for direction in ("in", "out"):
        for message in messages:
            if message.direction == direction:
                return message.counterparty, message.counterparty_name
    return UNKNOWN_AGENT, UNKNOWN_AGENT


def ledger_key(message: Message) -> str:
    """The original's key of a message: its id, else direction, time and opening words."""
    return message.id or f"{message.direction}:{message.timestamp}:{message.text[:32]}"


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
    for thread_id, entry in threads.items():
        if not isinstance(entry, dict):
            continue
        keys = entry.get("posted")
        listed = keys if isinstance(keys, list) else ()
        posted[thread_id] = frozenset(key for key in listed if isinstance(key, str))
        topic = entry.get("topicId")
        if isinstance(topic, int) and not isinstance(topic, bool):
            topics[thread_id] = (topic, str(entry.get("topicName", "")))
    return Ledger(posted=posted, topics=topics)


def read_seed(path: Path) -> list[Any]:
    """The rows of a seed file, all of them messages. Raises UsageError with the number of the
    first row that is wrong.
    """
    value = _read_json(path)
    if value is None:
        raise UsageError(f"there is no seed file {path}")
    seed_messages(value, str(path))
    return list(value)


def seed_messages(value: Any, origin: str) -> list[Message]:
    """The rows of a seed as messages. A row without an id gets one made of what it says.

    Raises UsageError.
    """
    if not isinstance(value, list):
        raise UsageError(f"{origin} has to hold a list of messages")
    same: Counter[tuple[str, ...]] = Counter()
    return [_seed_message(row, f"{origin}, row {n}", same) for n, row in enumerate(value, 1)]


def merge(logged: Iterable[Message], seeded: Iterable[Message]) -> list[Message]:
    """Both, without seed rows that say what the log has: same id, or same instant and words."""
    merged = list(logged)
    ids = {(m.direction, m.thread_id, m.id) for m in merged}
    said = {(m.direction, m.thread_id, m.timestamp_ms, m.text) for m in merged}
    for message in seeded:
        by_id = (message.direction, message.thread_id, message.id) in ids
        by_words = (
            message.direction,
            message.thread_id,
            message.timestamp_ms,
            message.text,
        ) in said
        if not by_id and not by_words:
            merged.append(message)
    return merged


def make_plan(
    messages: Iterable[Message],
    *,
    known: Known,
    ledger: Ledger,
    layout: Layout,
    local_name: str,
    only: Sequence[str] = (),
    since_ms: int | None = None,
    create: bool = True,
) -> Plan:
    """What is to be done, thread by thread in the order of their first message."""
    groups = group_by_thread(messages)
    wanted = only or tuple(groups)
    threads: list[ThreadPlan] = []
    skipped = 0
    for thread_id in wanted:
        group = groups.get(thread_id, [])
        if not group:
            continue
        bound = known.has_topic(thread_id) or thread_id in ledger.topics
        if not bound and not create:
            skipped += 1
            continue
        threads.append(
            _thread_plan(thread_id, group, known, ledger, layout, local_name, since_ms, bound=bound)
        )
    missing = tuple(thread_id for thread_id in wanted if thread_id not in groups)
    return Plan(
        threads=tuple(t for t in threads if t.messages or t.posted),
        missing=missing,
        skipped_unbound=skipped,
    )


def _thread_plan(
    thread_id: str,
    group: list[Message],
    known: Known,
    ledger: Ledger,
    layout: Layout,
    local_name: str,
    since_ms: int | None,
    *,
    bound: bool,
) -> ThreadPlan:
    posted_keys = ledger.posted.get(thread_id, frozenset())
    fresh = [m for m in group if not known.has_message(identity_key(m.identity))]
    posted = [m for m in fresh if ledger_key(m) in posted_keys]
    new = [m for m in fresh if ledger_key(m) not in posted_keys]
    if since_ms is not None:
        new = [m for m in new if (m.timestamp_ms or 0) >= since_ms]
    agent, name = counterparty_of(group)
    banner = bool(new) and not known.has_message(banner_key(thread_id))
    entries = [_entry(message, local_name) for message in new]
    operations = _operations(entries, layout) + (not bound and bool(new))
    return ThreadPlan(
        thread_id=thread_id,
        agent=agent,
        agent_name=name,
        messages=tuple(new),
        posted=tuple(posted),
        total=len(group),
        known=len(group) - len(new),
        opens_topic=not bound and bool(new),
        banner=banner,
        operations=operations,
        banner_text=banner_text(group, agent, name),
    )


def banner_key(thread_id: str) -> bytes:
    """The key of a thread's only banner."""
    return key_of("banner", thread_id)


def banner_text(group: Sequence[Message], agent: str, name: str) -> str:
    """The lines that announce a reconstruction."""
    inbound = sum(message.direction == "in" for message in group)
    first, last = _stamp(group[0]), _stamp(group[-1])
    return "\n".join(
        (
            "📚 Backfill: reconstructed thread history",
            f"Thread: {clean_name(group[0].thread_id, 64)}",
            f"Remote agent: {clean_name(name) or 'unnamed'} ({short_fingerprint(agent)})",
            f"Messages: {len(group)} ({inbound} in, {len(group) - inbound} out)",
            f"Span: {first} → {last}",
            "",
            "New messages of this thread follow here while the bridge is on.",
        )
    )


def _operations(entries: list[Entry], layout: Layout) -> int:
    """Calls that sending the entries takes, merged as the worker merges."""
    calls = 0
    while entries:
        count = fitting(entries[:60], layout)
        calls += len(render(entries[:count], layout))
        entries = entries[count:]
    return calls


def _entry(message: Message, local_name: str) -> Entry:
    return Entry(
        direction=message.direction,
        local_name=local_name,
        peer_name=message.counterparty_name,
        peer_fingerprint=message.counterparty,
        text=clean_body(message.text),
        at_ms=message.timestamp_ms,
        history=True,
    )


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
        read = msgspec.convert(row, _SeedRow)
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


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_bounded(path, MAX_FILE_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, StoreError, ValueError, RecursionError) as error:
        raise InstarError(f"{path} cannot be read: {error}") from None


def _stamp(message: Message) -> str:
    if message.timestamp_ms is None:
        return "unknown"
    return datetime.fromtimestamp(message.timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
