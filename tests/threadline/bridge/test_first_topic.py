"""The very first topic of a group: made once, even when the process dies around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.threadline.bridge.test_faults import DeadlyTransport, work_through
from tests.threadline.bridge.world import World

pytest_plugins = ["instar_host.testing"]

MANY_DEATHS: list[list[str | None]] = [
    [None, "before"],
    [None, "after"],
    ["after", "after"],
    ["before", "after", None, "after"],
    [None, "after", "after"],
    [None, "after", "before", "after"],
]


@pytest.fixture
def world(state_dir: Path) -> Iterator[World]:
    made = World(state_dir, greeted=False)
    yield made
    made.close()
    assert made.api.violations == []


def greetings(world: World) -> list[str]:
    return [text for text in world.api.texts(None) if text.startswith("🧵")]


def test_a_group_is_told_once_what_the_bot_is_for(world: World) -> None:
    """One silent message outside of topics before the first topic, never again."""
    world.say("one")
    world.run()
    world.restart()
    world.say("two", "t2")
    world.run()
    (text,) = greetings(world)
    assert "echo" in text
    assert world.api.group.messages[0].silent
    assert world.api.calls[0][0] == "sendMessage"
    assert len(world.api.group.topics) == 2


@pytest.mark.parametrize("kills", MANY_DEATHS, ids=str)
def test_q4_a_death_around_the_first_topic_of_all_leaves_no_twin(
    world: World, kills: list[str | None]
) -> None:
    """Q4: no id of the chat was known, and createForumTopic was answered to a dead process."""
    transport = DeadlyTransport(world.api)
    transport.kills = list(kills)
    world.transport = transport
    world.restart()
    world.say("hello")
    work_through(world)
    assert Counter(topic.name for topic in world.api.group.topics.values()).total() == 1
    assert "hello" in world.shown()
    assert world.counter("topics-possibly-orphaned") == 0


def test_what_people_wrote_meanwhile_may_hide_a_topic_and_that_is_counted(world: World) -> None:
    """Nothing lists topics: one that lies behind others' messages is not found, and told."""
    world.say("hello")
    transport = DeadlyTransport(world.api)
    transport.kills = [None, "after"]
    world.transport = transport
    world.restart()
    work_through_chatter(world)
    assert world.counter("topics-possibly-orphaned") == len(world.api.group.topics) - 1 == 1


def work_through_chatter(world: World) -> None:
    """As `work_through`, in a group where people write between any two calls."""
    original = world.api.call

    def chatty(method: str, fields: dict[str, object]) -> object:
        if method == "createForumTopic":
            world.api.group.last_id += 50
        return original(method, fields)

    world.api.call = chatty  # type: ignore[method-assign]
    work_through(world)


def test_where_the_general_topic_is_closed_there_is_no_greeting(world: World) -> None:
    """A greeting that is not allowed is left out; topics and messages come all the same."""
    world.api.group.general_closed, world.api.group.status = True, "member"
    world.say("hello")
    world.run()
    assert greetings(world) == []
    assert "hello" in world.shown()
    assert world.waiting() == 0


def test_a_closed_general_topic_pauses_what_has_no_other_place(world: World) -> None:
    """No right to make topics, no right to write outside of them: a pause with a reason."""
    world.api.group.can_manage_topics = False
    world.api.group.general_closed, world.api.group.status = True, "member"
    world.say("hello")
    world.run(60)
    paused = str(world.outbox.connection.execute("SELECT paused FROM target").get)
    assert "general topic is closed" in paused
    world.api.group.general_closed = False
    world.worker.resume()
    world.run()
    assert "hello" in world.shown()
