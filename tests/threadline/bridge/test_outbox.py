"""The queue: what it remembers, whose turn it is, and what a transaction that fails leaves."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec
import pytest
from msgspec.structs import replace

from instar_threadline.bridge.flight import Flight
from instar_threadline.bridge.outbox import Limits
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


def park(world: World, number: int) -> None:
    world.outbox.add([row(world, number, words=f"letter {number}")])
    (parked,) = world.outbox.head(TARGET, "t:t1", 1)
    world.outbox.bury(parked, "refused")


def test_dead_letters_are_bounded_and_what_goes_is_counted(
    state_dir: Path,
) -> None:
    """The newest are kept for a person; how many older ones were let go of is said."""
    world = World(state_dir, limits=Limits(dead=3))
    for number in range(5):
        park(world, number)
    kept = [letter.row.body for letter in world.outbox.dead_letters()]
    assert kept == ["letter 4", "letter 3", "letter 2"]
    assert (world.counter("dead"), world.counter("forgotten")) == (3, 2)
    world.close()


def test_dead_letters_are_chosen_by_number_however_many_there_are(world: World) -> None:
    """In the order in which they were parked, and a number that is none is nobody's."""
    for number in range(4):
        park(world, number)
    ids = [letter.id for letter in reversed(world.outbox.dead_letters())]
    assert world.outbox.drop_dead([ids[1], 4711]) == 1
    assert world.outbox.retry_dead([ids[2], ids[0]]) == 2
    bodies = [one.body for one in world.outbox.head(TARGET, "t:t1", 9)]
    assert bodies == ["letter 0", "letter 2"]
    assert (world.counter("dead"), world.counter("dropped")) == (1, 1)
    assert world.outbox.retry_dead() == 1


def test_giving_up_what_waits_leaves_what_is_under_way(world: World) -> None:
    """History alone, or everything; it is accounted for and not queued again."""
    old = replace(row(world, 1, "t1"), history=True)
    world.outbox.add([old, row(world, 2, "t2"), row(world, 3, "t3")])
    (busy,) = world.outbox.head(TARGET, "t:t3", 1)
    world.outbox.connection.execute(
        "INSERT INTO flight VALUES (?, 'resting', ?)",
        (TARGET, msgspec.json.encode(Flight(kind="send", seqs=(busy.seq,)))),
    )
    assert world.outbox.drop_waiting(TARGET, history_only=True) == 1
    assert world.outbox.drop_waiting(TARGET, history_only=False) == 1
    assert world.outbox.waiting(TARGET)[0] == 1
    assert world.outbox.add([old]) == 0
    assert world.counter("dropped") == 2
