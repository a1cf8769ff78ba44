"""What a backfill would do: which threads, how many messages, how many calls, how long.

Promises honest numbers before anything begins, from one pass over the history: what it holds is
the numbers, the threads that are shown, and as many messages as are merged into one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from instar_threadline.bridge.backfill import Ledger
from instar_threadline.bridge.compose import MERGE_ROWS
from instar_threadline.bridge.history import History, ThreadHistory
from instar_threadline.bridge.hygiene import clean_body, clean_name, short_fingerprint
from instar_threadline.bridge.render import Entry, Layout, fitting, render
from instar_threadline.bridge.rows import key_of
from instar_threadline.bridge.target import Pace
from instar_threadline.messages import Message

MAX_SHOWN_THREADS = 100


class ThreadPlan(Struct, frozen=True, kw_only=True):
    """What a backfill would do for one thread."""

    history: ThreadHistory
    agent: str
    agent_name: str
    opens_topic: bool
    banner_text: str
    operations: int = 0

    @property
    def thread_id(self) -> str:
        return self.history.thread_id

    @property
    def known(self) -> int:
        """Posted, or waiting, already; or left out."""
        return self.history.total - self.history.new


class Plan(Struct, frozen=True, kw_only=True):
    """What a backfill would do."""

    threads: tuple[ThreadPlan, ...]
    """The first ones."""
    messages: int
    """How many messages would be queued."""
    operations: int
    """How many calls to Telegram that takes."""
    topics: int
    """How many of them open one."""
    missing: tuple[str, ...] = ()
    """Threads that were asked for and have no messages."""
    skipped_unbound: int = 0

    def seconds(self, pace: Pace) -> float:
        """How long they take at the pace that is allowed to a backfill."""
        return self.operations * 60 / pace.for_history


class Planner(Struct, frozen=True, kw_only=True):
    """What a plan depends on besides the history."""

    has_topic: Callable[[str], bool]
    ledger: Ledger
    layout: Layout
    local_name: str
    create: bool = True
    """False leaves out threads that have no topic yet."""

    def plan(self, history: History, wanted: Sequence[str] = ()) -> Plan:
        """What is to be done; `wanted` are the threads that were asked for, empty means all."""
        shown: list[ThreadPlan] = []
        messages = operations = topics = skipped = 0
        for found in history.threads():
            thread = self._thread(history, found)
            if thread is None:
                skipped += found.new > 0 or found.posted > 0
            elif found.new or found.posted:
                calls = self._operations(history, thread)
                messages, operations = messages + found.new, operations + calls
                topics += thread.opens_topic
                if len(shown) < MAX_SHOWN_THREADS:
                    shown.append(replace(thread, operations=calls))
        return Plan(
            threads=tuple(shown),
            messages=messages,
            operations=operations,
            topics=topics,
            missing=tuple(thread_id for thread_id in wanted if not history.has(thread_id)),
            skipped_unbound=skipped,
        )

    def threads(self, history: History) -> Iterator[ThreadPlan]:
        """The threads with something to do, by their first messages; their calls not counted."""
        for found in history.threads():
            thread = self._thread(history, found) if found.new or found.posted else None
            if thread is not None:
                yield thread

    def agents(self, history: History) -> dict[str, str]:
        """With whom the threads are whose topics the original made."""
        of = self.ledger.topics
        found = (thread for thread in (history.threads() if of else ()) if thread.thread_id in of)
        return {thread.thread_id: history.counterparty(thread)[0] for thread in found}

    def _thread(self, history: History, found: ThreadHistory) -> ThreadPlan | None:
        """None for one without a topic, when none may be made."""
        bound = self.has_topic(found.thread_id) or found.thread_id in self.ledger.topics
        if not bound and not self.create:
            return None
        agent, name = history.counterparty(found)
        return ThreadPlan(
            history=found,
            agent=agent,
            agent_name=name,
            opens_topic=not bound and found.new > 0,
            banner_text=banner_text(found, agent, name, history.span(found)),
        )

    def _operations(self, history: History, thread: ThreadPlan) -> int:
        """Calls that it takes to send the thread's new messages, merged as the worker merges."""
        said = history.messages(thread.history, "new")
        entries = (self._entry(message) for message in said)
        return calls_for(entries, self.layout) + thread.opens_topic

    def _entry(self, message: Message) -> Entry:
        return Entry(
            direction=message.direction,
            local_name=self.local_name,
            peer_name=message.counterparty_name,
            peer_fingerprint=message.counterparty,
            text=clean_body(message.text),
            at_ms=message.timestamp_ms,
            history=True,
        )


def calls_for(entries: Iterable[Entry], layout: Layout) -> int:
    """Calls that sending the entries takes."""
    calls = 0
    coming = iter(entries)
    waiting = list(islice(coming, MERGE_ROWS))
    while waiting:
        count = fitting(waiting, layout)
        calls += 1 if count > 1 else len(render(waiting[:1], layout))  # merged they are one
        waiting = [*waiting[count:], *islice(coming, count)]
    return calls


def banner_key(thread_id: str) -> bytes:
    """The key of a thread's only banner."""
    return key_of("banner", thread_id)


def banner_text(
    found: ThreadHistory, agent: str, name: str, span: tuple[int | None, int | None]
) -> str:
    """The lines that announce a reconstruction."""
    return "\n".join(
        (
            "📚 Backfill: reconstructed thread history",
            f"Thread: {clean_name(found.thread_id, 64)}",
            f"Remote agent: {clean_name(name) or 'unnamed'} ({short_fingerprint(agent)})",
            f"Messages: {found.total} ({found.inbound} in, {found.total - found.inbound} out)",
            f"Span: {_stamp(span[0])} → {_stamp(span[1])}",
            "",
            "New messages of this thread follow here while the bridge is on.",
        )
    )


def _stamp(at_ms: int | None) -> str:
    if at_ms is None:
        return "unknown"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
