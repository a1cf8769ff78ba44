"""A plan: any length of history in the same memory, and nothing that the queue would lose."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC
from pathlib import Path
from typing import Any

from instar_threadline.bridge import backfill
from instar_threadline.bridge.history import History
from instar_threadline.bridge.planning import Plan, Planner, banner_text
from instar_threadline.bridge.render import Layout
from instar_threadline.messages import Integrity, Message, Position
from tests.threadline.bridge.fake_bot_api import BotApi
from tests.threadline.bridge.stage import MakeStage, Stage

pytest_plugins = ["instar_host.testing"]

BACKFILL = "/threadline/bridge/backfill"
PLANNER = Planner(
    has_topic=lambda _thread: False,
    ledger=backfill.Ledger(posted={}, topics={}),
    layout=Layout(now_ms=1_777_629_600_000, zone=UTC),
    local_name="echo",
)


def logged(position: Position, integrity: Integrity = "ok") -> Message:
    """What a log would have at a place."""
    number = position.offset
    return Message(
        direction=position.direction,
        id=f"m-{number}",
        thread_id=f"t{number % 3}",
        counterparty="fp-dawn",
        text=f"message {number} " + "of some length " * 6,
        timestamp="",
        timestamp_ms=1_777_000_000_000 + number,
        sender="fp-dawn",
        integrity=integrity,
        position=position,
    )


def planned(count: int) -> tuple[Plan, int]:
    """The plan for so many messages, and the most memory that it took, in bytes."""
    tracemalloc.start()
    try:
        with History(logged) as history:
            for number in range(count):
                place = Position(direction="in", segment=1, offset=number, length=9)
                history.add(logged(place), "new")
            plan = PLANNER.plan(history)
        return plan, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_plan_takes_no_more_memory_for_more_messages() -> None:
    """Four times the history is planned in the same memory, and is four times the work."""
    planned(50)  # what is made once, at the first use
    short, little = planned(1000)
    long, much = planned(4000)
    assert (short.messages, long.messages) == (1000, 4000)
    assert 3.5 < long.operations / short.operations < 4.5
    assert much < 1.2 * little


def test_what_the_log_no_longer_has_is_left_out() -> None:
    """A log that is rewritten while a backfill is planned takes its messages along."""
    with History(lambda _position, _integrity: None) as history:
        history.add(logged(Position(direction="in", segment=1, offset=1, length=9)), "new")
        (thread,) = history.threads()
        assert list(history.messages(thread, "new")) == []
        words = banner_text(thread, *history.counterparty(thread), history.span(thread))
        assert "Span: unknown → unknown" in words


def off(**bridge: Any) -> dict[str, Any]:
    return {"projectName": "echo", "threadline": {"bridge": bridge}}


def history_of(stage: Stage, count: int) -> None:
    for number in range(count):
        stage.say(f"[history {number:02}]", f"t{number % 2}")
    stage.work(1)


def test_a_backfill_never_fills_the_queue_to_the_brim(make_stage: MakeStage, api: BotApi) -> None:
    """What a full queue would let go of is left in the log, said, and queued the next time."""
    stage = make_stage(config=off(maxQueuedMessages=10))
    history_of(stage, 30)
    answer = stage.call("POST", BACKFILL, {})
    assert 0 < answer["queued"] < 10
    assert answer["queued"] + answer["left"] == answer["messages"] == 30
    rounds = 0
    while answer["left"]:
        stage.work()
        answer = stage.call("POST", BACKFILL, {})
        rounds += 1
    stage.work()
    shown = "\n".join(message.text for message in api.group.messages)
    assert rounds < 10
    assert [shown.count(f"[history {number:02}]") for number in range(30)] == [1] * 30
    assert "are missing here" not in shown


def test_a_message_for_two_ways_out_is_queued_once(make_stage: MakeStage) -> None:
    """What was queued is counted in messages of the chat, whoever else gets them."""
    stage = make_stage(config=off(jsonlFile="mirror.jsonl"))
    history_of(stage, 4)
    assert stage.call("POST", BACKFILL, {})["queued"] == 4
    assert stage.bridge.open().outbox.waiting("sink:jsonl")[0] == 4


def test_halves_of_characters_in_a_seed_are_no_crash(tmp_path: Path) -> None:
    """JSON may spell them, no database takes them: they are shown as what they are."""
    path = tmp_path / "seed.json"
    row = {"direction": "in", "timestamp": "2025-04-28T12:00:00Z"}
    half = "half \ud83d"
    path.write_text(json.dumps([{**row, "threadId": half, "text": half, "remoteAgentName": half}]))
    (message,) = backfill.seed_messages(backfill.read_seed(path), "seed")
    with History(logged) as history:
        history.add(message, "new")
        (thread,) = history.threads()
    assert (thread.thread_id, message.text) == ("half \ufffd", "half \ufffd")
