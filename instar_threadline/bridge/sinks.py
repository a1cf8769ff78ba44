"""Other ways out than our own client: the host's Telegram, and plugins' sinks.

Promises that the host's bot is used as a chat with what it cannot do left out and named; and
that a sink of a plugin gets each message once per attempt, in order within a thread, with a key
that is the same after a restart. What a sink leaves in doubt is parked for a person, never
repeated by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from types import NoneType

import msgspec

from instar_host.clock import Clock
from instar_host.errors import PluginError
from instar_host.records import TelegramPort, TopicSent
from instar_threadline.bridge import flight as flights
from instar_threadline.bridge import target as targets
from instar_threadline.bridge.answers import classify
from instar_threadline.bridge.blame import Tell, told
from instar_threadline.bridge.flight import Flight
from instar_threadline.bridge.intake import message_of_row
from instar_threadline.bridge.outbox import Outbox
from instar_threadline.bridge.port import (
    Ambiguous,
    Rejected,
    RetryAfter,
    Sent,
    Topic,
    TopicsImpossible,
)
from instar_threadline.bridge.render import Document, Part
from instar_threadline.bridge.rows import Row
from instar_threadline.bridge.target import Pace
from instar_threadline.bridge.watch import Watch
from instar_threadline.bridge.worker import IDLE_S
from instar_threadline.messages import Thread
from instar_threadline.records import BridgeSink, Mirror, SinkResult

PORT = ("capabilities", "create_topic", "send")
"""What a host's way to Telegram has to have."""

SINK_PACE = Pace(per_window=6000, gap_ms=0, for_history=6000)
LOST_AT_A_HOST = {
    "verbatim": "the host may change the text (markup in it is interpreted)",
    "entities": "no bold header and no quotes: a peer's text is less clearly set apart",
    "failure-reasons": "failures are not explained: every one counts as unclear and is repeated",
    "message-ids": "repeats cannot be told from first copies: each retry is marked",
    "documents": "very long texts come in many parts instead of one file",
    "silent": "every message makes a sound",
}


class HostChat:
    """The host's own Telegram as a `ChatPort`."""

    def __init__(self, port: TelegramPort, tell: Tell) -> None:
        """`tell` hears what the port does wrong. Raises PluginError for one that cannot be used."""
        lacks = [name for name in PORT if not callable(getattr(port, name, None))]
        if lacks:
            tell(f"its Telegram port has no {lacks[0]}()")
            raise PluginError(f"the host's Telegram cannot be used: it has no {lacks[0]}()")
        capabilities = told("capabilities()", (AbstractSet,), tell, port.capabilities)
        try:
            self._can = frozenset(capabilities())
        except Exception as error:  # noqa: BLE001 - a host's port may raise anything
            words = f"the host's Telegram cannot be used: capabilities(): {type(error).__name__}"
            raise PluginError(words) from None
        self._create_topic = told("create_topic()", (int, NoneType), tell, port.create_topic)
        self._send = told("send()", (TopicSent,), tell, port.send)

    def capabilities(self) -> frozenset[str]:
        """Never message ids, entities or files: the host's port takes plain text."""
        return frozenset({"topics"} | (self._can & {"verbatim", "failure-reasons", "silent"}))

    def create_topic(self, name: str) -> Topic:
        made = self._create_topic(name)
        if not isinstance(made, int):
            raise TopicsImpossible("the host made no topic and does not say why")
        if not 0 < made < 1 << 53:
            raise TopicsImpossible(f"the host says that its topic is number {made}")
        return Topic(id=made, name=name)

    def send(self, topic_id: int | None, part: Part, *, silent: bool) -> Sent:
        answer = _sent(self._send(topic_id, part.text, silent=silent))
        if answer.ok:
            return Sent(message_id=0, topic_id=topic_id)
        if answer.retry_after_s is not None:
            raise RetryAfter(max(answer.retry_after_s, 1.0))
        if "failure-reasons" not in self._can or not answer.reason:
            raise Ambiguous("the host could not send it and does not say why")
        error = classify(400, answer.reason[:300])
        if isinstance(error, Rejected) and "bad request" not in answer.reason.lower():
            raise Ambiguous(answer.reason[:300])
        raise error

    def has_topic(self, topic_id: int, name: str) -> bool:  # noqa: ARG002 - the port cannot ask
        return False

    def reopen_topic(self, topic_id: int) -> None:  # noqa: ARG002 - the port cannot
        raise TopicsImpossible("the host cannot open a closed topic")

    def send_document(self, topic_id: int | None, document: Document, *, silent: bool) -> Sent:
        return self.send(topic_id, Part(text=document.caption), silent=silent)

    def edit(self, message_id: int, part: Part) -> None:  # noqa: ARG002 - the port cannot
        raise Rejected("the host cannot change a message")

    def move_to(self, chat_id: int) -> None:
        """The host knows its chat."""


