"""The queue: what it remembers, whose turn it is, and what a transaction that fails leaves."""

from __future__ import annotations

import apsw
import pytest

from instar_threadline.bridge.rows import Row, key_of
from instar_threadline.bridge.schema import lane_of
from tests.threadline.bridge.world import DAWN, TARGET, World

pytest_plugins = ["instar_host.testing"]

WORDS = "a message of more than twenty-four characters"


def row(world: World, number: int, thread: str = "t1", words: str = WORDS) -> Row:
    return Row(
        target=TARGET,
        lane=lane_of(thread),
        key=key_of(thread, number),
        thread_id=thread,
        direction="in",
        fingerprint=DAWN,
        body=words,
        queued_at_ms=world.clock.now_ms(),
    )


def add_in_vain(world: World, one: Row) -> None:
    """Add a row in a transaction that is not committed, as on a full disk."""
    world.outbox.connection.set_commit_hook(lambda: True)
    with pytest.raises(apsw.ConstraintError):
        world.outbox.add([one])
    world.outbox.connection.set_commit_hook(None)


def test_what_was_not_queued_was_not_said(world: World) -> None:
    """After a commit that failed the same message is queued with its words, not as a repetition
    of something that nobody has seen.
    """
    add_in_vain(world, row(world, 1))
    world.outbox.add([row(world, 1)])
    assert [one.body for one in world.outbox.head(TARGET, "t:t1", 9)] == [WORDS]


def test_the_same_words_soon_after_are_one_line(world: World) -> None:
    """A repetition within the window is a line, across transactions and within one."""
    world.outbox.add([row(world, 1)])
    world.outbox.add([row(world, 2), row(world, 3)])
    kinds = [one.kind for one in world.outbox.head(TARGET, "t:t1", 9)]
    assert kinds == ["message", "repeat", "repeat"]


def test_a_clock_that_was_put_back_is_no_repetition(world: World) -> None:
    """What was said at an instant that has not come yet tells nothing, and is forgotten."""
    world.outbox.add([row(world, 1)])
    world.clock.set(world.clock.now_ms() - 24 * 3600 * 1000)
    world.outbox.add([row(world, 2)])
    assert [one.kind for one in world.outbox.head(TARGET, "t:t1", 9)] == ["message"] * 2


def test_a_lane_that_fills_again_and_again_starves_nobody(world: World) -> None:
    """A thread that says one thing whenever it was served goes to the end of the line, too."""
    world.outbox.add([row(world, number, "long", f"long {number}") for number in range(5)])
    served: list[str] = []
    for number in range(8):
        if not world.outbox.head(TARGET, "t:short", 1):
            world.outbox.add([row(world, number, "short", f"short {number}")])
        (first,) = world.outbox.pick(TARGET, 1)
        world.outbox.settle([first], "sent")
        world.outbox.served(TARGET, first.lane)
        served.append(first.lane)
    assert served.count("t:long") >= 4
