"""The one message that is written before the first topic of a group is made.

Promises a text that tells people what the bot does here, and a key per chat, so that it is
written once. It has a second use: a topic's id is the id of the message that announces it, and
no method lists topics. Whoever knows the newest id of the chat before asking for a topic can
look for that topic after a crash; in a chat where nothing was sent yet nobody knows it. Pure.
"""

from __future__ import annotations

from instar_threadline.bridge.rows import Row, key_of
from instar_threadline.bridge.schema import GENERAL_LANE
from instar_threadline.bridge.target import TargetState
from instar_threadline.bridge.topics import HUB_THREAD

NEEDED = frozenset({"topics", "probe", "message-ids"})
"""Without these the answer teaches nothing that could be used."""


def is_due(state: TargetState, capabilities: frozenset[str]) -> bool:
    """True before the first topic in a group of which no id is known."""
    return state.high_message_id == 0 and state.chat_id < 0 and capabilities >= NEEDED


def greeting(state: TargetState, local_name: str, now_ms: int) -> Row:
    """The message; it is the person's own bridge that speaks, so it needs no switch and makes
    no sound.
    """
    return Row(
        target=state.name,
        lane=GENERAL_LANE,
        key=key_of("greeting", state.chat_id),
        kind="banner",
        history=True,
        thread_id=HUB_THREAD,
        direction="out",
        fingerprint="",
        body=(
            f"🧵 What {local_name} and other agents say to each other appears in this group, each"
            " conversation in a topic of its own. The bridge reads nothing that is written here."
        ),
        queued_at_ms=now_ms,
    )
