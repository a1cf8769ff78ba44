"""Backfill: what the reference's tests say, and none of its defects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from instar_host.errors import InstarError, UsageError
from instar_threadline.bridge import backfill
from instar_threadline.bridge.backfill import Ledger
from instar_threadline.bridge.history import History, State, ThreadHistory
from instar_threadline.bridge.planning import Planner
from instar_threadline.bridge.render import Layout, topic_name
from instar_threadline.bridge.target import GROUP_PACE
from instar_threadline.messages import Message
from tests.threadline.bridge.fake_bot_api import BotApi, FakeTopic
from tests.threadline.bridge.stage import MakeStage
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


def past(*messages: Message, known: Sequence[Message] = ()) -> History:
    """A history of messages that are all new but for those that are known."""
    history = History(lambda _position, _integrity: None)
    for one in messages:
        history.add(one, "known" if one in known else "new")
    return history


def planner(ledger: Ledger = NO_LEDGER, *, create: bool = True) -> Planner:
    return Planner(
        has_topic=lambda _thread: False,
        ledger=ledger,
        layout=LAYOUT,
        local_name="echo",
        create=create,
    )


def texts(history: History, state: State = "new") -> list[str]:
    (thread,) = history.threads()
    return [found.text for found in history.messages(thread, state)]


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
    assert list(past().threads()) == []
    history = past(
        message("i1", timestamp_ms=2),
        message("o1", direction="out", timestamp_ms=3),
        message("s1", timestamp_ms=1),
        message("nowhere", thread_id=""),
    )
    assert texts(history) == ["s1", "i1", "o1"]
    (thread,) = history.threads()
    assert (thread.thread_id, thread.total, thread.inbound) == ("t1", 3, 2)


def test_d4_10_to_12_the_counterparty() -> None:
    """D4-10, D4-11, D4-12: the first sender, else the first recipient, else unknown."""
    out = message("o", direction="out", counterparty="fp-out", counterparty_name="Out")
    for messages, expected in (
        ((out, message()), ("fp-dawn", "Dawn")),
        ((out,), ("fp-out", "Out")),
    ):
        history = past(*messages)
        (thread,) = history.threads()
        assert history.counterparty(thread) == expected
    lost = ThreadHistory(number=9, thread_id="t9", total=0, inbound=0, new=0, posted=0)
    assert past().counterparty(lost) == ("(unknown)", "(unknown)")


def test_d4_13_and_14_keys_of_the_ledger() -> None:
    """D4-13, D4-14: the id, else direction, time and opening words."""
    assert backfill.ledger_key(message(id="m-1")) == "m-1"
    assert (
        backfill.ledger_key(message("hello world", id="")) == "in:2026-04-28T12:00:00Z:hello world"
    )
    faces = message("\U0001f600" * 40, id="")
    assert backfill.ledger_key(faces).endswith("Z:" + "\U0001f600" * 16), "units of UTF-16"


def test_c_79_what_was_posted_live_is_not_posted_again(make_stage: MakeStage, api: BotApi) -> None:
    """C-79: the keys are those of live traffic."""
    stage = make_stage()
    stage.say("live")
    stage.work()
    stage.plugin.service(stage.host).bridge_settings.update({"enabled": False})
    stage.say("while off")
    stage.work(1)
    answer = stage.call("POST", "/threadline/bridge/backfill", {})
    assert (answer["messages"], answer["threads"][0]["known"]) == (1, 1)
    stage.work()
    shown = "\n".join(one.text for one in api.group.messages)
    assert (shown.count("live"), shown.count("while off")) == (1, 1)


def test_the_originals_ledger_counts_as_posted(
    make_stage: MakeStage, state_dir: Path, api: BotApi
) -> None:
    """What the original posted is not posted again, its topic is used, also by its own agent."""
    stage = make_stage(config={"projectName": "echo", "threadline": {"telegramBridge": {}}})
    stage.say("old", id="id-old")
    stage.say("new")
    stage.work(1)
    entry = {"topicId": 7, "topicName": "half a \ud83d", "posted": ["id-old"]}
    ledger = {"threads": {"t1": entry, "half \ud83d": entry, "huge": {"topicId": 1 << 70}}}
    (state_dir / backfill.LEDGER_FILE).write_text(json.dumps(ledger))
    api.group.topics[7] = FakeTopic(id=7, name="x", color=0)
    answer = stage.call("POST", "/threadline/bridge/backfill", {})
    assert (answer["messages"], answer["topics"], answer["queued"]) == (1, 0, 1)
    stage.plugin.service(stage.host).bridge_settings.update({"enabled": True})
    stage.say("live, of the agent whose topic it is")
    stage.work()
    shown = "\n".join(api.texts(7))
    assert "old" not in shown
    assert ("new" in shown, "live, of" in shown) == (True, True)


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
    again = message("other words", id="seed-z")
    seeded = backfill.Seeded([copy, other, again])
    seeded.seen(logged)
    seeded.seen(message("said otherwise", id="seed-z"))
    assert seeded.left() == [other]


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
    asked = planner().plan(past(*messages))
    assert asked.operations == 141
    assert 600 < asked.seconds(GROUP_PACE) < 610


def test_no_create_leaves_out_threads_without_a_topic() -> None:
    """`--no-create` opens nothing."""
    asked = planner(create=False).plan(past(message()))
    assert (asked.threads, asked.skipped_unbound) == ((), 1)


def test_asked_threads_without_messages_are_named() -> None:
    """A misspelt thread id is not silently nothing."""
    assert planner().plan(past(message()), ["t1", "t9"]).missing == ("t9",)


def fill(world: World, messages: list[Message]) -> int:
    """What the action does, on a world."""
    admitted = world.intake.admit(messages, world.intake.rules(), asked_for=True)
    return world.intake.enqueue(admitted, history=True)[TARGET]


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
