"""How attempts end: corrections that cannot be made, doubts kept, ends that nobody wrote down."""

from __future__ import annotations

from collections.abc import Callable

import apsw
import pytest

from instar_threadline.bridge.render import REPEAT_MARK
from instar_threadline.messages import Message
from tests.threadline.bridge.fake_bot_api import FakeChat, RefusedError
from tests.threadline.bridge.world import World

pytest_plugins = ["instar_host.testing"]

NEW = -1009999999999


def doubtful(world: World, words: str = "in doubt") -> None:
    """Send a message of a thread that has its topic; it arrives, and the answer is lost."""
    world.say("opening")
    world.run()
    world.say(words)
    world.pull()
    world.transport.faults = ["reset-after"]
    world.clock.advance(60)
    world.worker.step()


@pytest.mark.parametrize(
    "words", ["Bad Request: TOPIC_CLOSED", "Bad Request: the chat is not a forum"]
)
def test_a_correction_that_is_refused_is_given_up(world: World, words: str) -> None:
    """It stands in nobody's way: neither the queue's, nor that of the topic that others share."""
    world.say("one", thread="")
    world.run()
    hub = world.topics.hub("telegram")
    world.transport.faults = ["reset-before"]
    world.say("two", thread="")
    world.pull()
    world.clock.advance(60)
    world.worker.step()
    while not world.corrections():
        world.clock.advance(world.worker.step() or 1)
    world.api.refusals.append(RefusedError(400, words))
    world.say("three", thread="")
    world.run()
    assert not world.corrections()
    assert "three" in world.shown()
    assert world.topics.hub("telegram") == hub


def test_an_end_that_could_not_be_written_down_is_a_doubt(world: World) -> None:
    """Q3: the chat has it, the disk is full, the process goes on: the second copy is marked."""
    world.say("opening")
    world.run()
    world.say("twice")
    world.pull()
    world.clock.advance(60)
    commits: list[int] = []

    def full() -> bool:
        commits.append(1)
        return len(commits) == 2  # the end of the attempt, not its beginning

    world.outbox.connection.set_commit_hook(full)
    with pytest.raises(apsw.ConstraintError):
        world.worker.step()
    world.outbox.connection.set_commit_hook(None)
    world.run()
    copies = [m.text for m in world.api.group.messages if "twice" in m.text]
    assert [REPEAT_MARK in text for text in copies] == [False, True]


def _migrates(world: World) -> None:
    world.api.chats[NEW] = FakeChat(id=NEW)
    world.api.group.migrated_to = NEW


def _closes(world: World) -> None:
    for topic in world.api.group.topics.values():
        topic.closed, topic.by_bot = True, False


@pytest.mark.parametrize("happens", [_migrates, _closes])
def test_a_doubt_survives_the_loss_of_the_place(
    world: World, happens: Callable[[World], None]
) -> None:
    """What may have arrived says so wherever it is sent to at last."""
    doubtful(world)
    happens(world)
    world.run()
    texts = [m.text for chat in world.api.chats.values() for m in chat.messages]
    copies = [text for text in texts if "in doubt" in text]
    assert len(copies) == 2
    assert sum(REPEAT_MARK in text for text in copies) == 1


def test_a_resumption_between_two_looks_is_not_undone(world: World) -> None:
    """A person resumes while a plugin votes: topics stay unblocked afterwards."""
    world.say("opening")
    world.run()
    world.say("next")
    world.pull()
    with world.outbox.transaction() as db:
        db.execute("UPDATE target SET topics_blocked = 'x', topics_blocked_until_ms = 1 << 50")

    def resumed(_message: Message) -> bool:
        world.worker.resume()
        return False

    world.vetoes = resumed
    world.clock.advance(60)
    world.worker.step()
    blocked = world.outbox.connection.execute("SELECT topics_blocked FROM target").get
    assert blocked == ""
