"""Which topic a thread has: reserved when its first message arrives, opened once, never beyond
the budget.

Promises that the identity of a topic is the thread's id, never a name; that all places where a
topic could be opened ask the one budget here (per agent and for all, over a rolling window, in
the database); and that a thread without a topic of its own shares the hub, so that every
message still arrives. Never talks to Telegram.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from instar_threadline.bridge.outbox import Outbox
from instar_threadline.bridge.schema import HUB_LANE, lane_of

HUB_THREAD = ""
"""The thread id under which the hub's own topic is kept; no thread has an empty id."""
HUB_NAME = "Threadline — other threads"
ORPHANED = "topics-possibly-orphaned"
"""The counter of topics of which an empty twin may lie around."""
LAST_MESSAGE_STEP_MS = 60_000
"""The time of a thread's last message is stored at most this often."""

State = Literal["reserved", "open", "gone", "hub", "muted"]
Why = Literal["", "budget", "impossible", "closed", "deleted", "chat-changed"]


class Budget(Struct, frozen=True, kw_only=True):
    """How many topics may be opened within a rolling window."""

    per_agent: int = 8
    total: int = 12
    window_ms: int = 600_000


class Binding(Struct, frozen=True, kw_only=True):
    """A thread and its topic."""

    target: str
    thread_id: str
    state: State
    name: str
    agent: str
    """Fingerprint of the agent that the thread was opened for."""
    created_at_ms: int
    last_message_at_ms: int
    why: str = ""
    topic_id: int | None = None


