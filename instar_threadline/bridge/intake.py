"""From the log into the queue: policy, votes, redaction, a place, a row.

Promises that the mark of the log and the rows made of it commit together, so that a crash loses
nothing and doubles nothing; that nothing unredacted is stored; and that an error of anybody's
plugin is a no. While the bridge is off the mark moves on and nothing is queued. Plugins are
asked before the transaction begins, never inside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from instar_host.clock import Clock
from instar_threadline.bridge import mutes
from instar_threadline.bridge.feed import MessageFeed
from instar_threadline.bridge.hygiene import clean_body, clean_name, has_visible_text, is_receipt
from instar_threadline.bridge.outbox import MAX_BODY_BYTES, Outbox
from instar_threadline.bridge.policy import Decision, Notify, Question, Rules, decide, should_ring
from instar_threadline.bridge.redact import RedactionError, redact_with
from instar_threadline.bridge.render import topic_name
from instar_threadline.bridge.rows import Row, identity_key
from instar_threadline.bridge.schema import HUB_LANE
from instar_threadline.bridge.topics import Topics
from instar_threadline.messages import Message, Thread

MARK = "log"
BOUND = frozenset({"reserved", "open", "gone", "hub"})


class Voices(Protocol):
    """What other plugins say. Calls may be slow and may run any code."""

    def may_mirror(self, message: Message, thread: Thread) -> bool:
        """False when any says no, or fails to answer."""
        ...

    def title(self, thread: Thread) -> str | None:
        """A title for the topic of a thread."""
        ...

    def redactors(self) -> Sequence[tuple[str, Callable[[str], str]]]:
        """Named redactors, in order."""
        ...


class Audience(Struct, frozen=True, kw_only=True):
    """One target and whether it has topics."""

    name: str
    kind: Literal["chat", "sink"]


class Admitted(Struct, frozen=True, kw_only=True):
    """A message that policy admits to a target, redacted, not yet placed."""

    message: Message
    target: Audience
    body: str
    ring: bool
    outcome: str | None = None
    title: str = ""
    """Name of the topic that it would open, of redacted words; empty where there is one."""
    blocked_by: str = ""
    """The redactor that failed: a placeholder is queued instead of the text."""


class Admission(Struct, frozen=True, kw_only=True):
    """What was admitted of some messages, and what to count when it is queued."""

    messages: tuple[Admitted, ...]
    counts: Mapping[tuple[str, str], int]
    """(target, counter) -> how many."""


class Intake:
    """Turns messages into rows. Callable from any thread."""

    def __init__(
        self,
        outbox: Outbox,
        topics: Topics,
        voices: Voices,
        *,
        audiences: Sequence[Audience],
        rules: Callable[[], Rules],
        local_name: str,
        clock: Clock,
        secrets: Callable[[], Iterable[str]] = tuple,
        notify: Notify = "important",
        human_names: tuple[str, ...] = (),
    ) -> None:
        """`rules` gives the person's settings as they are at the moment, without mutes."""
        self._outbox = outbox
        self._topics = topics
        self._voices = voices
        self._audiences = audiences
        self._rules = rules
        self._local_name = local_name
        self._clock = clock
        self._secrets = secrets
        self._notify = notify
        self._human_names = human_names

    def pull(self, feed: MessageFeed) -> bool:
        """One step of the log; true when there is more. The first step ever begins at its end."""
        mark = self._outbox.mark(MARK)
        if mark is None:
            self._outbox.set_mark(MARK, feed.end())
            return False
        batch = feed.read(mark)
        if not batch.messages and batch.mark == mark:
            return False
        admitted = self.admit(batch.messages, self.rules())
        with self._outbox.transaction():
            self.enqueue(admitted)
            self._outbox.set_mark(MARK, batch.mark)
            if batch.restarted:
                self._outbox.count("", "log-rewritten")
        return batch.more

    def rules(self) -> Rules:
        """The settings and the mutes of this moment."""
        return replace(
            self._rules(),
            muted_threads=mutes.muted(self._outbox, "thread"),
            muted_agents=mutes.muted(self._outbox, "agent"),
        )

    def admit(
        self, messages: Iterable[Message], rules: Rules, *, asked_for: bool = False
    ) -> Admission:
        """What policy, plugins and redaction leave of the messages. Outside any transaction."""
        admitted: list[Admitted] = []
        counts: Counter[tuple[str, str]] = Counter()
        bound: dict[tuple[str, str], str] = {}
        titles: dict[tuple[str, str], str] = {}
        for message in messages:
            for target in self._audiences:
                at = (target.name, message.thread_id)
                agent = bound.get(at) or self._bound_to(*at)
                decision = self._judge(message, rules, agent, asked_for=asked_for)
                if not decision.post:
                    counts[target.name, f"refused-{decision.reason}"] += 1
                    continue
                if message.thread_id:
                    bound.setdefault(at, message.counterparty)
                one = self._redacted(message, target, counts, first=agent is None)
                if self._needs_title(one):
                    titles[at] = titles.get(at) or self.title(one)
                    one = replace(one, title=titles[at])
                admitted.append(one)
        return Admission(messages=tuple(admitted), counts=counts)

    def enqueue(self, admission: Admission, *, history: bool = False) -> Mapping[str, int]:
        """Place and queue; how many were new for each target. Joins the caller's transaction."""
        rows: dict[str, list[Row]] = {target.name: [] for target in self._audiences}
        with self._outbox.transaction():
            for one in admission.messages:
                key = identity_key(one.message.identity)
                if not self._outbox.is_known(one.target.name, key):
                    lane = self.place(one, asked_for=history)
                    rows[one.target.name].append(self._row(one, lane, key, history=history))
            added = {target: self._outbox.add(mine) for target, mine in rows.items()}
            for (target, name), number in admission.counts.items():
                self._outbox.count(target, name, number)
        return added

    def place(self, one: Admitted, *, asked_for: bool) -> str:
        """The lane for a message: a new thread gets its topic reserved."""
        message = one.message
        if one.target.kind == "sink":
            return self._topics.place_flat(one.target.name, message.thread_id, message.counterparty)
        if not message.thread_id:
            self._topics.hub(one.target.name)
            return HUB_LANE
        known = self._topics.find(one.target.name, message.thread_id)
        return self._topics.place(
            one.target.name,
            message.thread_id,
            agent=message.counterparty,
            name=known.name if known is not None else one.title,
            asked_for=asked_for,
        )

    def title(self, one: Admitted) -> str:
        """The name of a new topic, from redacted words only. Asks plugins."""
        message = one.message
        thread = replace(thread_of(message), subject=one.body[:200])
        subject = self._voices.title(thread) or one.body[:200] or None
        return topic_name(
            self._local_name, message.counterparty_name, subject, message.counterparty
        )

    def note_posted(self, messages: Iterable[Message], target: str) -> None:
        """These were posted by somebody else: neither live traffic nor a backfill sends them."""
        now_ms = self._clock.now_ms()
        with self._outbox.transaction() as db:
            for message in messages:
                db.execute(
                    "INSERT INTO delivered VALUES (?, ?, 'before', 0, NULL, ?)"
                    " ON CONFLICT DO NOTHING",
                    (target, identity_key(message.identity), now_ms),
                )

    def decide_again(self, row: Row) -> Decision:
        """Policy at the moment of sending: the same tree, on the row."""
        message = message_of_row(row)
        rules = self.rules()
        agent = self._bound_to(row.target, row.thread_id) or row.fingerprint
        question = self._question(message, agent, asked_for=row.history)
        decision = decide(replace(question, has_text=True), rules)
        if decision.post and row.kind == "message" and not self._may_mirror(message):
            return Decision(post=False, reason="vetoed")
        return decision

    def _judge(
        self, message: Message, rules: Rules, agent: str | None, *, asked_for: bool
    ) -> Decision:
        question = self._question(message, agent, asked_for=asked_for)
        decision = decide(question, rules)
        if decision.post and not self._may_mirror(message):
            return Decision(post=False, reason="vetoed")
        return decision

    def _question(self, message: Message, agent: str | None, *, asked_for: bool) -> Question:
        return Question(
            direction=message.direction,
            thread_id=message.thread_id,
            fingerprint=message.counterparty,
            verified=message.verified,
            has_text=has_visible_text(message.text),
            is_receipt=is_receipt(message.text),
            bound_to=agent,
            asked_for=asked_for,
        )

    def _may_mirror(self, message: Message) -> bool:
        return self._voices.may_mirror(message, thread_of(message))

    def _bound_to(self, target: str, thread_id: str) -> str | None:
        """A message without a thread is bound to nobody: the empty id is the hub's own."""
        known = self._topics.find(target, thread_id) if thread_id else None
        return known.agent if known is not None and known.state in BOUND else None

    def _needs_title(self, one: Admitted) -> bool:
        if one.target.kind == "sink" or not one.message.thread_id:
            return False
        return self._topics.find(one.target.name, one.message.thread_id) is None

    def _redacted(
        self,
        message: Message,
        target: Audience,
        counts: Counter[tuple[str, str]],
        *,
        first: bool,
    ) -> Admitted:
        ring = should_ring(
            direction=message.direction,
            text=message.text,
            outcome=message.outcome,
            first_contact=first,
            notify=self._notify,
            quiet=False,
            human_names=self._human_names,
        )
        redactors, secrets = self._voices.redactors(), tuple(self._secrets())
        try:
            text = redact_with(message.text, redactors, secrets)
            outcome = redact_with(message.outcome, redactors, secrets) if message.outcome else None
        except RedactionError as error:
            counts[target.name, "blocked-by-redactor"] += 1
            return Admitted(
                message=message, target=target, body="", ring=ring, blocked_by=error.redactor
            )
        for redacted in (text, outcome):
            for kind, number in redacted.counts.items() if redacted is not None else ():
                counts[target.name, f"redacted {kind}"] += number
        return Admitted(
            message=message,
            target=target,
            body=clean_body(text.text),
            ring=ring,
            outcome=None if outcome is None else outcome.text,
        )

    def _row(self, one: Admitted, lane: str, key: bytes, *, history: bool) -> Row:
        message = one.message
        row = Row(
            target=one.target.name,
            lane=lane,
            key=key,
            thread_id=message.thread_id,
            direction=message.direction,
            fingerprint=message.counterparty,
            peer_name=clean_name(message.counterparty_name, 64),
            message_id=clean_name(message.id, 128),
            verified=message.verified,
            outcome=None if one.outcome is None else clean_name(one.outcome, 300),
            at_ms=message.timestamp_ms,
            body=_bounded(one.body),
            history=history,
            ring=one.ring and not history,
            queued_at_ms=self._clock.now_ms(),
        )
        if one.blocked_by:
            words = f"⚠ one message is not shown here: the redactor {one.blocked_by} failed"
            return replace(row, kind="placeholder", body=clean_body(words))
        return row


def thread_of(message: Message) -> Thread:
    """What is known of a thread from one of its messages."""
    return Thread(
        thread_id=message.thread_id,
        counterparty=message.counterparty,
        counterparty_name=message.counterparty_name,
        subject=message.text[:200],
    )


def message_of_row(row: Row) -> Message:
    """The message of a row as it may be shown: with its redacted text."""
    return Message(
        direction=row.direction,
        id=row.message_id,
        thread_id=row.thread_id,
        counterparty=row.fingerprint,
        counterparty_name=row.peer_name,
        text=row.body,
        timestamp="",
        timestamp_ms=row.at_ms,
        sender=row.fingerprint if row.direction == "in" else "",
        outcome=row.outcome,
        verified=row.verified,
    )


def _bounded(body: str) -> str:
    data = body.encode("utf-8", "replace")
    if len(data) <= MAX_BODY_BYTES:
        return body
    return data[:MAX_BODY_BYTES].decode("utf-8", "ignore") + "… (cut: longer than the bridge keeps)"
