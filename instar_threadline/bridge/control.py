"""What a person may do with the bridge: retry, drop, mute, resume, test, backfill.

Promises that each of these works on the one outbox of the process that sends, under its lease,
and says how much it did. The routes and the commands are two doors to the same actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from instar_host.errors import InstarError, UsageError
from instar_threadline.bridge import backfill, mutes
from instar_threadline.bridge.assembly import CHAT_TARGET, SEND_TICK, Bridge
from instar_threadline.bridge.backfill import Ledger
from instar_threadline.bridge.bindings import FILE as BINDINGS_FILE
from instar_threadline.bridge.feed import LogFeed, LogLines, MessageFeed
from instar_threadline.bridge.history import History, State
from instar_threadline.bridge.intake import Admission, Admitted, Intake
from instar_threadline.bridge.planning import Plan, Planner, ThreadPlan, banner_key
from instar_threadline.bridge.redact import redact
from instar_threadline.bridge.render import Layout
from instar_threadline.bridge.rows import Row, identity_key, key_of
from instar_threadline.bridge.schema import HUB_LANE
from instar_threadline.bridge.target import GROUP_PACE
from instar_threadline.bridge.topics import HUB_THREAD, Binding
from instar_threadline.messages import Message
from instar_threadline.record.lines import instant_ms

BATCH = 200
"""Messages that are queued in one transaction."""


class BackfillRequest(
    Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What a backfill is asked for."""

    threads: tuple[str, ...] = ()
    """Empty means every thread."""
    seed: list[Any] | None = None
    """Rows of a seed file."""
    dry_run: bool = False
    create: bool = True
    """False leaves out threads that have no topic yet."""
    since: str = ""
    """ISO 8601; earlier messages are left out."""


class ThreadShown(Struct, frozen=True, kw_only=True, rename="camel"):
    """One thread of a plan, as people see it."""

    thread_id: str
    agent: str
    agent_name: str
    messages: int
    known: int
    opens_topic: bool
    operations: int


class BackfillAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """A plan, and what was queued of it."""

    messages: int
    operations: int
    seconds: float
    """At the pace that a backfill is allowed, if nothing else is sent."""
    topics: int
    threads: tuple[ThreadShown, ...]
    missing: tuple[str, ...] = ()
    skipped_unbound: int = 0
    queued: int = 0
    left: int = 0
    """New ones that found no room in the queue: they are queued when this is asked for again."""
    dry_run: bool = False


