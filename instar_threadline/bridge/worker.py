"""The worker of one chat: one call under way, in order, at the allowed pace, whatever happens.

Promises that every row ends delivered, skipped by a decision, or parked with a placeholder;
that rows of a lane are sent in order; that an attempt whose end nobody knows is resolved before
anything else is sent, and its second copy, if there may be one, is marked. Every effect stands
in the database before it is tried and after it is known. Never holds the database while it
waits for Telegram, never sleeps by itself: `step` says when to call again.
"""

from __future__ import annotations

from msgspec.structs import replace

from instar_threadline.bridge import flight as flights
from instar_threadline.bridge import target as targets
from instar_threadline.bridge.aftermath import Aftermath, Done, Probed, should_probe
from instar_threadline.bridge.compose import Composer, marked
from instar_threadline.bridge.flight import Flight
from instar_threadline.bridge.port import Ambiguous, ChatError
from instar_threadline.bridge.render import Document, Part, Piece
from instar_threadline.bridge.target import TargetState
from instar_threadline.bridge.watch import Chat, ChatDuty

IDLE_S = 30.0


class ChatWorker(ChatDuty):
    """Sends what waits for one chat. One thread at a time."""

    def __init__(self, chat: Chat) -> None:
        """Takes up what an earlier process left."""
        super().__init__(chat)
        self._composer = Composer(chat)
        self._aftermath = Aftermath(chat)
        self._enter()

    def step(self) -> float:
        """Do the next operation, if one is due; seconds until the next call makes sense."""
        if not self._watch.may_send():
            return IDLE_S
        with self._outbox.lock:
            state = targets.load_now(self._outbox.connection, self._name, self._clock.now_ms())
            under_way = flights.load(self._outbox.connection, self._name)
        if under_way is not None and under_way[1]:
            self._doubt_the_unwritten()
            return 0.0
        wait_ms = state.wait_ms(self._clock.now_ms(), self._options.pace)
        if wait_ms > 0:
            return wait_ms / 1000
        if under_way is not None and not self._may_go_on(under_way[0]):
            return IDLE_S
        flight = under_way[0] if under_way is not None else self._composer.next(state)
        if flight is None:
            return self._idle_s(state)
        self._attempt(flight)
        with self._outbox.lock:
            state = targets.load(self._outbox.connection, self._name)
        return state.wait_ms(self._clock.now_ms(), self._options.pace) / 1000

    def resume(self) -> None:
        """Forget a pause: a person says that it is mended. A pause of Telegram's own stays."""
        with self._outbox.transaction() as db:
            state = targets.load(db, self._name)
            state.paused, state.paused_until_ms = "", 0
            state.topics_blocked, state.topics_blocked_until_ms = "", 0
            targets.save(db, state)

    def _may_go_on(self, flight: Flight) -> bool:
        """While the bridge is off only what was asked for goes on: history, and corrections."""
        if self._watch.is_on() or flight.kind == "correct":
            return True
        rows = self._outbox.rows(self._name, flight.seqs)
        rows = rows or self._outbox.head(self._name, flight.lane, 1)
        return all(row.history for row in rows)

    def _idle_s(self, state: TargetState) -> float:
        """Nothing is due; a backfill may only wait for its next place."""
        wait_ms = state.history_wait_ms(self._clock.now_ms(), self._options.pace)
        waits = wait_ms > 0 and self._outbox.waiting(self._name)[0] > 0
        return min(wait_ms / 1000, IDLE_S) if waits else IDLE_S

    def _enter(self) -> None:
        """Take up what an earlier process left, and notice another chat."""
        self._outbox.add_target(self._name)
        with self._outbox.transaction() as db:
            state = targets.load(db, self._name)
            if state.configured_chat_id != self._options.chat_id:
                if state.configured_chat_id:
                    self._topics.forget_chat(self._name)
                    self._outbox.forget_ids(self._name)
                    flights.end(db, self._name)  # its topic is one of the old chat
                    state.blocked_until_ms = 0
                state.configured_chat_id = self._options.chat_id
                state.left_chat(self._options.chat_id)
            state.paused, state.paused_until_ms = "", 0
            targets.save(db, state)
            self._doubt_the_unwritten()
        if state.chat_id != self._options.chat_id:
            self._port.move_to(state.chat_id)

    def _doubt_the_unwritten(self) -> None:
        """An attempt that was begun and whose end was not written down, because the process ended
        or the disk was full: nobody knows its end.
        """
        with self._outbox.transaction() as db:
            left = flights.load(db, self._name)
            if left is None or not left[1]:
                return
            unclear = left[0].unclear + (left[0].kind == "create")
            doubtful = replace(left[0], doubtful=True, unclear=unclear)
            flights.save(db, self._name, doubtful, sending=False)
            if left[0].kind == "create":
                state = targets.load(db, self._name)
                settle_until = self._clock.now_ms() + self._options.settle_ms
                state.blocked_until_ms = max(state.blocked_until_ms, settle_until)
                targets.save(db, state)

    def _attempt(self, flight: Flight) -> None:
        """Write down what is about to happen, let it happen, write down what did."""
        with self._outbox.transaction() as db:
            state = targets.load(db, self._name)  # anew: a person may have resumed meanwhile
            if not flight.doubtful:
                flight = replace(flight, high_before=state.high_message_id)
            state.begins(self._clock.now_ms())
            targets.save(db, state)
            flights.save(db, self._name, flight, sending=True)
        try:
            done = self._call(flight)
        except ChatError as error:
            self._aftermath.failed(flight, error)
        except Exception as error:  # noqa: BLE001 - a host's port: nobody knows what happened
            self._aftermath.failed(flight, Ambiguous(f"the sink failed ({type(error).__name__})"))
        else:
            self._aftermath.succeeded(flight, done)

    def _call(self, flight: Flight) -> Done:
        port = self._port
        if flight.kind == "correct":
            part = flight.pieces[0]
            assert isinstance(part, Part)
            port.edit(flight.message_id, part)
            return None
        if flight.kind == "reopen":
            assert flight.topic_id is not None
            port.reopen_topic(flight.topic_id)
            return None
        if flight.kind == "create":
            if should_probe(flight, self._can):
                candidate = flight.high_before + flight.probed + 1
                return Probed(port.has_topic(candidate, flight.name))
            return port.create_topic(flight.name)
        piece = self._piece(flight)
        if isinstance(piece, Document):
            return port.send_document(flight.topic_id, piece, silent=flight.silent)
        return port.send(flight.topic_id, piece, silent=flight.silent)

    def _piece(self, flight: Flight) -> Piece:
        """The piece to send. A second attempt says so from the start, because its own end may stay
        unknown too; when the ids prove that it is the only copy, the mark is taken away again.
        """
        piece = flight.pieces[flight.step]
        return marked(piece) if flight.doubtful else piece
