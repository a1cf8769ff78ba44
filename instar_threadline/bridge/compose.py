"""What a chat's worker does next: correct, make a topic, or send the neighbours whose turn it
is.

Promises that policy is asked again here, at the last moment, and that what is chosen is
rendered once, so that every attempt of it sends the same words. Never calls the chat.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from instar_threadline.bridge.flight import Flight
from instar_threadline.bridge.greeting import greeting, is_due
from instar_threadline.bridge.hygiene import clean_name
from instar_threadline.bridge.outbox import Which
from instar_threadline.bridge.render import (
    REPEAT_MARK,
    Document,
    Entry,
    Layout,
    Part,
    Piece,
    fitting,
    marked_as_repeat,
    render,
)
from instar_threadline.bridge.rows import Row
from instar_threadline.bridge.schema import GENERAL_LANE, HUB_LANE
from instar_threadline.bridge.target import TargetState
from instar_threadline.bridge.topics import HUB_THREAD, Binding
from instar_threadline.bridge.watch import Chat, ChatDuty

MERGE_ROWS = 60
"""Neighbours that are looked at for one message."""


class Composer(ChatDuty):
    """Chooses and renders. One thread at a time."""

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat)
        self._entities = "entities" in self._can

    def next(self, state: TargetState) -> Flight | None:
        """What to do next when nothing is under way."""
        with self._outbox.lock:
            correction = self._outbox.connection.execute(
                "SELECT message_id, piece FROM correction WHERE target = ? LIMIT 1", (self._name,)
            ).fetchall()
        if correction:
            message_id, piece = msgspec.convert(correction[0], tuple[int, bytes])
            part = msgspec.json.decode(piece, type=Part)
            return Flight(kind="correct", message_id=message_id, pieces=(part,))
        while rows := self._outbox.pick(self._name, MERGE_ROWS, self._which(state)):
            allowed = self._allowed(rows)
            if allowed:
                flight = self._prepare(state, allowed)
                if flight is not None:
                    return flight
        return None

    def _which(self, state: TargetState) -> Which:
        if not self._watch.is_on():
            return "history"
        wait_ms = state.history_wait_ms(self._clock.now_ms(), self._options.pace)
        return "live" if wait_ms else "all"

    def _allowed(self, rows: list[Row]) -> list[Row]:
        """The first rows that policy still admits; those that it no longer does are accounted
        for.
        """
        allowed: list[Row] = []
        for row in rows:
            decision = self._watch.recheck(row)
            if decision.post:
                allowed.append(row)
            elif allowed:
                break
            else:
                self._outbox.settle([row], f"skipped:{decision.reason}")
        return allowed

    def _prepare(self, state: TargetState, rows: list[Row]) -> Flight | None:
        """A flight for the rows: make their topic, or send them. None when they moved
        elsewhere.
        """
        lane = rows[0].lane
        if lane == GENERAL_LANE:
            return self._sending(rows, None)
        if lane == HUB_LANE:
            binding = self._hub(state)
        else:
            found = self._replaced(rows[0])
            if found is None:
                return None
            binding = found
        if binding.state == "reserved":
            if state.topics_blocked_until_ms <= self._clock.now_ms():
                return self._greeting(state) or Flight(
                    kind="create", lane=lane, thread_id=binding.thread_id, name=binding.name
                )
            if lane != HUB_LANE:
                self._topics.to_hub(self._name, binding.thread_id, "impossible")
                return None
        return self._sending(rows, binding.topic_id)

    def _greeting(self, state: TargetState) -> Flight | None:
        """What goes before the first topic of a group; None once it was sent, or given up."""
        if not is_due(state, self._can):
            return None
        row = greeting(state, self._options.local_name, self._clock.now_ms())
        self._outbox.add([row])
        waiting = self._outbox.head(self._name, GENERAL_LANE, 1)
        return self._sending(waiting, None) if waiting else None

    def _hub(self, state: TargetState) -> Binding:
        """The hub; when it had to do without a topic, it tries again once topics are possible."""
        binding = self._topics.hub(self._name)
        lost = binding.state == "gone" or (binding.state == "hub" and binding.why == "impossible")
        if lost and state.topics_blocked_until_ms <= self._clock.now_ms():
            self._topics.renew_hub(self._name)
            return self._topics.hub(self._name)
        return binding

    def _replaced(self, row: Row) -> Binding | None:
        """The binding of a row's thread; when its topic was lost, the thread is placed anew
        first.
        """
        known = self._topics.find(self._name, row.thread_id)
        if known is None or known.state in ("gone", "hub", "muted"):
            agent, name = (known.agent, known.name) if known else (row.fingerprint, "thread")
            lane = self._topics.place(
                self._name, row.thread_id, agent=agent, name=name, asked_for=row.history
            )
            if lane != row.lane:
                self._outbox.move_lane(self._name, row.lane, lane)
                return None
            known = self._topics.find(self._name, row.thread_id)
        return known

    def _sending(self, rows: list[Row], topic_id: int | None) -> Flight:
        now_ms = self._clock.now_ms()
        documents = "documents" in self._can
        layout = Layout(now_ms=now_ms, zone=self._options.zone, documents=documents)
        solo = next((i for i, row in enumerate(rows) if row.alone or row.maybe), len(rows))
        rows = rows[: max(solo, 1)]
        entries = [self._entry(row) for row in rows]
        count = fitting(entries, layout)
        pieces = render(entries[:count], layout)
        if rows[0].plain or not self._entities:
            pieces = tuple(replace(p, entities=()) if isinstance(p, Part) else p for p in pieces)
        if rows[0].maybe:
            pieces = (marked(pieces[0]), *pieces[1:])
        ring = any(row.ring for row in rows[:count]) and not self._watch.is_quiet()
        return Flight(
            kind="send",
            lane=rows[0].lane,
            thread_id=rows[0].thread_id,
            seqs=tuple(row.seq for row in rows[:count]),
            pieces=pieces,
            topic_id=topic_id,
            silent=not ring,
        )

    def _entry(self, row: Row) -> Entry:
        label = self._label(row) if row.lane == HUB_LANE else ""
        text = row.body
        if row.kind == "skipped":
            text = f"… {row.body} messages are missing here: the queue was full (see the dashboard)"
        return Entry(
            direction=row.direction,
            local_name=self._options.local_name,
            peer_name=row.peer_name,
            peer_fingerprint=row.fingerprint,
            text=text if self._entities and not row.plain else text.replace("`", "'"),
            at_ms=row.at_ms,
            verified=row.verified,
            outcome=row.outcome,
            history=row.history,
            note=row.kind in ("banner", "placeholder", "skipped"),
            thread_label=label,
            message_id=row.message_id,
        )

    def _label(self, row: Row) -> str:
        """What tells the threads of the shared topic apart; nothing for words of our own."""
        if row.thread_id == HUB_THREAD:
            return "" if row.kind == "banner" else "no thread"
        known = self._topics.find(self._name, row.thread_id)
        return known.name if known is not None else clean_name(row.thread_id, 40)


def marked(piece: Piece) -> Piece:
    """The piece with a line that says that it may be a repetition."""
    if isinstance(piece, Document):
        return replace(piece, caption=f"{piece.caption}\n{REPEAT_MARK}")
    return marked_as_repeat(piece)
