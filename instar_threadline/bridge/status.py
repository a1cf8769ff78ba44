"""How the bridge fares, for the route, the command and the tab.

Promises numbers read from the database at one moment, and sentences that say what to do. Holds
no token, no address and no text of a message but the first words of dead letters, which are
redacted.
"""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from instar_host.records import Record
from instar_threadline.bridge import target as targets
from instar_threadline.bridge.rows import dead_letter_from
from instar_threadline.bridge.topics import HUB_THREAD, ORPHANED

MAX_DEAD_SHOWN = 50
PREVIEW_CODE_POINTS = 120


class Shown(Record, frozen=True, kw_only=True, rename="camel"):
    """What everything here is: camelCase outside."""


class TargetStatus(Shown, frozen=True, kw_only=True, rename="camel"):
    """One way out."""

    name: str
    queued: int
    queued_bytes: int
    queued_history: int
    lanes: int
    under_way: str
    """`send`, `create`, ...; empty when nothing is."""
    doubtful: bool
    blocked_until: int | None
    """Epoch milliseconds until which the chat asked for silence."""
    paused: str
    topics_blocked: str
    last_success: int | None
    last_error: str
    last_error_at: int | None
    counters: dict[str, int]
    """sent, repeat, skipped, dead, redacted ..., refused-...: since the database was made."""


class TopicCounts(Shown, frozen=True, kw_only=True, rename="camel"):
    """How many threads have which place."""

    open: int = 0
    reserved: int = 0
    in_hub: int = 0
    muted: int = 0
    gone: int = 0
    possibly_orphaned: int = 0
    """Empty twins that may lie around: a process ended while making them."""


class DeadLetterShown(Shown, frozen=True, kw_only=True, rename="camel"):
    """A parked message."""

    id: int
    target: str
    thread_id: str
    agent: str
    at: int
    reason: str
    preview: str


class About(Shown, frozen=True, kw_only=True, rename="camel"):
    """What the database does not know."""

    enabled: bool
    sends: bool
    """This process is the one that sends."""
    connection: str
    """Where bot and chat are configured, or whose are used instead; empty: nowhere."""
    lost: tuple[str, ...] = ()
    """What the way out cannot do, in sentences."""
    problems: tuple[str, ...] = ()


class BridgeStatus(About, frozen=True, kw_only=True, rename="camel"):
    """The whole."""

    queued: int = 0
    targets: tuple[TargetStatus, ...] = ()
    topics: TopicCounts = TopicCounts()
    dead_letters: int = 0
    dead: tuple[DeadLetterShown, ...] = ()
    muted: tuple[str, ...] = ()
    counters: dict[str, int] = msgspec.field(default_factory=dict)


def empty(about: About) -> BridgeStatus:
    """The status of a bridge that never had a database."""
    return BridgeStatus(
        enabled=about.enabled,
        sends=about.sends,
        connection=about.connection,
        lost=about.lost,
        problems=about.problems,
    )


def read(db: apsw.Connection, about: About) -> BridgeStatus:
    """The status from a connection, writing or reading. Raises `apsw.Error`."""
    names = [str(row[0]) for row in db.execute("SELECT name FROM target ORDER BY name").fetchall()]
    shown = tuple(_target(db, name) for name in names)
    return msgspec.structs.replace(
        empty(about),
        queued=sum(target.queued for target in shown),
        targets=shown,
        topics=_topics(db),
        dead_letters=_number(db, "SELECT count(*) FROM dead"),
        dead=_dead(db),
        muted=_muted(db),
        counters=_counters(db, ""),
    )


def _target(db: apsw.Connection, name: str) -> TargetStatus:
    state = targets.load(db, name)
    numbers = db.execute(
        "SELECT waiting, waiting_bytes,"
        " (SELECT coalesce(sum(waiting - live), 0) FROM lane WHERE lane.target = target.name),"
        " (SELECT count(*) FROM lane WHERE lane.target = target.name AND lane.waiting > 0)"
        " FROM target WHERE name = ?",
        (name,),
    ).fetchall()
    queued, queued_bytes, history, lanes = msgspec.convert(numbers[0], tuple[int, int, int, int])
    flight = db.execute("SELECT value FROM flight WHERE target = ?", (name,)).fetchall()
    under_way: dict[str, Any] = msgspec.json.decode(_bytes(flight[0][0])) if flight else {}
    return TargetStatus(
        name=name,
        queued=queued,
        queued_bytes=queued_bytes,
        queued_history=history,
        lanes=lanes,
        under_way=str(under_way.get("kind", "")),
        doubtful=bool(under_way.get("doubtful")),
        blocked_until=max(state.blocked_until_ms, state.paused_until_ms) or None,
        paused=state.paused,
        topics_blocked=state.topics_blocked,
        last_success=state.last_success_ms or None,
        last_error=state.last_error,
        last_error_at=state.last_error_ms or None,
        counters=_counters(db, name),
    )


def _topics(db: apsw.Connection) -> TopicCounts:
    found = db.execute(
        "SELECT state, count(*) FROM topic WHERE target NOT LIKE 'sink:%' AND thread_id <> ?"
        " GROUP BY state",
        (HUB_THREAD,),
    ).fetchall()
    counts = dict(msgspec.convert(found, list[tuple[str, int]]))
    return TopicCounts(
        open=counts.get("open", 0),
        reserved=counts.get("reserved", 0),
        in_hub=counts.get("hub", 0),
        muted=counts.get("muted", 0),
        gone=counts.get("gone", 0),
        possibly_orphaned=_sum(db, ORPHANED),
    )


def _dead(db: apsw.Connection) -> tuple[DeadLetterShown, ...]:
    found = db.execute(
        "SELECT id, target, reason, at_ms, row FROM dead ORDER BY id DESC LIMIT ?",
        (MAX_DEAD_SHOWN,),
    ).fetchall()
    letters = [dead_letter_from(values) for values in found]
    return tuple(
        DeadLetterShown(
            id=letter.id,
            target=letter.target,
            thread_id=letter.row.thread_id,
            agent=letter.row.fingerprint,
            at=letter.at_ms,
            reason=letter.reason,
            preview=letter.row.body[:PREVIEW_CODE_POINTS],
        )
        for letter in letters
    )


def _muted(db: apsw.Connection) -> tuple[str, ...]:
    found = db.execute("SELECT kind || ' ' || id FROM mute ORDER BY 1").fetchall()
    return tuple(str(row[0]) for row in found)


def _counters(db: apsw.Connection, target: str) -> dict[str, int]:
    found = db.execute("SELECT name, value FROM counter WHERE target = ?", (target,)).fetchall()
    return dict(msgspec.convert(found, list[tuple[str, int]]))


def _sum(db: apsw.Connection, counter: str) -> int:
    sql = "SELECT coalesce(sum(value), 0) FROM counter WHERE name = ?"
    return msgspec.convert(db.execute(sql, (counter,)).get, int)


def _number(db: apsw.Connection, sql: str) -> int:
    return msgspec.convert(db.execute(sql).get, int)


def _bytes(value: object) -> bytes:
    return msgspec.convert(value, bytes)
