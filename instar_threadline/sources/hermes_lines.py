"""Hermes's agent-to-agent files, line by line: what was said, and who began it.

A conversation is a file of `{ts, role, text, task_id}`, the audit one of `{direction, peer,
task_id}`. `user` is whoever asked and `agent` whoever answered, so a line alone does not tell who
spoke: the first word of the audit about a task does. Promises that a message has the same identity
whenever and however often its line is read, that nothing in a line can name an agent or a thread of
another source, and that no message is called verified: nobody signed these files. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec

from instar_host.records import Record
from instar_threadline.messages import Direction, NewMessage
from instar_threadline.record.lines import iso_instant

NAME = "hermes"
NAMESPACE = f"{NAME}:"
"""Begins every thread id and every agent of this source, so that neither can be somebody else's."""
NOBODY = "unknown"
"""The peer of a task that the audit does not know."""
MAX_INSTANT_S = 4_102_444_800.0  # the year 2100
ID_BYTES = 16

Instant = Annotated[float, msgspec.Meta(gt=0, lt=MAX_INSTANT_S)]


class Begun(Record, frozen=True, kw_only=True):
    """Who began a task, and with whom."""

    peer: str
    by_peer: bool


class _Said(msgspec.Struct):
    ts: Instant
    role: Literal["user", "agent"]
    text: str
    task_id: str = ""
    peer: str = ""


class _Audited(msgspec.Struct):
    direction: str
    task_id: str
    peer: str = ""


BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a line may raise."""
_SAID = msgspec.json.Decoder(_Said)
_AUDITED = msgspec.json.Decoder(_Audited)


def message_of(
    line: bytes, context: str, begun_of_task: Callable[[str], Begun | None]
) -> NewMessage | None:
    """The message of one line of the conversation `context`; None for one that says nothing.

    Raises one of `BROKEN` for a line that Hermes did not write.
    """
    said = _SAID.decode(line)
    if not said.text.strip():
        return None
    begun = begun_of_task(said.task_id)
    by_peer = begun is None or begun.by_peer
    peer = begun.peer if begun is not None else said.peer
    direction: Direction = "in" if (said.role == "user") is by_peer else "out"
    return NewMessage(
        direction=direction,
        counterparty=NAMESPACE + (peer or NOBODY),
        counterparty_name=peer,
        thread_id=NAMESPACE + context,
        text=said.text,
        id=_identity(said),
        timestamp=iso_instant(int(said.ts * 1000)),
        verified=False,
    )


def begun_of(line: bytes) -> tuple[str, Begun] | None:
    """The task that a line of the audit names, and who would have begun it; None for another line.

    Raises one of `BROKEN` for a line that Hermes did not write.
    """
    said = _AUDITED.decode(line)
    if not said.task_id or said.direction not in ("inbound", "outbound"):
        return None
    return said.task_id, Begun(peer=said.peer, by_peer=said.direction == "inbound")


def _identity(said: _Said) -> str:
    """Of what the line says, never of where it stands: a file may be moved or written anew."""
    whole = "\0".join((said.role, said.task_id, repr(said.ts), said.text))
    return blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=ID_BYTES).hexdigest()
