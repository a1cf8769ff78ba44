"""The decision tree: the reference's reasons, on verified fingerprints only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instar_threadline.bridge.policy import (
    Decision,
    Question,
    QuietHours,
    Rules,
    decide,
    is_quiet,
    should_ring,
)

OPEN = Rules(enabled=True, auto_create_topics=True)
QUESTIONS = st.builds(
    Question,
    direction=st.sampled_from(["in", "out"]),
    thread_id=st.sampled_from(["t1", "t2"]),
    fingerprint=st.sampled_from(["fp-a", "fp-b"]),
    verified=st.booleans(),
    has_text=st.booleans(),
    is_receipt=st.booleans(),
    bound_to=st.sampled_from([None, "fp-a", "fp-b"]),
    vetoed=st.booleans(),
    asked_for=st.booleans(),
)
PEERS = st.frozensets(st.sampled_from(["fp-a", "fp-b"]))
RULES = st.builds(
    Rules,
    enabled=st.booleans(),
    auto_create_topics=st.booleans(),
    mirror_existing=st.booleans(),
    allow_list=PEERS,
    deny_list=PEERS,
    muted_threads=st.frozensets(st.sampled_from(["t1", "t2"])),
    muted_agents=PEERS,
)


def ask(rules: Rules, **changes: Any) -> Decision:
    given_: dict[str, Any] = {
        "direction": "in",
        "thread_id": "t1",
        "fingerprint": "fp-a",
        **changes,
    }
    return decide(Question(**given_), rules)


@pytest.mark.parametrize(
    ("case", "rules", "question", "reason"),
    [
        ("D2-1", Rules(), {}, "bridge-disabled"),
        ("D2-2", Rules(), {"direction": "out"}, "bridge-disabled"),
        ("D2-3", Rules(enabled=True), {}, "auto-create-disallowed"),
        ("D2-4", OPEN, {}, "queued"),
        ("D2-6", Rules(enabled=True, allow_list=frozenset({"fp-a"})), {}, "queued"),
        (
            "D2-7",
            Rules(enabled=True, auto_create_topics=True, deny_list=frozenset({"fp-a"})),
            {},
            "auto-create-disallowed",
        ),
        (
            "D2-8",
            Rules(enabled=True, deny_list=frozenset({"fp-a"})),
            {"bound_to": "fp-a"},
            "queued",
        ),
        (
            "D2-9",
            Rules(enabled=True, mirror_existing=False),
            {"bound_to": "fp-a"},
            "mirror-disabled",
        ),
        ("D2-10", OPEN, {"direction": "out", "bound_to": "fp-a"}, "queued"),
        ("D2-10", OPEN, {"direction": "out"}, "no-binding"),
        ("C-58", OPEN, {"has_text": False}, "empty"),
        ("C-59", OPEN, {"is_receipt": True}, "not-a-message"),
        (
            "C-63",
            Rules(enabled=True, auto_create_topics=True, mirror_existing=False),
            {},
            "mirror-disabled",
        ),
    ],
)
def test_reference_cases(case: str, rules: Rules, question: dict[str, Any], reason: str) -> None:
    """D2: each case of the reference gets its reason; posted stays false until Telegram
    answered.
    """
    decision = ask(rules, **question)
    assert decision.reason == reason, case
    assert decision.post == (reason == "queued")


def test_d2_5_a_display_name_matches_nothing() -> None:
    """D2-5 inverted, C-53, C-54: a peer that calls itself like an allowed entry gets no topic."""
    rules = Rules(enabled=True, allow_list=frozenset({"Dawn"}))
    assert ask(rules, fingerprint="fp-stranger").reason == "auto-create-disallowed"


@given(QUESTIONS, RULES)
def test_allow_beats_deny(question: Question, rules: Rules) -> None:
    """An allowed fingerprint passes the gate whether or not it is also denied."""
    both = Rules(
        enabled=True, allow_list=rules.allow_list, deny_list=rules.allow_list | rules.deny_list
    )
    only = Rules(
        enabled=True, allow_list=rules.allow_list, deny_list=rules.deny_list - rules.allow_list
    )
    assert decide(question, both) == decide(question, only)


@given(QUESTIONS, RULES)
def test_outbound_never_opens_a_topic(question: Question, rules: Rules) -> None:
    """Only a message from the peer opens a topic, unless the person asked for the thread by
    name.
    """
    decision = decide(question, rules)
    if question.direction == "out" and not question.asked_for:
        assert not decision.opens_topic


@given(QUESTIONS, RULES)
def test_nothing_unverified_opens_a_topic(question: Question, rules: Rules) -> None:
    """A sender nobody vouched for matches no entry and opens nothing."""
    decision = decide(question, rules)
    if decision.opens_topic and not question.asked_for:
        assert question.verified


@given(QUESTIONS, RULES)
def test_off_is_off(question: Question, rules: Rules) -> None:
    """While the bridge is off nothing live is mirrored; a mute, a veto and empty text always
    hold.
    """
    decision = decide(question, rules)
    if decision.post:
        assert rules.enabled or question.asked_for
        assert question.thread_id not in rules.muted_threads
        assert not question.vetoed
        assert question.has_text
        assert not question.is_receipt


def test_a_stranger_in_a_bound_thread_must_pass_the_gate() -> None:
    """A peer cannot ride on another one's binding by choosing its thread id."""
    rules = Rules(enabled=True, allow_list=frozenset({"fp-a"}))
    assert ask(rules, bound_to="fp-a", fingerprint="fp-b").reason == "auto-create-disallowed"
    assert ask(rules, bound_to="fp-a", fingerprint="fp-a").post


@pytest.mark.parametrize(
    ("text", "outcome", "first", "rings"),
    [
        ("hello", None, True, True),
        ("hello", None, False, False),
        ("@human shall I?", None, False, True),
        ("write to me@human.org", None, False, False),
        ("hello", "error: refused", False, True),
        ("hello", "queued for approval", False, True),
        ("hello", "relay-sent", False, False),
    ],
)
def test_only_what_matters_rings(text: str, outcome: str | None, first: bool, rings: bool) -> None:
    """First contact, a question to the human and a failure ring; the rest is silent."""
    asked = should_ring(
        direction="in",
        text=text,
        outcome=outcome,
        first_contact=first,
        notify="important",
        quiet=False,
    )
    assert asked is rings


@given(st.booleans(), st.sampled_from(["all", "important", "none"]))
def test_quiet_hours_hold_every_sound(first: bool, notify: Any) -> None:
    """In quiet hours nothing rings, at any level."""
    assert not should_ring(
        direction="in",
        text="@human",
        outcome="error",
        first_contact=first,
        notify=notify,
        quiet=True,
    )


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_quiet_hours_may_pass_midnight(start: int, end: int, now: int) -> None:
    """Walking the clock from the start, it is quiet until the end is reached."""
    hours = QuietHours(start_minute=start, end_minute=end)
    assert is_quiet(hours, now) == ((now - start) % 1440 < (end - start) % 1440)
