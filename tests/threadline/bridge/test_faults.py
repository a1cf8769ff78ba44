"""Whatever fails, and whenever the process dies: nothing is lost, nothing overtakes, repeats
say so.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instar_threadline.bridge.render import REPEAT_MARK
from instar_threadline.bridge.rows import Row, key_of
from instar_threadline.bridge.schema import lane_of
from tests.threadline.bridge.fake_bot_api import (
    GROUP,
    BotApi,
    FakeChat,
    FakeMessage,
    Fault,
    RefusedError,
)
from tests.threadline.bridge.law import check_everything_arrived
from tests.threadline.bridge.world import DAWN, ApiTransport, World

pytest_plugins = ["instar_host.testing"]

FAULTS: list[Fault | None] = [
    None, None, "reset-before", "reset-after", "502-before", "502-after", "hang-after", "garbage",
]  # fmt: skip


class KilledError(BaseException):
    """The process dies here."""


class DeadlyTransport(ApiTransport):
    """Dies before or after the effect when told to."""

    def __init__(self, api: BotApi) -> None:
        super().__init__(api)
        self.kills: list[str | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        kill = self.kills.pop(0) if self.kills else None
        if kill == "before":
            raise KilledError
        answer = super().handle_request(request)
        if kill == "after":
            raise KilledError
        return answer


def deadly(state_dir: Path) -> tuple[World, DeadlyTransport]:
    world = World(state_dir)
    transport = DeadlyTransport(world.api)
    world.transport = transport
    world.titles = lambda thread: thread.thread_id
    world.restart()
    return world, transport


def work_through(world: World) -> None:
    """Work until nothing is left, beginning again after each death."""
    for _ in range(500):
        try:
            world.run()
        except KilledError:
            world.clock.advance(1)
            world.restart()
        else:
            return
    raise AssertionError("the work never ends")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=25),
    st.lists(st.sampled_from(FAULTS), max_size=25),
    st.lists(st.sampled_from([None, None, None, "before", "after"]), max_size=30),
)
def test_q1_nothing_is_lost_reordered_or_silently_repeated(
    threads: list[str], faults: list[Fault | None], kills: list[str | None]
) -> None:
    """Q1: any mix of faults and deaths, at any call: everything arrives, in order, repeats
    marked.
    """
    with tempfile.TemporaryDirectory() as folder:
        world, transport = deadly(Path(folder))
        said: Counter[str] = Counter()
        for index, thread in enumerate(threads):
            world.say(f"[{thread}:{said[thread]}] " + "x" * (700 * (index % 6)), thread)
            said[thread] += 1
        transport.faults = list(faults)
        transport.kills = list(kills)
        work_through(world)
        check_everything_arrived(world.api, dict(said))
        assert world.waiting() == 0
        world.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["before", "after"]), max_size=4))
def test_q4_a_death_around_making_a_topic_leaves_one_topic(kills: list[str]) -> None:
    """Q4: the process dies around createForumTopic, any number of times: one topic per thread."""
    with tempfile.TemporaryDirectory() as folder:
        world, transport = deadly(Path(folder))
        world.say("[a:0] seen id", "a")
        work_through(world)
        world.say("[b:0] new", "b")
        transport.kills = list(kills)
        work_through(world)
        names = Counter(topic.name for topic in world.api.group.topics.values())
        assert all(count == 1 for count in names.values())
        assert len(names) == 2
        world.close()


@pytest.fixture
def world(state_dir: Path) -> Iterator[World]:
    made = World(state_dir)
    made.say("opening")
    made.run()
    yield made
    made.close()


def test_c_47_an_unclear_attempt_is_resolved_before_anything_else(world: World) -> None:
    """C-47: after a timeout the very same words go first, whatever else has become due."""
    world.say("unclear")
    world.transport.faults = ["hang-after"]
    world.pull()
    world.clock.advance(3)
    world.worker.step()
    world.say("urgent @human", "t2", counterparty="ffff0000ffff0000")
    world.run()
    texts = [message.text for message in world.api.group.messages]
    assert ["unclear" in text for text in texts[:3]] == [False, True, True]
    assert [REPEAT_MARK in text for text in texts[:3]] == [False, False, True]


def test_an_attempt_that_never_landed_is_not_marked(world: World) -> None:
    """When the next id is the one expected, the first attempt never landed: no mark, no alarm."""
    world.say("unclear")
    world.transport.faults = ["reset-before"]
    world.run()
    assert world.shown().count("unclear") == 1
    assert REPEAT_MARK not in world.shown()


def test_a_copy_that_lands_late_is_found_by_the_gap_it_leaves(world: World) -> None:
    """The lost first attempt lands after its repetition: the next id shows it, and it is
    marked.
    """
    world.say("unclear")
    world.transport.faults = ["reset-before"]
    world.run()
    late = world.api.group.messages[-1]
    world.api.call("sendMessage", {"chat_id": world.api.group.id, "text": late.text})
    world.say("next")
    world.run()
    assert REPEAT_MARK in late.text


def test_an_outage_of_a_day_loses_nothing_and_does_not_hammer(world: World) -> None:
    """Full-jitter back-off: a day without a network is a few hundred attempts, then all
    arrives.
    """
    world.transport.faults = ["502-before"] * 100_000
    for number in range(20):
        world.say(f"during the outage {number:02}")
    began = len(world.api.calls)
    world.run(24 * 3600)
    spent = 100_000 - len(world.transport.faults)
    assert 100 < spent < 2000
    assert len(world.api.calls) == began
    world.transport.faults.clear()
    world.run()
    assert all(f"outage {number:02}" in world.shown() for number in range(20))


def test_topics_are_not_made_again_and_again_when_answers_never_come(world: World) -> None:
    """Q2: a create whose answer is always lost is given up after a few, and the hub is no exit."""
    world.transport.faults = ["502-after"] * 200
    world.say("new", "t2", counterparty="ffff0000ffff0000")
    world.run(3600)
    made = [method for method, _ in world.api.calls if method == "createForumTopic"]
    assert len(made) <= 8


def test_a_backlog_behind_a_pause_of_an_hour(world: World) -> None:
    """10,000 messages behind a 429 of an hour, then a live one: silence, then the live one
    first.
    """
    world.api.refusals.append(RefusedError(429, "Too Many Requests", retry_after=3600))
    for number in range(10_000):
        world.say(f"backlog {number:05}", f"t{number % 4}")
    world.pull()
    world.clock.advance(3)
    world.worker.step()
    calls = len(world.api.calls)
    world.run(3500)
    assert len(world.api.calls) == calls
    world.say("live and urgent", "fresh", counterparty="ffff0000ffff0000")
    world.run(200)
    assert "live and urgent" in world.shown()
    assert world.waiting() > 1000
    world.run()
    shown = world.shown()
    positions = [shown.find(f"backlog {number:05}") for number in range(10_000)]
    assert min(positions) >= 0
    for thread in range(4):
        mine = positions[thread::4]
        assert mine == sorted(mine)


def test_a_clock_put_back_by_days_makes_no_days_of_a_second(world: World) -> None:
    """A wait that was begun at an instant to come begins anew, and takes as long as it was to."""
    world.transport.faults = ["502-before"]
    world.say("hello again")
    world.run(2)
    world.clock.set(world.clock.now_ms() - 3 * 24 * 3600 * 1000)
    assert 0 < world.worker.step() < 10
    world.run(60)
    assert "hello again" in world.shown()


def test_a_clock_put_back_shortens_no_pause_of_telegram(world: World) -> None:
    """All of the time that Telegram asked for passes, whatever the clock says."""
    world.api.refusals.append(RefusedError(429, "Too Many Requests", retry_after=3600))
    world.say("hello again")
    world.run(2)
    calls = len(world.api.calls)
    world.clock.set(world.clock.now_ms() - 24 * 3600 * 1000)
    world.run(3590)
    assert len(world.api.calls) == calls
    world.run(60)
    assert "hello again" in world.shown()


@pytest.mark.parametrize("how", ["upgraded", "configured"])
def test_a_correction_is_for_the_chat_of_its_message(world: World, how: str) -> None:
    """In another chat the same id is another message, which is not written over."""
    world.say("unclear")
    world.transport.faults = ["reset-before"]
    while not world.corrections():
        world.run(1, steps=1)
    wanted = world.outbox.connection.execute("SELECT message_id FROM correction").get
    other = FakeMessage(id=int(str(wanted)), topic_id=None, text="something else")
    new = FakeChat(id=-5, messages=[other], last_id=other.id)
    world.api.chats[new.id] = new
    if how == "upgraded":
        world.api.group.migrated_to = new.id
    else:
        world.api.chats[GROUP] = new
        world.outbox.connection.execute("UPDATE target SET configured_chat_id = -9, chat_id = -9")
        world.restart()
    world.say("next")
    world.run()
    assert other.edits == []
    assert any("next" in message.text for message in new.messages)
    assert world.waiting() == 0


@pytest.mark.faults
def test_q5_a_live_message_passes_a_hundred_thousand(world: World) -> None:
    """Q5: behind 100,000 messages of history a live one arrives within five seconds."""
    rows = [
        Row(
            target="telegram",
            lane=lane_of(f"t{number % 20}"),
            key=key_of("history", number),
            thread_id=f"t{number % 20}",
            direction="in",
            fingerprint=DAWN,
            body=f"history {number}",
            queued_at_ms=0,
            history=True,
        )
        for number in range(100_000)
    ]
    assert world.outbox.add(rows) == 100_000
    world.run(60)
    world.say("live", "fresh", counterparty="ffff0000ffff0000")
    world.run(5)
    assert "live" in world.shown()
    assert world.waiting() > 90_000


def test_a_port_that_raises_anything_is_unclear(world: World) -> None:
    """An error that is none of ours counts as "nobody knows", never as sent or as refused."""

    class Broken(ApiTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            super().handle_request(request)
            raise ZeroDivisionError

    world.transport = Broken(world.api)
    world.restart()
    world.say("unclear")
    world.run(60, steps=4)
    world.transport = ApiTransport(world.api)
    world.restart()
    world.run()
    copies = [m.text for m in world.api.group.messages if "unclear" in m.text]
    assert sum(REPEAT_MARK not in text for text in copies) == 1
