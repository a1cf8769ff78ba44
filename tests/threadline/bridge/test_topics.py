"""Topics: a budget, a hub, and what happens when they are deleted, closed or impossible."""

from __future__ import annotations

from pathlib import Path

import pytest

from instar_threadline.bridge.topics import Budget
from tests.threadline.bridge.fake_bot_api import FakeChat
from tests.threadline.bridge.world import World

pytest_plugins = ["instar_host.testing"]

DAY_MS = 24 * 3600 * 1000


def only_topic(world: World) -> int:
    (topic,) = world.api.group.topics
    return topic


def test_b_22_a_thousand_new_threads_open_at_most_the_budget(world: World) -> None:
    """B-22: a burst of 1,000 threads opens 12 topics and the hub; every message arrives."""
    for number in range(1000):
        world.say(f"hello from {number:04}", f"t{number}", counterparty=f"{number % 300:08}peer")
    world.run()
    assert len(world.api.group.topics) == Budget().total + 1
    shown = world.shown()
    assert all(f"hello from {number:04}" in shown for number in range(1000))
    assert world.waiting() == 0


def test_one_agent_cannot_use_up_the_budget_of_others(world: World) -> None:
    """The budget has a part per agent: eight topics for one, then the hub; another still opens
    one.
    """
    for number in range(20):
        world.say(f"flood {number}", f"t{number}")
    world.say("me too", "other", counterparty="ffff0000ffff0000")
    world.run()
    names = [topic.name for topic in world.api.group.topics.values()]
    assert sum("a1b2c3d4" in name for name in names) == Budget().per_agent
    assert sum("ffff0000" in name for name in names) == 1


def test_messages_in_the_hub_say_which_thread_they_are_of(state_dir: Path) -> None:
    """A message in the shared topic carries the name of its thread."""
    world = World(state_dir, budget=Budget(per_agent=0, total=0))
    world.say("hi", "t9")
    world.run()
    (text,) = world.api.texts(only_topic(world))
    assert text.startswith("🧵 echo↔Dawn — hi · a1b2c3d4\n📥 Dawn")
    world.close()


@pytest.mark.parametrize(
    ("on_deleted", "landed"), [("recreate", True), ("hub", True), ("mute", False)]
)
def test_c_49_a_deleted_topic_is_handled_by_policy(
    state_dir: Path, on_deleted: str, landed: bool
) -> None:
    """C-49, B-37: after its topic was deleted a thread gets a new one, shares the hub, or is
    mute.
    """
    world = World(state_dir, on_deleted=on_deleted)
    world.say("one")
    world.run()
    world.api.group.topics.clear()
    world.say("two")
    world.say("three")
    world.run()
    assert ("two" in world.shown()) is landed
    assert world.waiting() == 0
    names = [topic.name for topic in world.api.group.topics.values()]
    assert any("Threadline" in name for name in names) == (on_deleted == "hub")
    world.close()


def test_a_closed_topic_is_reopened(world: World) -> None:
    """A topic that we may not write into because it is closed is opened again, once."""
    world.say("one")
    world.run()
    topic = world.api.group.topics[only_topic(world)]
    topic.closed, topic.by_bot = True, False
    world.say("two")
    world.run()
    assert not topic.closed
    assert "two" in world.shown()


@pytest.mark.parametrize("obstacle", ["no forum", "no right"])
def test_without_topics_everything_arrives_in_general(world: World, obstacle: str) -> None:
    """In a group without topics, or without the right to make them, messages arrive with
    labels.
    """
    world.api.group.forum = obstacle != "no forum"
    world.api.group.can_manage_topics = obstacle != "no right"
    world.say("one")
    world.say("two", "t2")
    world.run()
    assert "one" in world.shown()
    assert "two" in world.shown()
    assert world.api.group.topics == {}


def test_once_topics_are_possible_threads_get_them(world: World) -> None:
    """No obstacle is latched: after the right was granted the thread's next message opens a
    topic.
    """
    world.api.group.can_manage_topics = False
    world.say("one")
    world.run()
    world.api.group.can_manage_topics = True
    world.clock.advance(3600)
    world.say("two")
    world.run()
    assert any("Dawn" in topic.name for topic in world.api.group.topics.values())


def test_a_migrated_group_is_followed(world: World) -> None:
    """The new chat id is kept: the message arrives there, also after a restart."""
    world.api.chats[-100999] = FakeChat(id=-100999)
    world.api.group.migrated_to = -100999
    world.say("one")
    world.run()
    world.restart()
    world.say("two")
    world.run()
    assert "one" in world.shown(-100999)
    assert "two" in world.shown(-100999)


def test_a_clock_that_was_put_back_gives_the_budget_back(state_dir: Path) -> None:
    """Topics opened at instants that have not come yet do not use up the budget until then."""
    world = World(state_dir, budget=Budget(per_agent=1, total=1))
    world.clock.set(world.clock.now_ms() + 10 * 365 * DAY_MS)
    world.say("from the future", "t1")
    world.run()
    world.clock.set(world.clock.now_ms() - 10 * 365 * DAY_MS)
    world.say("now", "t2")
    world.run()
    assert len(world.api.group.topics) == 2
    assert world.counter("over-budget") == 0
    world.close()


def test_a_pause_under_a_clock_far_ahead_ends_with_it(world: World) -> None:
    """A pause that began under a clock far ahead does not last until then; one of a week does."""
    world.say()
    world.pull()
    ahead_ms = 10 * 365 * DAY_MS
    with world.outbox.transaction() as db:
        db.execute("UPDATE target SET blocked_until_ms = ?", (world.clock.now_ms() + 7 * DAY_MS,))
    assert world.worker.step() == 7 * DAY_MS / 1000
    with world.outbox.transaction() as db:
        db.execute("UPDATE target SET blocked_until_ms = ?", (world.clock.now_ms() + ahead_ms,))
    world.run(60)
    assert "hello" in world.shown()
