"""What an attempt has changed: rows delivered, topics made, waits begun, poison found, doubts
kept.

Promises that the end of every attempt is one transaction, and that each of the typed errors has
exactly one consequence, the one its meaning allows. Never calls the chat but to tell it its new
id.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from instar_threadline.bridge import flight as flights
from instar_threadline.bridge import target as targets
from instar_threadline.bridge.flight import Flight
from instar_threadline.bridge.port import (
    Ambiguous,
    AuthFailed,
    ChatError,
    Migrated,
    Rejected,
    RetryAfter,
    Sent,
    TargetUnavailable,
    Topic,
    TopicClosed,
    TopicGone,
    TopicsImpossible,
)
from instar_threadline.bridge.render import Part, Piece, marked_as_repeat
from instar_threadline.bridge.rows import Row
from instar_threadline.bridge.schema import GENERAL_LANE, HUB_LANE
from instar_threadline.bridge.target import TargetState
from instar_threadline.bridge.topics import HUB_THREAD, ORPHANED
from instar_threadline.bridge.watch import ChatDuty

MAX_UNCLEAR = 3
"""Topics that may be tried for one thread without a clear answer: each may lie around unused."""
PROBES = 3
"""Ids above the last known one that are asked about."""


class Probed(Struct, frozen=True):
    """The answer to "is this id the topic we may have made?"."""

    there: bool


Done = Sent | Topic | Probed | None


class Aftermath(ChatDuty):
    """Writes down how attempts ended. One thread at a time."""

    def succeeded(self, flight: Flight, done: Done) -> None:
        """The chat said yes."""
        with self._outbox.transaction() as db:
            state = targets.load(db, self._name)
            state.succeeded(self._clock.now_ms())
            rows: list[Row] = []
            if isinstance(done, Sent):
                rows = self._arrived(state, flight, done)
            elif isinstance(done, Topic):
                self._made(state, flight, done)
            elif isinstance(done, Probed) and done.there:
                topic_id = flight.high_before + flight.probed + 1
                self._made(state, flight, Topic(id=topic_id, name=flight.name))
            elif isinstance(done, Probed):
                again = replace(flight, probed=flight.probed + 1)
                flights.save(db, self._name, again, sending=False)
            else:
                self._corrected(flight)
            targets.save(db, state)
        if rows:
            self._watch.settled(rows, "delivered", flight.topic_id, "")

    def _arrived(self, state: TargetState, flight: Flight, sent: Sent) -> list[Row]:
        """A piece arrived; the rows when it was the last one."""
        db = self._outbox.connection
        piece = flight.pieces[flight.step]
        traced = sent.message_id > 0 and "message-ids" in self._can
        gap = traced and sent.message_id != flight.high_before + 1
        repeated = flight.doubtful and (gap or not traced)
        if repeated:
            self._outbox.count(self._name, "repeats-marked")
        elif flight.doubtful and "edit" in self._can:
            self._correct(sent.message_id, piece)
        self._look_for_late_copy(state, flight, sent, piece, gap=gap)
        state.saw(sent.message_id)
        if flight.topic_id is not None and sent.topic_id is None and "topics" in self._can:
            error = TopicsImpossible("the chat is no longer a forum: messages lose their topic")
            state.pause(self._clock.now_ms(), error, self._random)
        if flight.step + 1 < len(flight.pieces):
            onward = replace(flight, step=flight.step + 1, doubtful=False)
            flights.save(db, self._name, onward, sending=False)
            return []
        rows = self._outbox.rows(self._name, flight.seqs)
        result = "repeat" if repeated or any(row.maybe for row in rows) else "sent"
        self._outbox.settle(rows, result, message_id=sent.message_id, topic_id=flight.topic_id)
        self._outbox.served(self._name, flight.lane)
        flights.end(db, self._name)
        return rows

    def _look_for_late_copy(
        self, state: TargetState, flight: Flight, sent: Sent, piece: Piece, *, gap: bool
    ) -> None:
        """An attempt that seemed lost may land after its repetition: then an id is missing
        later.
        """
        now_ms = self._clock.now_ms()
        if gap and state.suspect_message_id and now_ms <= state.suspect_until_ms:
            part = msgspec.json.decode(state.suspect_piece, type=Part)
            self._correct(state.suspect_message_id, marked_as_repeat(part))
            self._outbox.count(self._name, "repeats-marked")
            state.suspect_message_id = 0
        if flight.doubtful and not gap and isinstance(piece, Part):
            state.suspect_message_id = sent.message_id
            state.suspect_until_ms = now_ms + targets.SUSPECT_MS
            state.suspect_piece = msgspec.json.encode(piece)

    def _correct(self, message_id: int, piece: Piece) -> None:
        """Let a message say this instead: with a mark, or without one."""
        if isinstance(piece, Part):
            self._outbox.connection.execute(
                "INSERT INTO correction VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET piece = excluded.piece",
                (self._name, message_id, msgspec.json.encode(piece)),
            )

    def _made(self, state: TargetState, flight: Flight, topic: Topic) -> None:
        """The topic is there: remember it, or forget that one may be lying around."""
        if flight.doubtful and topic.id > flight.high_before + 1 + flight.probed:
            self._outbox.count(self._name, ORPHANED)
        self._topics.opened(self._name, flight.thread_id, topic.id, topic.name)
        self._outbox.count(self._name, "topics-opened")
        state.saw(topic.id)
        state.topics_blocked, state.topics_blocked_until_ms = "", 0
        flights.end(self._outbox.connection, self._name)

    def _corrected(self, flight: Flight) -> None:
        db = self._outbox.connection
        if flight.kind == "correct":
            db.execute(
                "DELETE FROM correction WHERE target = ? AND message_id = ?",
                (self._name, flight.message_id),
            )
        flights.end(db, self._name)

    def failed(self, flight: Flight, error: ChatError) -> None:
        """The chat said no, or nobody knows what it said."""
        parked: list[Row] = []
        with self._outbox.transaction() as db:
            state = targets.load(db, self._name)
            now_ms = self._clock.now_ms()
            if isinstance(error, Ambiguous):
                self._unclear(state, flight, error)
            else:
                self._wait(state, now_ms, error)
                parked = self._refused(state, flight, error)
            targets.save(db, state)
        if parked:
            self._watch.settled(parked, "dead", flight.topic_id, str(error))

    def _unclear(self, state: TargetState, flight: Flight, error: Ambiguous) -> None:
        """Nobody knows: it is tried again before anything else, a topic only a few times."""
        now_ms = self._clock.now_ms()
        state.failed(now_ms, error, self._random)
        if flight.kind == "create":
            settled_at = now_ms + self._options.settle_ms
            state.blocked_until_ms = max(state.blocked_until_ms, settled_at)
            if not should_probe(flight, self._can):
                flight = replace(flight, probed=0, unclear=flight.unclear + 1)
            if flight.unclear >= MAX_UNCLEAR:
                state.no_topics(now_ms, error)
                self._without_topic(flight)
                return
        resting = replace(flight, doubtful=True)
        flights.save(self._outbox.connection, self._name, resting, sending=False)

    def _wait(self, state: TargetState, now_ms: int, error: ChatError) -> None:
        """How long the whole chat rests after a refusal."""
        if isinstance(error, RetryAfter):
            state.told_to_wait(now_ms, error, self._random)
        elif isinstance(error, TargetUnavailable | AuthFailed):
            state.pause(now_ms, error, self._random)
        elif isinstance(error, TopicsImpossible):
            state.no_topics(now_ms, error)
        elif isinstance(error, Migrated | TopicGone | TopicClosed | Rejected):
            state.note(now_ms, error)
        else:
            state.failed(now_ms, error, self._random)

    def _refused(self, state: TargetState, flight: Flight, error: ChatError) -> list[Row]:
        """What becomes of the flight after a refusal; rows that were parked."""
        final = isinstance(error, TopicGone | TopicClosed | TopicsImpossible | Rejected)
        if flight.kind == "correct" and final:
            self._corrected(flight)  # the message stays as it is
        elif isinstance(error, Migrated):
            self._move_to(state, flight, error.chat_id)
        elif isinstance(error, TopicGone):
            self._topic_gone(flight)
        elif isinstance(error, TopicClosed):
            self._topic_closed(state, flight)
        elif isinstance(error, TopicsImpossible) or (
            isinstance(error, Rejected) and flight.kind in ("create", "reopen")
        ):
            self._without_topic(flight)
        elif isinstance(error, Rejected):
            return self._rejected(flight, error)
        else:
            self._rest(flight)
        return []

    def _rest(self, flight: Flight) -> None:
        """Certainly not sent. What was not begun goes back, so that something newer may
        overtake.
        """
        db = self._outbox.connection
        if flight.doubtful or flight.step:
            flights.save(db, self._name, flight, sending=False)
        else:
            flights.end(db, self._name)

    def _take_back(self, flight: Flight) -> None:
        """Its rows will go elsewhere, or in other pieces; what may have arrived of them says
        so.
        """
        if flight.doubtful or flight.step:
            for row in self._outbox.rows(self._name, flight.seqs):
                self._outbox.change(replace(row, maybe=True))
        flights.end(self._outbox.connection, self._name)

    def _move_to(self, state: TargetState, flight: Flight, chat_id: int) -> None:
        state.left_chat(chat_id)
        self._outbox.forget_ids(self._name)
        self._topics.forget_chat(self._name)
        self._take_back(flight)
        self._port.move_to(chat_id)

    def _topic_gone(self, flight: Flight) -> None:
        if flight.lane == HUB_LANE:
            self._topics.renew_hub(self._name)
        else:
            self._topics.lost(self._name, flight.thread_id)
        self._take_back(flight)

    def _topic_closed(self, state: TargetState, flight: Flight) -> None:
        db = self._outbox.connection
        if flight.kind == "send" and flight.topic_id is None:
            self._general_closed(state, flight)
            return
        if flight.kind != "send" or flight.doubtful or flight.step:
            self._without_topic(flight)
            return
        reopen = Flight(
            kind="reopen", lane=flight.lane, thread_id=flight.thread_id, topic_id=flight.topic_id
        )
        flights.save(db, self._name, reopen, sending=False)

    def _general_closed(self, state: TargetState, flight: Flight) -> None:
        """Only an administrator may write there: a person has to act, unless it is only our
        greeting, which can be done without.
        """
        if flight.lane == GENERAL_LANE:
            rows = self._outbox.rows(self._name, flight.seqs)
            self._outbox.settle(rows, "skipped:general topic closed")
            flights.end(self._outbox.connection, self._name)
            return
        error = TargetUnavailable("the general topic is closed and the bot may not write into it")
        state.pause(self._clock.now_ms(), error, self._random)
        self._rest(flight)

    def _without_topic(self, flight: Flight) -> None:
        """No topic to be had for this lane: the hub, and for the hub the general topic."""
        why: Literal["closed", "impossible"] = "closed" if flight.kind == "reopen" else "impossible"
        if flight.lane == HUB_LANE or flight.thread_id == HUB_THREAD:
            self._topics.hub_without_topic(self._name, why)
        else:
            self._topics.to_hub(self._name, flight.thread_id, why)
        self._take_back(flight)

    def _rejected(self, flight: Flight, error: Rejected) -> list[Row]:
        """Find the poison: each alone, then plain, then parked."""
        self._take_back(flight)
        rows = self._outbox.rows(self._name, flight.seqs)
        if len(rows) > 1:
            for row in rows:
                self._outbox.change(replace(row, alone=True))
            return []
        if rows and not rows[0].plain and not flight.step:
            self._outbox.change(replace(rows[0], plain=True, alone=True))
            return []
        for row in rows:
            words = f"⚠ one message could not be shown here (Telegram says: {error})"
            self._outbox.park(row, str(error), words)
        return rows


def should_probe(flight: Flight, capabilities: frozenset[str]) -> bool:
    """True when a topic that we may have made has to be looked for before another is made."""
    known = "probe" in capabilities and flight.high_before > 0
    return known and flight.kind == "create" and flight.doubtful and flight.probed < PROBES
