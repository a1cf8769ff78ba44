"""From the log into the queue: what plugins are asked, when, and what of their words is kept."""

from __future__ import annotations

import threading

from instar_threadline.messages import Thread
from tests.threadline.bridge.test_backfill import message
from tests.threadline.bridge.world import TARGET, World

pytest_plugins = ["instar_host.testing"]


def test_plugins_are_asked_outside_the_transaction(world: World) -> None:
    """A plugin that takes its time over a title holds up nobody: the queue is free meanwhile."""
    held: list[bool] = []

    def title(_thread: Thread) -> str:
        free: list[bool] = []

        def look() -> None:
            free.append(world.outbox.lock.acquire(blocking=False))
            if free[0]:
                world.outbox.lock.release()

        other = threading.Thread(target=look)
        other.start()
        other.join()
        held.append(not free[0] or world.outbox.connection.in_transaction)
        return "a title"

    world.titles = title
    world.say("one", "t1")
    world.say("two", "t1")
    world.run()
    assert held
    assert not any(held)
    assert [topic.name for topic in world.api.group.topics.values()] == [
        "echo↔Dawn — a title · a1b2c3d4"
    ]


def test_an_outcome_is_redacted_like_a_text(world: World) -> None:
    """Errors quote what was tried, addresses with passwords among it; a redactor that fails blocks
    them, too.
    """
    world.say("opening")
    world.run()
    world.say("hi", direction="out", outcome="error: https://me:hunter2hunter2@relay failed")
    world.run()
    assert "hunter2" not in world.shown()
    assert "outcome: error: https://⟦redacted:url-password⟧@relay" in world.shown().replace(
        "\u2060", ""
    )

    def refuse(text: str) -> str:
        if "private" in text:
            raise ValueError
        return text

    world.chain = [("theirs", refuse)]
    world.say("words", direction="out", outcome="error: private")
    world.run()
    assert "private" not in world.shown()
    assert "the redactor theirs failed" in world.shown()


def test_two_admissions_at_once_count_each_for_itself(world: World) -> None:
    """The feed admits while a backfill does: what one has counted is not the other's to store."""
    world.rules = world.rules.__class__(enabled=True)
    of_feed = world.intake.admit([message("refused")], world.intake.rules())
    world.intake.enqueue(world.intake.admit([message("asked")], world.rules, asked_for=True))
    assert world.counter("refused-auto-create-disallowed") == 0
    world.intake.enqueue(of_feed)
    assert world.counter("refused-auto-create-disallowed") == 1
    assert world.outbox.waiting(TARGET)[0] == 1