def _sent(answer: object) -> TopicSent:
    """The answer of a host, which nobody has looked at. Raises Ambiguous for what is none."""
    try:
        return msgspec.convert(msgspec.structs.asdict(answer), TopicSent)  # type: ignore[arg-type]
    except (TypeError, msgspec.ValidationError):
        raise Ambiguous("the host answered something else than a result") from None


class SinkWorker:
    """Delivers what waits for one plugin's sink. One thread at a time."""

    def __init__(
        self,
        outbox: Outbox,
        sink: BridgeSink,
        watch: Watch,
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._sink = sink
        self._name = target_of(sink)
        self._watch = watch
        self._clock = clock
        self._random = random
        outbox.add_target(self._name)

    def step(self) -> float:
        """Deliver the next message, if one is due; seconds until the next call makes sense."""
        if not self._watch.may_send() or not self._watch.is_on():
            return IDLE_S
        with self._outbox.lock:
            state = targets.load_now(self._outbox.connection, self._name, self._clock.now_ms())
        wait_ms = state.wait_ms(self._clock.now_ms(), SINK_PACE)
        if wait_ms > 0:
            return wait_ms / 1000
        rows = self._outbox.pick(self._name, 1)
        if not rows:
            return IDLE_S
        row = rows[0]
        decision = self._watch.recheck(row)
        if not decision.post:
            self._outbox.settle([row], f"skipped:{decision.reason}")
            return 0.0
        flight = Flight(kind="send", lane=row.lane, seqs=(row.seq,))
        with self._outbox.transaction() as db:
            flights.save(db, self._name, flight, sending=True)
        self._ended(row, self._deliver(row))
        return 0.0

    def _deliver(self, row: Row) -> SinkResult:
        message = message_of_row(row)
        thread = Thread(
            thread_id=row.thread_id,
            counterparty=row.fingerprint,
            counterparty_name=row.peer_name,
        )
        mirror = Mirror(message=message, thread=thread, body=row.body, key=row.key.hex())
        try:
            result: object = self._sink.deliver(mirror)
        except Exception as error:  # noqa: BLE001 - a plugin's code; nobody knows what it has done
            return SinkResult(status="ambiguous", reason=f"it raised {type(error).__name__}")
        return _checked(result)

    def _ended(self, row: Row, result: SinkResult) -> None:
        now_ms = self._clock.now_ms()
        waits = result.status == "rejected" and result.retry_after_s is not None
        with self._outbox.transaction() as db:
            state = targets.load(db, self._name)
            flights.end(db, self._name)
            if result.status == "delivered":
                state.succeeded(now_ms)
                self._outbox.settle([row], "sent")
            elif waits and result.retry_after_s is not None:
                state.told_to_wait(now_ms, RetryAfter(result.retry_after_s), self._random)
            else:
                state.note(now_ms, RuntimeError(result.reason or result.status))
                self._outbox.bury(row, f"{result.status}: {result.reason[:200]}")
            self._outbox.served(self._name, row.lane)
            targets.save(db, state)
        if result.status == "delivered":
            self._watch.settled([row], "delivered", None, "")
        elif not waits:
            self._watch.settled([row], "dead", None, result.reason)


def _checked(answer: object) -> SinkResult:
    """The answer of a plugin, which nobody has looked at; what is none is a doubt."""
    try:
        result = msgspec.convert(msgspec.structs.asdict(answer), SinkResult)  # type: ignore[arg-type]
        if math.isfinite(result.retry_after_s or 0.0):
            return result
    except (TypeError, msgspec.ValidationError):
        pass
    return SinkResult(status="ambiguous", reason="it answered something else than a result")


def target_of(sink: BridgeSink) -> str:
    """The name of a sink's target in the queue."""
    return f"sink:{sink.name}"


def lost_at(capabilities: frozenset[str]) -> tuple[str, ...]:
    """What a way to Telegram cannot do, in sentences; empty while none is known."""
    if not capabilities:
        return ()
    return tuple(words for name, words in LOST_AT_A_HOST.items() if name not in capabilities)