class Topics:
    """The bindings of every target, in the outbox's database and transactions."""

    def __init__(self, outbox: Outbox, budget: Budget, on_deleted: str = "recreate") -> None:
        """`on_deleted`: what a deleted topic means: `recreate`, `hub` or `mute`."""
        self._outbox = outbox
        self._budget = budget
        self._on_deleted = on_deleted
        self.version = 0
        """Counts up when something changed that the bindings file shows."""

    def find(self, target: str, thread_id: str) -> Binding | None:
        """What is known of the thread."""
        with self._outbox.lock:
            found = self._outbox.connection.execute(
                "SELECT * FROM topic WHERE target = ? AND thread_id = ?", (target, thread_id)
            ).fetchall()
        return _binding(found[0]) if found else None

    def all(self, target: str) -> list[Binding]:
        """Every thread of the target, the hub's own entry included, oldest first."""
        with self._outbox.lock:
            found = self._outbox.connection.execute(
                "SELECT * FROM topic WHERE target = ? ORDER BY created_at_ms, thread_id", (target,)
            ).fetchall()
        return [_binding(values) for values in found]

    def place(
        self, target: str, thread_id: str, *, agent: str, name: str, asked_for: bool = False
    ) -> str:
        """The lane for a message of the thread; a new thread gets a topic reserved, or the hub.

        `asked_for` skips the budget: a person named the thread.
        """
        with self._outbox.transaction():
            known = self.find(target, thread_id)
            if known is not None and known.state in ("reserved", "open"):
                self._touch(known)
                return lane_of(thread_id)
            if known is not None and known.state == "hub" and not self._may_leave_hub(known):
                return HUB_LANE
            if known is not None and known.state == "gone" and self._on_deleted == "hub":
                self._set(known, "hub", "deleted")
                return HUB_LANE
            return self._reserve(target, thread_id, agent, name, known, asked_for=asked_for)

    def place_flat(self, target: str, thread_id: str, agent: str) -> str:
        """The lane for a message at a target that has no topics."""
        with self._outbox.transaction():
            if self.find(target, thread_id) is None:
                self._insert(target, thread_id, "open", "", agent=agent, name="")
            return lane_of(thread_id)

    def opened(self, target: str, thread_id: str, topic_id: int, name: str) -> None:
        """The topic exists now; `name` as Telegram made it."""
        with self._outbox.transaction() as db:
            db.execute(
                "UPDATE topic SET state = 'open', why = '', topic_id = ?, name = ?"
                " WHERE target = ? AND thread_id = ?",
                (topic_id, name, target, thread_id),
            )
        self.version += 1

    def lost(self, target: str, thread_id: str) -> None:
        """The topic was deleted: what is waiting is placed anew, or the thread is muted."""
        with self._outbox.transaction():
            known = self.find(target, thread_id)
            if known is not None:
                state: State = "muted" if self._on_deleted == "mute" else "gone"
                self._set(known, "gone" if thread_id == HUB_THREAD else state, "deleted")
        self.version += 1

    def to_hub(self, target: str, thread_id: str, why: Why) -> None:
        """The thread shares the hub from now on; what waits moves there in order."""
        with self._outbox.transaction():
            known = self.find(target, thread_id)
            if known is not None:
                self._set(known, "hub", why)
            self._outbox.move_lane(target, lane_of(thread_id), HUB_LANE)
        self.version += 1

    def hub(self, target: str) -> Binding:
        """The hub's own entry, made when there is none."""
        with self._outbox.transaction():
            known = self.find(target, HUB_THREAD)
            if known is None:
                self._insert(target, HUB_THREAD, "reserved", "", agent="", name=HUB_NAME)
                known = self.find(target, HUB_THREAD)
            assert known is not None
            return known

    def renew_hub(self, target: str) -> None:
        """The hub's topic is gone: it may be made again."""
        with self._outbox.transaction():
            self._set(self.hub(target), "reserved", "")

    def hub_without_topic(self, target: str, why: Why) -> None:
        """The hub is the general topic until somebody mends what stands in the way."""
        with self._outbox.transaction():
            self._set(self.hub(target), "hub", why)

    def forget_chat(self, target: str) -> None:
        """Another chat: no topic of the old one is there. Threads keep their place in line."""
        with self._outbox.transaction() as db:
            db.execute(
                "UPDATE topic SET state = 'gone', why = 'chat-changed', topic_id = NULL"
                " WHERE target = ? AND state = 'open'",
                (target,),
            )
        self.version += 1

    def adopt(self, binding: Binding) -> bool:
        """Take over a binding from elsewhere unless the thread is known. True when it was new."""
        with self._outbox.transaction():
            if self.find(binding.target, binding.thread_id) is not None:
                return False
            self._store(binding)
        self.version += 1
        return True

    def _reserve(
        self,
        target: str,
        thread_id: str,
        agent: str,
        name: str,
        known: Binding | None,
        *,
        asked_for: bool,
    ) -> str:
        fits = asked_for or self._within_budget(target, agent)
        state: State = "reserved" if fits else "hub"
        why: Why = "" if fits else "budget"
        if known is None:
            self._insert(target, thread_id, state, why, agent=agent, name=name)
        else:
            self._set(known, state, why)
        if not fits:
            self._outbox.count(target, "over-budget")
            return HUB_LANE
        self._outbox.connection.execute(
            "INSERT INTO opening (target, agent, at_ms) VALUES (?, ?, ?)",
            (target, agent, self._outbox.clock.now_ms()),
        )
        return lane_of(thread_id)

    def _within_budget(self, target: str, agent: str) -> bool:
        db = self._outbox.connection
        now_ms, window_ms = self._outbox.clock.now_ms(), self._budget.window_ms
        db.execute(
            "DELETE FROM opening WHERE target = ? AND at_ms NOT BETWEEN ? AND ?",
            (target, now_ms - window_ms + 1, now_ms + window_ms),  # later: the clock was put back
        )
        found = db.execute(
            "SELECT count(*), count(*) FILTER (WHERE agent = ?) FROM opening WHERE target = ?",
            (agent, target),
        ).fetchall()
        total, of_agent = msgspec.convert(found[0], tuple[int, int])
        return total < self._budget.total and of_agent < self._budget.per_agent

    def _may_leave_hub(self, known: Binding) -> bool:
        """A thread put there because no topic could be made may try again once nothing of it
        waits.
        """
        if known.why != "impossible":
            return False
        db = self._outbox.connection
        blocked = db.execute(
            "SELECT topics_blocked_until_ms FROM target WHERE name = ?", (known.target,)
        ).get
        waits = db.execute(
            "SELECT EXISTS (SELECT 1 FROM queue WHERE target = ? AND thread_id = ?)",
            (known.target, known.thread_id),
        ).get
        return not waits and msgspec.convert(blocked, int) <= self._outbox.clock.now_ms()

    def _touch(self, known: Binding) -> None:
        now_ms = self._outbox.clock.now_ms()
        if now_ms - known.last_message_at_ms >= LAST_MESSAGE_STEP_MS:
            self._outbox.connection.execute(
                "UPDATE topic SET last_message_at_ms = ? WHERE target = ? AND thread_id = ?",
                (now_ms, known.target, known.thread_id),
            )
            self.version += 1

    def _set(self, known: Binding, state: State, why: Why) -> None:
        self._outbox.connection.execute(
            "UPDATE topic SET state = ?, why = ?, topic_id = NULL"
            " WHERE target = ? AND thread_id = ?",
            (state, why, known.target, known.thread_id),
        )

    def _insert(
        self, target: str, thread_id: str, state: State, why: Why, *, agent: str, name: str
    ) -> None:
        now_ms = self._outbox.clock.now_ms()
        self._store(
            Binding(
                target=target,
                thread_id=thread_id,
                state=state,
                why=why,
                name=name,
                agent=agent,
                created_at_ms=now_ms,
                last_message_at_ms=now_ms,
            )
        )

    def _store(self, binding: Binding) -> None:
        self._outbox.connection.execute(
            "INSERT INTO topic VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                binding.target,
                binding.thread_id,
                binding.state,
                binding.why,
                binding.topic_id,
                binding.name,
                binding.agent,
                binding.created_at_ms,
                binding.last_message_at_ms,
            ),
        )


def _binding(values: tuple[object, ...]) -> Binding:
    names = (
        "target",
        "thread_id",
        "state",
        "why",
        "topic_id",
        "name",
        "agent",
        "created_at_ms",
        "last_message_at_ms",
    )
    return msgspec.convert(dict(zip(names, values, strict=True)), Binding)
