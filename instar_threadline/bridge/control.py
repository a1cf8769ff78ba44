"""What a person may do with the bridge: retry, drop, mute, resume, test, backfill.

Promises that each of these works on the one outbox of the process that sends, under its lease,
and says how much it did. The routes and the commands are two doors to the same actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from instar_host.errors import InstarError, UsageError
from instar_threadline.bridge import backfill, mutes
from instar_threadline.bridge.assembly import CHAT_TARGET, SEND_TICK, Bridge
from instar_threadline.bridge.backfill import Known, Ledger, Plan, ThreadPlan
from instar_threadline.bridge.bindings import FILE as BINDINGS_FILE
from instar_threadline.bridge.feed import LogFeed, MessageFeed
from instar_threadline.bridge.intake import Admission, Admitted, Intake
from instar_threadline.bridge.redact import redact
from instar_threadline.bridge.render import Layout
from instar_threadline.bridge.rows import Row, key_of
from instar_threadline.bridge.schema import HUB_LANE
from instar_threadline.bridge.target import GROUP_PACE
from instar_threadline.bridge.topics import HUB_THREAD, Binding
from instar_threadline.messages import Message
from instar_threadline.record.lines import instant_ms

BATCH = 200
"""Messages that are queued in one transaction."""
MAX_SHOWN_THREADS = 100


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
        plan = self._plan(request, ledger)
        queued = 0
        if not request.dry_run:
            require_no_damage(self._bridge)
            self._adopt(ledger)
            for thread in plan.threads:
                queued += self._queue(thread)
            self._wake()
        return _shown(plan, queued, dry_run=request.dry_run)

    def _plan(self, request: BackfillRequest, ledger: Ledger) -> Plan:
        parts = self._bridge.open()
        since_ms = None
        if request.since:
            since_ms = instant_ms(request.since)
            if since_ms is None:
                raise UsageError(
                    "since has to be an ISO 8601 instant, such as 2026-05-01T00:00:00Z"
                )
        seeded = backfill.seed_messages(request.seed, "seed") if request.seed is not None else []
        wanted = frozenset(request.threads)
        feed = LogFeed(self._bridge.host.state_dir, self._bridge.keyring)
        logged = [m for m in _everything(feed) if not wanted or m.thread_id in wanted]
        return backfill.make_plan(
            backfill.merge(logged, seeded),
            known=Known(
                has_message=lambda key: parts.outbox.is_known(CHAT_TARGET, key),
                has_topic=lambda thread: _is_bound(parts.topics.find(CHAT_TARGET, thread)),
            ),
            ledger=ledger,
            layout=Layout(now_ms=self._bridge.host.clock.now_ms(), zone=self._bridge.zone),
            local_name=self._bridge.agent(),
            only=tuple(dict.fromkeys(request.threads)),
            since_ms=since_ms,
            create=request.create,
        )

    def _adopt(self, ledger: Ledger) -> None:
        """Topics that only the original's ledger knows become bindings."""
        parts = self._bridge.open()
        now_ms = self._bridge.host.clock.now_ms()
        for thread_id, (topic_id, name) in ledger.topics.items():
            parts.topics.adopt(
                Binding(
                    target=CHAT_TARGET,
                    thread_id=thread_id,
                    state="open",
                    name=name,
                    agent="",
                    created_at_ms=now_ms,
                    last_message_at_ms=now_ms,
                    topic_id=topic_id,
                )
            )

    def _queue(self, plan: ThreadPlan) -> int:
        """Queue one thread's history: posted ones are noted, the banner comes first, once."""
        parts = self._bridge.open()
        rules = parts.intake.rules()
        parts.intake.note_posted(plan.posted, CHAT_TARGET)
        queued = 0
        opening: Admitted | None = None
        for start in range(0, len(plan.messages), BATCH):
            batch = plan.messages[start : start + BATCH]
            admission = parts.intake.admit(batch, rules, asked_for=True)
            banner = opening is None
            opening = opening or _opening(plan, admission, parts.intake)
            with parts.outbox.transaction():
                if banner and opening is not None:
                    lane = parts.intake.place(opening, asked_for=True)
                    parts.outbox.add([self._banner(plan, lane)])
                queued += parts.intake.enqueue(admission, history=True)
        return queued

    def _banner(self, plan: ThreadPlan, lane: str) -> Row:
        key = backfill.banner_key(plan.thread_id)
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


def _shown(plan: Plan, queued: int, *, dry_run: bool) -> BackfillAnswer:
    return BackfillAnswer(
        messages=plan.messages,
        operations=plan.operations,
        seconds=plan.seconds(GROUP_PACE),
        topics=sum(thread.opens_topic for thread in plan.threads),
        threads=tuple(
            ThreadShown(
                thread_id=thread.thread_id,
                agent=thread.agent,
                agent_name=thread.agent_name,
                messages=len(thread.messages),
                known=thread.known,
                opens_topic=thread.opens_topic,
                operations=thread.operations,
            )
            for thread in plan.threads[:MAX_SHOWN_THREADS]
        ),
        missing=plan.missing,
        skipped_unbound=plan.skipped_unbound,
        queued=queued,
        dry_run=dry_run,
    )