class Control:
    """The actions over one bridge. Callable from any thread of the process that sends."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def retry(self, ids: Sequence[int] | None) -> int:
        """Queue dead letters again; None means all. How many there were."""
        done = self._bridge.open().outbox.retry_dead(ids)
        self._wake()
        return done

    def drop(self, ids: Sequence[int] | None) -> int:
        """Forget dead letters; None means all. How many there were."""
        return self._bridge.open().outbox.drop_dead(ids)

    def drop_waiting(self, *, history_only: bool) -> int:
        """Give up what waits for the chat. How many there were."""
        outbox = self._bridge.open().outbox
        return outbox.drop_waiting(CHAT_TARGET, history_only=history_only)

    def mute(self, kind: mutes.MuteKind, name: str, *, muted: bool) -> None:
        """Mute a thread or an agent, or no longer."""
        if not name:
            raise UsageError("name must not be empty")
        outbox = self._bridge.open().outbox
        (mutes.mute if muted else mutes.unmute)(outbox, kind, name)

    def resume(self) -> None:
        """Look again at once at what paused the chat. A pause that Telegram asked for stays."""
        chat = self._bridge.chat()
        if chat is not None:
            chat.resume()
        self._wake()

    def send_test(self) -> bytes:
        """Queue a test message unless one waits; its key, to ask what became of it."""
        parts = self._bridge.open()
        now_ms = self._bridge.host.clock.now_ms()
        agent = self._bridge.agent()
        words = f"This is a test of {agent}'s threadline bridge. It works: you are reading it."
        with parts.outbox.transaction():
            parts.topics.hub(CHAT_TARGET)
            waiting = parts.outbox.head(CHAT_TARGET, HUB_LANE, BATCH)
            key = next((row.key for row in waiting if row.body == words), key_of("test", now_ms))
            parts.outbox.add([_note(key, HUB_LANE, HUB_THREAD, words, now_ms)])
        self._wake()
        return key

    def has_arrived(self, key: bytes) -> bool:
        """True when the message with this key was delivered."""
        outbox = self._bridge.open().outbox
        with outbox.lock:
            found = outbox.connection.execute(
                "SELECT result FROM delivered WHERE target = ? AND key = ?", (CHAT_TARGET, key)
            ).get
        return found in ("sent", "repeat")

    def fill(self, request: BackfillRequest) -> BackfillAnswer:
        """Plan, and unless it is a dry run queue, the history of threads. Raises InstarError."""
        ledger = backfill.read_ledger(self._bridge.host.state_dir / backfill.LEDGER_FILE)
        with LogLines(self._bridge.host.state_dir) as lines, History(lines.at) as history:
            self._collect(history, request, ledger)
            planner = self._planner(request, ledger)
            plan = planner.plan(history, tuple(dict.fromkeys(request.threads)))
            if request.dry_run:
                return _shown(plan, 0, 0, dry_run=True)
            require_no_damage(self._bridge)
            self._adopt(ledger, planner.agents(history))
            queued = left = 0
            for thread in planner.threads(history):
                done = self._queue(history, thread)
                queued, left = queued + done[0], left + done[1]
        self._wake()
        return _shown(plan, queued, left, dry_run=False)

    def _collect(self, history: History, request: BackfillRequest, ledger: Ledger) -> None:
        """Note every message of the threads that are wanted, and whether it is new."""
        since_ms = None
        if request.since:
            since_ms = instant_ms(request.since)
            if since_ms is None:
                raise UsageError(
                    "since has to be an ISO 8601 instant, such as 2026-05-01T00:00:00Z"
                )
        seed = backfill.seed_messages(request.seed, "seed") if request.seed is not None else []
        seeded = backfill.Seeded(seed)
        wanted = frozenset(request.threads)
        outbox = self._bridge.open().outbox

        def add(message: Message) -> None:
            if wanted and message.thread_id not in wanted:
                return
            state: State = "new"
            if outbox.is_known(CHAT_TARGET, identity_key(message.identity)):
                state = "known"
            elif backfill.ledger_key(message) in ledger.posted.get(message.thread_id, ()):
                state = "posted"
            elif since_ms is not None and (message.timestamp_ms or 0) < since_ms:
                state = "known"
            history.add(message, state)

        for message in _everything(LogFeed(self._bridge.host.state_dir, self._bridge.keyring)):
            seeded.seen(message)
            add(message)
        for message in seeded.left():
            add(message)

    def _planner(self, request: BackfillRequest, ledger: Ledger) -> Planner:
        topics = self._bridge.open().topics
        return Planner(
            has_topic=lambda thread: _is_bound(topics.find(CHAT_TARGET, thread)),
            ledger=ledger,
            layout=Layout(now_ms=self._bridge.host.clock.now_ms(), zone=self._bridge.zone),
            local_name=self._bridge.agent(),
            create=request.create,
        )

    def _adopt(self, ledger: Ledger, agents: Mapping[str, str]) -> None:
        """Topics that only the original's ledger knows become bindings, of whom the log names."""
        parts = self._bridge.open()
        now_ms = self._bridge.host.clock.now_ms()
        for thread_id, (topic_id, name) in ledger.topics.items():
            parts.topics.adopt(
                Binding(
                    target=CHAT_TARGET,
                    thread_id=thread_id,
                    state="open",
                    name=name,
                    agent=agents.get(thread_id, ""),
                    created_at_ms=now_ms,
                    last_message_at_ms=now_ms,
                    topic_id=topic_id,
                )
            )

    def _queue(self, history: History, plan: ThreadPlan) -> tuple[int, int]:
        """Queue one thread's history: posted ones are noted, the banner comes first, once. How
        many messages were queued, and how many are left for another time: a full queue lets go of
        its oldest, and these are none to let go of.
        """
        parts = self._bridge.open()
        rules = parts.intake.rules()
        for posted in _in_batches(history.messages(plan.history, "posted"), BATCH):
            parts.intake.note_posted(posted, CHAT_TARGET)
        queued = seen = 0
        opening: Admitted | None = None
        size = min(BATCH, max(parts.outbox.limits.rows // 4, 1))
        for batch in _in_batches(history.messages(plan.history, "new"), size):
            if not parts.outbox.has_room(CHAT_TARGET, len(batch)):
                return queued, plan.history.new - seen
            seen += len(batch)
            admission = parts.intake.admit(batch, rules, asked_for=True)
            banner = opening is None
            opening = opening or _opening(plan, admission, parts.intake)
            with parts.outbox.transaction():
                if banner and opening is not None:
                    lane = parts.intake.place(opening, asked_for=True)
                    parts.outbox.add([self._banner(plan, lane)])
                queued += parts.intake.enqueue(admission, history=True)[CHAT_TARGET]
        return queued, 0

    def _banner(self, plan: ThreadPlan, lane: str) -> Row:
        key = banner_key(plan.thread_id)
        words = redact(plan.banner_text).text
        row = _note(key, lane, plan.thread_id, words, self._bridge.host.clock.now_ms())
        return replace(row, fingerprint=plan.agent)

    def _wake(self) -> None:
        self._bridge.host.wake(SEND_TICK)


def _opening(plan: ThreadPlan, admission: Admission, intake: Intake) -> Admitted | None:
    """The first message that the chat gets of a thread, named after whom the thread is with."""
    for one in admission.messages:
        if one.target.name == CHAT_TARGET:
            peer = {"counterparty": plan.agent, "counterparty_name": plan.agent_name}
            opening = replace(one, message=replace(one.message, **peer))
            return replace(opening, title=intake.title(opening))
    return None


def require_no_damage(bridge: Bridge) -> None:
    """Raises InstarError when topics that exist may be unknown: then a backfill would double
    them.
    """
    if bridge.damage:
        raise InstarError(f"{bridge.damage} ({BINDINGS_FILE}); a backfill could open topics twice")


def _everything(feed: MessageFeed) -> Iterator[Message]:
    mark: bytes | None = None
    while True:
        batch = feed.read(mark)
        yield from batch.messages
        if not batch.more and batch.mark == mark:
            return
        mark = batch.mark


def _in_batches(messages: Iterator[Message], size: int) -> Iterator[list[Message]]:
    while batch := list(islice(messages, size)):
        yield batch


def _is_bound(binding: Binding | None) -> bool:
    return binding is not None and binding.state in ("open", "reserved", "hub")


def _note(key: bytes, lane: str, thread_id: str, words: str, now_ms: int) -> Row:
    """A message of our own; it is asked for, so it is sent while the bridge is off, too."""
    return Row(
        target=CHAT_TARGET,
        lane=lane,
        key=key,
        kind="banner",
        history=True,
        thread_id=thread_id,
        direction="out",
        fingerprint="",
        body=words,
        queued_at_ms=now_ms,
    )


def _shown(plan: Plan, queued: int, left: int, *, dry_run: bool) -> BackfillAnswer:
    return BackfillAnswer(
        messages=plan.messages,
        operations=plan.operations,
        seconds=plan.seconds(GROUP_PACE),
        topics=plan.topics,
        threads=tuple(
            ThreadShown(
                thread_id=thread.thread_id,
                agent=thread.agent,
                agent_name=thread.agent_name,
                messages=thread.history.new,
                known=thread.known,
                opens_topic=thread.opens_topic,
                operations=thread.operations,
            )
            for thread in plan.threads
        ),
        missing=plan.missing,
        skipped_unbound=plan.skipped_unbound,
        queued=queued,
        left=left,
        dry_run=dry_run,
    )
