"""Backfill: what the reference's tests say, and none of its defects."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from instar_host.errors import InstarError, UsageError
from instar_threadline.bridge import backfill
from instar_threadline.bridge.backfill import Known, Ledger, Plan
from instar_threadline.bridge.render import Layout, topic_name
from instar_threadline.bridge.rows import identity_key
from instar_threadline.bridge.target import GROUP_PACE
from instar_threadline.messages import Message
from tests.threadline.bridge.world import OPEN, TARGET, World

pytest_plugins = ["instar_host.testing"]

LAYOUT = Layout(now_ms=1_777_629_600_000, zone=UTC)
NO_LEDGER = Ledger(posted={}, topics={})


def message(text: str = "hi", **changes: Any) -> Message:
    fields: dict[str, Any] = {
        "direction": "in",
        "id": f"id-{text}",
        "thread_id": "t1",
        "counterparty": "fp-dawn",
        "counterparty_name": "Dawn",
        "text": text,
        "timestamp": "2026-04-28T12:00:00Z",
        "timestamp_ms": 1_777_377_600_000,
        "sender": "fp-dawn",
        **changes,
    }
    return Message(**fields)


def plan(messages: list[Message], known: set[bytes] | None = None, **changes: Any) -> Plan:
    asked: dict[str, Any] = {
        "known": Known(
            has_message=lambda key: key in (known or set()), has_topic=lambda _thread: False
        ),
        "ledger": NO_LEDGER,
        "layout": LAYOUT,
        "local_name": "echo",
        **changes,
    }
    return backfill.make_plan(messages, **asked)


def test_d4_1_to_4_topic_names() -> None:
    """D4-1, D4-2, D4-3, D4-4: the names of the reference."""
    assert topic_name("echo", "Dawn", "memory rot gates") == "echo↔Dawn — memory rot gates"
    assert topic_name("echo", "Dawn", "s" * 200).endswith("…")
    assert topic_name("echo", "Dawn", None) == "echo↔Dawn — thread"
    assert topic_name("echo", "Dawn", "a   b\t\nc").endswith("— a b c")


def test_d4_5_and_6_chunks() -> None:
    """D4-5, D4-6: a short text is one chunk; twice 3800 and 10 characters are three."""
    assert backfill.chunk_body("hello") == ["hello"]
    assert [len(c) for c in backfill.chunk_body("x" * (2 * 3800 + 10))] == [3800, 3800, 10]


def test_d4_7_to_9_grouping() -> None:
    """D4-7, D4-8, D4-9: by thread and time; nothing without a thread."""
    assert backfill.group_by_thread([]) == {}
    rows = [
        message("i1", timestamp_ms=2),
        message("o1", direction="out", timestamp_ms=3),
        message("s1", timestamp_ms=1),
        message("nowhere", thread_id=""),
    ]
    groups = backfill.group_by_thread(rows)
    assert [(m.text, m.direction) for m in groups["t1"]] == [
        ("s1", "in"),
        ("i1", "in"),
        ("o1", "out"),
    ]
    assert list(groups) == ["t1"]


def test_d4_10_to_12_the_counterparty() -> None:
    """D4-10, D4-11, D4-12: the first sender, else the first recipient, else unknown."""
    out = message("o", direction="out", counterparty="fp-out", counterparty_name="Out")
    assert backfill.counterparty_of([out, message()]) == ("fp-dawn", "Dawn")
    assert backfill.counterparty_of([out]) == ("fp-out", "Out")
    assert backfill.counterparty_of([]) == ("(unknown)", "(unknown)")


def test_d4_13_and_14_keys_of_the_ledger() -> None:
    """D4-13, D4-14: the id, else direction, time and opening words."""
    assert backfill.ledger_key(message(id="m-1")) == "m-1"
    assert (
        backfill.ledger_key(message("hello world", id="")) == "in:2026-04-28T12:00:00Z:hello world"
    )


def test_c_79_what_was_posted_live_is_not_posted_again() -> None:
    """C-79: the keys are those of live traffic."""
    old, new = message("old"), message("new")
    (thread,) = plan([old, new], {identity_key(old.identity)}).threads
    assert [m.text for m in thread.messages] == ["new"]


def test_the_originals_ledger_counts_as_posted() -> None:
    """What the original posted is not posted again, and its topic is used."""
    ledger = Ledger(posted={"t1": frozenset({"id-old"})}, topics={"t1": (7, "x")})
    (thread,) = plan([message("old"), message("new")], ledger=ledger).threads
    assert [m.text for m in thread.messages] == ["new"]
    assert [m.text for m in thread.posted] == ["old"]
    assert not thread.opens_topic


def test_c_81_seed_rows_without_ids_are_told_apart(tmp_path: Path) -> None:
    """C-81: same time, other words: two messages; the very same row twice: two, too."""
    row = {"threadId": "t1", "direction": "in", "timestamp": "2026-04-28T12:00:00Z", "text": "a"}
    path = tmp_path / "seed.json"
    path.write_text(json.dumps([row, {**row, "text": "b"}, row]))
    seeded = backfill.seed_messages(backfill.read_seed(path), "seed")
    assert len({m.id for m in seeded}) == 3
    again = backfill.seed_messages(backfill.read_seed(path), "seed")
    assert [m.id for m in seeded] == [m.id for m in again]


def test_c_81_seed_copies_of_logged_messages_are_left_out() -> None:
    """C-81: a seed row that says what the log says is not posted twice."""
    logged = message("hello")
    copy = message("hello", id="seed-x")
    other = message("other", id="seed-y")
    assert backfill.merge([logged], [copy, other]) == [logged, other]


@pytest.mark.parametrize("seed", ["null", "{", "{}", "[null]", '[{"threadId": "t"}]', "[1]"])
def test_a_seed_with_a_wrong_row_is_refused_whole(tmp_path: Path, seed: str) -> None:
    """C-81: null in a seed crashes nothing; the row is named."""
    path = tmp_path / "seed.json"
    path.write_text(seed)
    with pytest.raises(InstarError):
        backfill.read_seed(path)


@pytest.mark.parametrize("content", ["{", "[]", '{"threads": 7}'])
def test_c_77_a_broken_ledger_is_not_taken_for_empty(tmp_path: Path, content: str) -> None:
    """C-77: the ledger says what was posted; when it cannot be read nothing is posted."""
    path = tmp_path / "ledger.json"
    path.write_text(content)
    with pytest.raises(InstarError):
        backfill.read_ledger(path)


def test_c_82_the_time_is_told_honestly() -> None:
    """C-82: so many operations at the pace of a backfill, not at 240 a minute."""
    messages = [message("x" * 3500 + str(n), id=str(n)) for n in range(140)]
    asked = plan(messages)
    assert asked.operations == 141
    assert 600 < asked.seconds(GROUP_PACE) < 610


def test_no_create_leaves_out_threads_without_a_topic() -> None:
    """`--no-create` opens nothing."""
    asked = plan([message()], create=False)
    assert (asked.threads, asked.skipped_unbound) == ((), 1)


def test_asked_threads_without_messages_are_named() -> None:
    """A misspelt thread id is not silently nothing."""
    assert plan([message()], only=["t1", "t9"]).missing == ("t9",)


def fill(world: World, messages: list[Message]) -> int:
    """What the action does, on a world."""
    admitted = world.intake.admit(messages, world.intake.rules(), asked_for=True)
    return world.intake.enqueue(admitted, history=True)


def test_c_40_a_backfill_arrives_in_its_threads_topic(world: World) -> None:
    """C-40: history reaches the topic of its thread, which live traffic then uses."""
    fill(world, [message("first"), message("second", direction="out")])
    world.run()
    world.say("live", "t1", counterparty="fp-dawn")
    world.run()
    (topic,) = world.api.group.topics
    assert len(world.api.texts(topic)) == 2
    assert "live" in world.api.texts(topic)[1]


def test_c_77_c_78_run_twice_and_killed_it_posts_once(world: World) -> None:
    """C-77, C-78, Q9: killed half way and run again, each message is posted once, topics once."""
    messages = [message(f"history {n:03} " + "x" * 1500, id=str(n)) for n in range(40)]
    fill(world, messages)
    world.run(30)
    assert 0 < world.shown().count("history") < 40
    world.restart()
    assert fill(world, messages) == 0
    world.run()
    assert all(world.shown().count(f"history {n:03}") == 1 for n in range(40))
    assert len(world.api.group.topics) == 1


def test_c_85_history_is_redacted_and_goes_through_no_other_gate(world: World) -> None:
    """C-85: the text is what was said, but for credentials."""
    fill(world, [message("the key ghp_" + "a1B2" * 9)])
    world.run()
    assert "ghp_" not in world.shown()


def test_history_is_posted_while_the_bridge_is_off(world: World) -> None:
    """A backfill is asked for by name: it needs no switch, live traffic does."""
    world.on = False
    fill(world, [message("history")])
    world.run()
    assert "history" in world.shown()


def test_unclear_history_goes_on_while_the_bridge_is_off(world: World) -> None:
    """A lost answer does not stop a backfill until somebody switches the bridge on; live messages
    wait for that.
    """
    world.say("live", "t2", counterparty="ffff0000ffff0000")
    world.pull()
    world.on = False
    fill(world, [message("x" * 9000)])
    world.transport.faults = ["reset-after", None, "hang-after", None, None, "502-after"]
    world.run()
    assert world.waiting() == 1
    assert "(3/3)" in world.shown()
    assert "live" not in world.shown()


def test_history_of_denied_agents_is_left_alone(state_dir: Path) -> None:
    """A ban holds for a backfill, too."""
    rules = OPEN.__class__(enabled=True, deny_list=frozenset({"fp-dawn"}))
    world = World(state_dir, rules=rules)
    assert fill(world, [message("history")]) == 0
    assert world.outbox.waiting(TARGET) == (0, 0)
    world.close()


def test_usage_errors_are_usage_errors(tmp_path: Path) -> None:
    """A seed file that is not there is wrong usage."""
    with pytest.raises(UsageError):
        backfill.read_seed(tmp_path / "none.json")


def test_a_seed_with_a_byte_order_mark_is_read_like_any_other(tmp_path: Path) -> None:
    """What was found to be a list of messages is what is sent: the file is read once."""
    path = tmp_path / "seed.json"
    row = {"threadId": "t", "direction": "in", "timestamp": "2025-04-28T12:00:00Z", "text": "hi"}
    path.write_text(json.dumps([row]), encoding="utf-8-sig")
    assert backfill.read_seed(path) == [row]


def test_a_ledger_with_a_number_of_posted_messages_names_none(tmp_path: Path) -> None:
    """What is no list of keys is none, and no crash."""
    path = tmp_path / "ledger.json"
    path.write_text('{"threads": {"t1": {"topicId": 5, "posted": 3}}}')
    ledger = backfill.read_ledger(path)
    assert (ledger.posted["t1"], ledger.topics["t1"][0]) == (frozenset(), 5)
