"""The durable queue: one lane a thread, live before history, bounded, idempotent by identity.

Promises that a row is in the queue, under way, or accounted for in `delivered`, never in two of
them and never in none; that a message is enqueued at most once whatever asks for it; and that
the mark of the log commits together with the rows that were made of it. Every change is one
transaction. Never sends anything, never decides policy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import apsw
import msgspec
from msgspec import Struct

from instar_host.clock import Clock
from instar_host.store.sqlite import write_transaction
from instar_threadline.bridge import dead
from instar_threadline.bridge.rows import (
    COLUMNS,
    DeadLetter,
    Row,
    insert,
    key_of,
    row_from,
    size_of,
)

REPEAT_WINDOW_MS = 60_000
"""The same words from the same agent in the same thread within this time are shown as one line."""
REPEAT_MIN_CODE_POINTS = 24
"""Shorter words ("yes") are rightly said twice."""
MAX_BODY_BYTES = 1 << 20
FORGOTTEN = "forgotten"
"""The counter of dead letters that were let go of because there were more."""

Which = Literal["all", "live", "history"]


class Limits(Struct, frozen=True, kw_only=True):
    """How much may wait for one target."""

    rows: int = 200_000
    bytes: int = 256 << 20
    dead: int = 10_000
    """Dead letters of all targets that are kept for a person to decide about: the newest."""


class Outbox:
    """The queue over one connection. Callable from any thread; each call is one transaction."""

    def __init__(self, connection: apsw.Connection, clock: Clock, limits: Limits) -> None:
        self.connection = connection
        self.clock = clock
        self.limits = limits
        self.lock = threading.RLock()
        """Held while the connection is used; a call under it may call others."""
        self._said: dict[bytes, int] = {}
        """What was queued within the repeat window, oldest first. After a restart it is empty: a
        repetition is then shown in full."""

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """One transaction for several calls; a call inside it joins it."""
        with self.lock:
            if self.connection.in_transaction:
                yield self.connection
            else:
                try:
                    with write_transaction(self.connection):
                        yield self.connection
                except BaseException:
                    self._said.clear()  # what was taken back was not said
                    raise

    def close(self) -> None:
        """Close the connection once no call is under way."""
        with self.lock:
            self.connection.close()

    def add_target(self, name: str) -> None:
        """Make sure that the target exists."""
        with self.transaction() as db:
            db.execute("INSERT INTO target (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))

    def mark(self, name: str) -> bytes | None:
        """Where a reader of the log stands."""
        with self.lock:
            value = self.connection.execute("SELECT value FROM mark WHERE name = ?", (name,)).get
        return None if value is None else bytes(value)

    def set_mark(self, name: str, value: bytes) -> None:
        """Move a reader's mark; call it inside the transaction that adds the rows."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO mark VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (name, value),
            )

    def add(self, rows: Iterable[Row]) -> int:
        """Add the rows that were never added before; how many there were. Trims beyond the
        limits.
        """
        added = 0
        targets: set[str] = set()
        with self.transaction() as db:
            for row in rows:
                if self.is_known(row.target, row.key):
                    continue
                insert(db, self._shortened_repeat(row))
                targets.add(row.target)
                added += 1
            for target in targets:
                self._trim(target)
        return added

    def is_known(self, target: str, key: bytes) -> bool:
        """True when a message with this key waits, is under way, or was accounted for."""
        with self.lock:
            known = self.connection.execute(
                "SELECT EXISTS (SELECT 1 FROM delivered WHERE target = ?1 AND key = ?2)"
                " OR EXISTS (SELECT 1 FROM queue WHERE target = ?1 AND key = ?2)",
                (target, key),
            ).get
        return bool(known)

    def pick(self, target: str, limit: int, which: Which = "all") -> list[Row]:
        """The first rows of the lane whose turn it is; empty when nothing waits.

        Lanes with live messages first, among them the one that waited longest for its turn.
        """
        wanted = {"all": "1", "live": "live > 0", "history": "live = 0"}[which]
        with self.lock:
            lane = self.connection.execute(
                f"SELECT name FROM lane WHERE target = ? AND waiting > 0 AND {wanted}"
                " ORDER BY live = 0, turn LIMIT 1",
                (target,),
            ).get
            return [] if lane is None else self.head(target, str(lane), limit)

    def head(self, target: str, lane: str, limit: int) -> list[Row]:
        """The first rows of one lane, in order."""
        with self.lock:
            found = self.connection.execute(
                f"SELECT {COLUMNS} FROM queue WHERE target = ? AND lane = ? ORDER BY seq LIMIT ?",
                (target, lane, limit),
            ).fetchall()
        return [row_from(values) for values in found]

    def rows(self, target: str, seqs: Sequence[int]) -> list[Row]:
        """These rows, as far as they still wait, in order."""
        with self.lock:
            found = self.connection.execute(
                f"SELECT {COLUMNS} FROM queue WHERE target = ?"
                " AND seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
                (target, msgspec.json.encode(list(seqs)).decode()),
            ).fetchall()
        return [row_from(values) for values in found]

    def waiting(self, target: str) -> tuple[int, int]:
        """(rows, bytes) that wait for the target."""
        with self.lock:
            found = self.connection.execute(
                "SELECT waiting, waiting_bytes FROM target WHERE name = ?", (target,)
            ).fetchall()
        return msgspec.convert(found[0], tuple[int, int]) if found else (0, 0)

    def has_room(self, target: str, how_many: int) -> bool:
        """False when so many more would leave less than a tenth of the queue for live messages."""
        waiting, size = self.waiting(target)
        fits = waiting + how_many <= max(self.limits.rows * 9 // 10, 1)
        return fits and size <= self.limits.bytes * 9 // 10

    def served(self, target: str, lane: str) -> None:
        """Send the lane to the end of the line."""
        with self.transaction() as db:
            db.execute("UPDATE target SET turn = turn + 1 WHERE name = ?", (target,))
            db.execute(
                "UPDATE lane SET turn = (SELECT turn FROM target WHERE name = ?1)"
                " WHERE target = ?1 AND name = ?2",
                (target, lane),
            )
            db.execute(
                "DELETE FROM lane WHERE target = ? AND name = ? AND waiting = 0", (target, lane)
            )

    def settle(
        self,
        rows: Iterable[Row],
        result: str,
        *,
        message_id: int = 0,
        topic_id: int | None = None,
    ) -> None:
        """Account for rows: out of the queue, into `delivered`, with what became of them."""
        now_ms = self.clock.now_ms()
        with self.transaction() as db:
            for row in rows:
                db.execute("DELETE FROM queue WHERE seq = ?", (row.seq,))
                db.execute(
                    "INSERT INTO delivered VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (row.target, row.key, result, message_id, topic_id, now_ms),
                )
                self.count(row.target, result.partition(":")[0])

    def change(self, row: Row) -> None:
        """Store the row's lane, kind, body and flags as they are in `row`."""
        with self.transaction() as db:
            db.execute(
                "UPDATE queue SET lane = ?, kind = ?, body = ?, bytes = ?, alone = ?, plain = ?,"
                " maybe = ?, ring = ? WHERE seq = ?",
                (
                    row.lane,
                    row.kind,
                    row.body,
                    size_of(row),
                    row.alone,
                    row.plain,
                    row.maybe,
                    row.ring,
                    row.seq,
                ),
            )

    def move_lane(self, target: str, lane: str, to: str) -> None:
        """Let everything that waits in one lane wait in another, in the same order."""
        with self.transaction() as db:
            db.execute(
                "UPDATE queue SET lane = ? WHERE target = ? AND lane = ?", (to, target, lane)
            )

    def park(self, row: Row, reason: str, placeholder: str) -> None:
        """Make a dead letter of a row; a placeholder takes its place in the lane."""
        with self.transaction() as db:
            dead.add(db, row, reason, self.clock.now_ms())
            self.count(row.target, "dead")
            self._forget_dead(dead.beyond(db, self.limits.dead), FORGOTTEN)
            if row.kind == "placeholder":
                self.settle([row], "skipped:placeholder refused")
                return
            changes = {"kind": "placeholder", "body": placeholder, "alone": True}
            changes |= {"plain": False, "maybe": False}
            self.change(msgspec.structs.replace(row, **changes))

    def bury(self, row: Row, reason: str) -> None:
        """Make a dead letter of a row, without a placeholder."""
        with self.transaction():
            self.park(row, reason, "")
            self.settle([row], "skipped:parked")

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest dead letters first."""
        with self.lock:
            return dead.newest(self.connection, limit)

    def retry_dead(self, ids: Sequence[int] | None = None) -> int:
        """Queue dead letters again, at the end of their lanes; None means all of them."""
        with self.transaction() as db:
            chosen = dead.chosen(db, ids)
            for number, target in chosen:
                row = dead.read(db, number).row
                again = {
                    "key": key_of("retry", number, row.key),
                    "alone": True,
                    "plain": False,
                    "queued_at_ms": self.clock.now_ms(),
                }
                insert(db, msgspec.structs.replace(row, **again))
                dead.remove(db, number)
                self.count(target, "dead", -1)
        return len(chosen)

    def drop_dead(self, ids: Sequence[int] | None = None) -> int:
        """Forget dead letters; None means all of them."""
        with self.transaction() as db:
            chosen = dead.chosen(db, ids)
            self._forget_dead(chosen, "dropped")
        return len(chosen)

    def drop_waiting(self, target: str, *, history_only: bool) -> int:
        """Give up what waits (a person's decision); rows under way are left to end."""
        which = (
            "target = ?1 AND (history OR NOT ?2) AND seq NOT IN (SELECT value FROM json_each(?3))"
        )
        with self.transaction() as db:
            busy = msgspec.json.encode(self.seqs_under_way(target)).decode()
            given_up = (target, history_only, busy)
            db.execute(
                "INSERT INTO delivered SELECT target, key, 'dropped', 0, NULL, ?4 FROM queue"
                f" WHERE {which} ON CONFLICT DO NOTHING",
                (*given_up, self.clock.now_ms()),
            )
            db.execute(f"DELETE FROM queue WHERE {which}", given_up)
            dropped = db.changes()
            self.count(target, "dropped", dropped)
        return dropped

    def forget_ids(self, target: str) -> None:
        """Another chat: the same ids are other messages there, and none of them is corrected."""
        with self.transaction() as db:
            db.execute("DELETE FROM correction WHERE target = ?", (target,))

    def count(self, target: str, name: str, by: int = 1) -> None:
        """Add to a counter that the status shows."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO counter VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET value = value + excluded.value",
                (target, name, by),
            )

    def seqs_under_way(self, target: str) -> list[int]:
        """Rows that belong to the flight."""
        with self.lock:
            value = self.connection.execute(
                "SELECT value FROM flight WHERE target = ?", (target,)
            ).get
        if value is None:
            return []
        return list(msgspec.json.decode(value, type=_Seqs).seqs)

    def _forget_dead(self, letters: Iterable[dead.Named], why: str) -> None:
        for number, target in letters:
            dead.remove(self.connection, number)
            self.count(target, "dead", -1)
            self.count(target, why)

    def _shortened_repeat(self, row: Row) -> Row:
        """A retry of a peer comes with a new id and the same words: show a line instead of
        them.
        """
        if row.kind != "message" or row.history or len(row.body) < REPEAT_MIN_CODE_POINTS:
            return row
        words = key_of(
            row.target, row.thread_id, row.direction, row.fingerprint, " ".join(row.body.split())
        )
        now_ms = row.queued_at_ms
        before = self._said.pop(words, None)
        self._said[words] = now_ms
        while not _is_recent(next(iter(self._said.values())), now_ms):
            del self._said[next(iter(self._said))]
        if before is None or not _is_recent(before, now_ms):
            return row
        self.count(row.target, "repeated-words")
        return msgspec.structs.replace(
            row, kind="repeat", ring=False, body="↻ the same words again"
        )

    def _trim(self, target: str) -> None:
        """Beyond the limits, let the longest lane lose its oldest messages, and say so in it."""
        while True:
            waiting, size = self.waiting(target)
            if waiting <= self.limits.rows and size <= self.limits.bytes:
                return
            lane = self.connection.execute(
                "SELECT name FROM lane WHERE target = ? AND waiting > 1"
                " ORDER BY bytes DESC LIMIT 1",
                (target,),
            ).get
            if lane is None or not self._collapse(target, str(lane), max(waiting // 20, 2)):
                return

    def _collapse(self, target: str, lane: str, how_many: int) -> bool:
        busy = set(self.seqs_under_way(target))
        oldest = [r for r in self.head(target, lane, how_many + len(busy)) if r.seq not in busy]
        if len(oldest) < 2:
            return False
        first, rest = oldest[0], oldest[1:]
        gone = sum(int(r.body) if r.kind == "skipped" else 1 for r in oldest)
        self.settle(rest, "skipped:queue full")
        self.change(msgspec.structs.replace(first, kind="skipped", body=str(gone), ring=False))
        return True


def _is_recent(at_ms: int, now_ms: int) -> bool:
    """False too for what lies ahead: the clock was put back."""
    return 0 <= now_ms - at_ms <= REPEAT_WINDOW_MS


class _Seqs(Struct):
    seqs: tuple[int, ...] = ()
