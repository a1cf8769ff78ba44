"""Whether a message is mirrored, and whether its arrival may make a sound. Pure.

Promises the reference's decision tree and reasons, asked on verified fingerprints only. Never
looks at a display name: names are chosen by the peer. Deliberate differences from the
reference, each because the original leaked or lost: unverified messages open nothing, a thread
that would fall silent after its first message is not opened, and a peer that joins another
one's bound thread must pass the gate itself.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

Direction = Literal["in", "out"]
Reason = Literal[
    "queued",
    "bridge-disabled",
    "mirror-disabled",
    "auto-create-disallowed",
    "no-binding",
    "muted",
    "vetoed",
    "empty",
    "not-a-message",
]
Notify = Literal["all", "important", "none"]


class Rules(Struct, frozen=True, kw_only=True):
    """What the person has decided; lists hold fingerprints."""

    enabled: bool = False
    auto_create_topics: bool = False
    mirror_existing: bool = True
    allow_list: frozenset[str] = frozenset()
    deny_list: frozenset[str] = frozenset()
    muted_threads: frozenset[str] = frozenset()
    muted_agents: frozenset[str] = frozenset()


class Question(Struct, frozen=True, kw_only=True):
    """What the tree needs to know about one message and its thread."""

    direction: Direction
    thread_id: str
    fingerprint: str
    verified: bool = True
    has_text: bool = True
    is_receipt: bool = False
    bound_to: str | None = None
    """The agent whose message opened the thread's topic; None when the thread has none."""
    vetoed: bool = False
    """True when a plugin said no, or failed to answer."""
    asked_for: bool = False
    """True for a backfill: the person chose the thread, so only bans, mutes and vetoes apply."""


class Decision(Struct, frozen=True, kw_only=True):
    """The answer: whether to queue the message, why not otherwise, and whether it opens a
    topic.
    """

    post: bool
    reason: Reason
    opens_topic: bool = False


class QuietHours(Struct, frozen=True, kw_only=True):
    """Minutes of the local day between which nothing rings; may pass midnight."""

    start_minute: int
    end_minute: int


def decide(question: Question, rules: Rules) -> Decision:
    """Walk the tree: switch, content, mute, veto, then binding or gate."""
    if not rules.enabled and not question.asked_for:
        return _no("bridge-disabled")
    if question.is_receipt:
        return _no("not-a-message")
    if not question.has_text:
        return _no("empty")
    if question.thread_id in rules.muted_threads or _is_muted(question, rules):
        return _no("muted")
    if question.vetoed:
        return _no("vetoed")
    if question.asked_for:
        return _decide_asked_for(question, rules)
    if not rules.mirror_existing:
        return _no("mirror-disabled")
    if question.bound_to is not None:
        return _decide_bound(question, rules)
    if question.direction == "out":
        return _no("no-binding")
    if not _passes_gate(question, rules):
        return _no("auto-create-disallowed")
    return Decision(post=True, reason="queued", opens_topic=True)


def should_ring(
    *,
    direction: Direction,
    text: str,
    outcome: str | None,
    first_contact: bool,
    notify: Notify,
    quiet: bool,
    human_names: tuple[str, ...] = ("human", "operator", "owner"),
) -> bool:
    """True for what a person wants to hear: a first contact, a question to them, a failure.
    Never in quiet hours.
    """
    if quiet or notify == "none":
        return False
    if notify == "all":
        return True
    if first_contact and direction == "in":
        return True
    if outcome and outcome.lower().startswith(
        ("error", "queued for approval", "failed", "rejected")
    ):
        return True
    return any(
        re.search(rf"(?<!\w)@{re.escape(name)}\b", text, re.IGNORECASE) for name in human_names
    )


def is_quiet(hours: QuietHours | None, minute_of_day: int) -> bool:
    """True when `minute_of_day` (0 to 1439) lies in the quiet hours; start inclusive, end
    exclusive.
    """
    if hours is None or hours.start_minute == hours.end_minute:
        return False
    if hours.start_minute < hours.end_minute:
        return hours.start_minute <= minute_of_day < hours.end_minute
    return minute_of_day >= hours.start_minute or minute_of_day < hours.end_minute


def _decide_bound(question: Question, rules: Rules) -> Decision:
    stranger = question.direction == "in" and question.fingerprint != question.bound_to
    if stranger and not _passes_gate(question, rules):
        return _no("auto-create-disallowed")
    return Decision(post=True, reason="queued")


def _decide_asked_for(question: Question, rules: Rules) -> Decision:
    denied = (
        question.fingerprint in rules.deny_list and question.fingerprint not in rules.allow_list
    )
    if denied and question.bound_to is None:
        return _no("auto-create-disallowed")
    return Decision(post=True, reason="queued", opens_topic=question.bound_to is None)


def _passes_gate(question: Question, rules: Rules) -> bool:
    if not question.verified:
        return False
    if question.fingerprint in rules.allow_list:
        return True
    return question.fingerprint not in rules.deny_list and rules.auto_create_topics


def _is_muted(question: Question, rules: Rules) -> bool:
    return question.verified and question.fingerprint in rules.muted_agents


def _no(reason: Reason) -> Decision:
    return Decision(post=False, reason=reason)
