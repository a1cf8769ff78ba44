"""Threads and agents that the person does not want to hear of.

Promises a list in the bridge's database, so that it holds over restarts. An agent is a verified
fingerprint.
"""

from __future__ import annotations

from typing import Literal

from instar_threadline.bridge.outbox import Outbox

MuteKind = Literal["thread", "agent"]


def mute(outbox: Outbox, kind: MuteKind, name: str) -> None:
    """Mirror nothing more of it; what waits is skipped when its turn comes."""
    with outbox.transaction() as db:
        db.execute(
            "INSERT INTO mute VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (kind, name, outbox.clock.now_ms()),
        )


def unmute(outbox: Outbox, kind: MuteKind, name: str) -> None:
    """Mirror it again; a thread that was muted by deleting its topic gets a new one."""
    with outbox.transaction() as db:
        db.execute("DELETE FROM mute WHERE kind = ? AND id = ?", (kind, name))
        if kind == "thread":
            db.execute(
                "UPDATE topic SET state = 'gone' WHERE thread_id = ? AND state = 'muted'", (name,)
            )


def muted(outbox: Outbox, kind: MuteKind) -> frozenset[str]:
    """What is muted."""
    with outbox.lock:
        db = outbox.connection
        found = db.execute("SELECT id FROM mute WHERE kind = ?", (kind,)).fetchall()
        names = {str(row[0]) for row in found}
        if kind == "thread":
            gone = db.execute("SELECT thread_id FROM topic WHERE state = 'muted'").fetchall()
            names |= {str(row[0]) for row in gone}
    return frozenset(names)
