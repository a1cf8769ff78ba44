"""Defects of the original that live between the parts of the bridge, each by its name."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from instar_threadline.bridge import bindings
from instar_threadline.plugin import ThreadlinePlugin
from tests.threadline.bridge.fake_bot_api import BotApi, RefusedError
from tests.threadline.bridge.stage import GO_ON, MakeStage, Stage
from tests.threadline.bridge.test_backfill import fill, message
from tests.threadline.bridge.world import OPEN, World

pytest_plugins = ["instar_host.testing"]

WRITES = {"createForumTopic", "editForumTopic", "reopenForumTopic", "sendMessage"}
WRITES |= {"sendDocument", "editMessageText"}


def dawns_topics(world: World) -> list[str]:
    return [topic.name for topic in world.api.group.topics.values() if "Dawn" in topic.name]


def test_c_52_a_message_without_a_thread_gets_none_made_up(world: World) -> None:
    """C-52: no topic under a message's id; it arrives in the shared one, ours to nobody's."""
    world.say("an opening", thread="", id="m-17")
    world.say("an answer", thread="", direction="out", id="m-18")
    world.say("another", thread="", id="m-19")
    world.run()
    (topic,) = world.api.group.topics.values()
    assert topic.name == "Threadline — other threads"
    shown = world.shown()
    assert "🧵 no thread\n📥 Dawn (a1b2c3d4) → echo\nan opening" in shown
    assert "another" in shown
    assert "an answer" not in shown, "there is no thread that it could belong to"


def test_c_52_both_directions_of_a_thread_share_its_topic(make_stage: MakeStage) -> None:
    """C-52: the id of the wire is the id of the record: a conversation is never split."""
    stage = make_stage()
    stage.say("a question", "wire-7")
    stage.say("an answer", "wire-7", direction="out", in_reply_to="m-1")
    stage.work()
    bound = stage.bridge.open().topics.all("telegram")
    assert [b.thread_id for b in bound] == ["wire-7"]


def test_c_60_what_people_write_in_a_topic_is_not_even_read(
    make_stage: MakeStage, api: BotApi
) -> None:
    """C-60: the bridge asks for no updates and sets no hook: typing there starts nothing."""
    stage = make_stage()
    for number in range(5):
        stage.say(f"message {number}", f"t{number % 2}")
    api.refusals += [RefusedError(400, "Bad Request: message thread not found")]
    stage.work()
    assert {method for method, _fields in api.calls} <= WRITES


def test_c_61_the_bindings_file_is_not_written_at_every_message(make_stage: MakeStage) -> None:
    """C-61: a file written anew has another inode; twenty messages in a minute write it once."""
    stage = make_stage()
    stage.say("opening")
    stage.work(10)
    path = stage.host.state_dir / bindings.FILE
    written = set()
    for number in range(20):
        stage.say(f"message {number}")
        stage.bridge.feed(GO_ON)
        stage.bridge.send(GO_ON)
        stage.clock.advance(2)
        written.add((path.stat().st_ino, path.stat().st_mtime_ns))
    assert len(written) <= 2


def test_c_61_only_the_process_with_the_lease_writes_it(make_stage: MakeStage) -> None:
    """C-61: two processes never write it at once; the one that only reads leaves it alone."""
    import msgspec

    stage = make_stage()
    reader = msgspec.structs.replace(stage.host, holds_lease=lambda: False)
    plugin = ThreadlinePlugin()
    other = Stage.__new__(Stage)
    other.host, other.plugin = reader, plugin
    assert other.call("GET", "/threadline/bridge/status")["sends"] is False
    plugin.instar_host_stopping(reader)
    assert not (stage.host.state_dir / bindings.FILE).exists()


def test_c_62_a_restart_changes_no_threads_id(make_stage: MakeStage, api: BotApi) -> None:
    """C-62: nothing is minted: after a restart the same conversation has the same topic."""
    stage = make_stage()
    stage.say("before", "auto-17")
    stage.say("before, without a thread", "")
    stage.work()
    stage.end()
    again = Stage(stage.host, ThreadlinePlugin(), stage.clock)
    again.say("after", "auto-17")
    again.say("after, without a thread", "")
    again.work()
    again.end()
    assert len(api.group.topics) == 2
    (own,) = [topic for topic in api.group.topics.values() if "Dawn" in topic.name]
    assert len(api.texts(own.id)) == 2


def test_c_80_the_topic_of_a_backfill_is_the_one_of_what_follows(world: World) -> None:
    """C-80: "new messages follow here" holds, also where agents may open no topic by themselves."""
    world.rules = replace(OPEN, auto_create_topics=False)
    fill(world, [message("history")])
    world.run()
    world.say("live", "t1", counterparty="fp-dawn", counterparty_name="Dawn, renamed")
    world.run()
    (topic,) = world.api.group.topics
    assert len(world.api.texts(topic)) == 2
    assert "live" in world.api.texts(topic)[1]


def test_c_84_there_is_one_backfill(make_stage: MakeStage, api: BotApi) -> None:
    """C-84: command and route run the same code, and it names us as live traffic does."""
    stage = make_stage()
    stage.plugin.service(stage.host).bridge_settings.update({"enabled": False})
    stage.say("of ours", direction="out")
    stage.say("of theirs")
    stage.work(3)
    over_http = stage.call("POST", "/threadline/bridge/backfill", {"dryRun": True})
    in_process = _plan_of_the_command(stage)
    assert over_http == in_process
    stage.call("POST", "/threadline/bridge/backfill", {})
    stage.work()
    shown = "\n".join(m.text for m in api.group.messages)
    assert "📤 echo → Dawn" in shown
    assert "📥 Dawn (a1b2c3d4) → echo" in shown


def _plan_of_the_command(stage: Stage) -> dict[str, Any]:
    import msgspec

    from instar_threadline.bridge.control import BackfillRequest, Control

    answer = Control(stage.bridge).fill(BackfillRequest(dry_run=True))
    plain: dict[str, Any] = json.loads(msgspec.json.encode(answer))
    return plain


def test_d2_16_a_topic_that_cannot_be_made_binds_nothing_and_loses_nothing(world: World) -> None:
    """D2-16 inverted: there is no binding, and the message arrives all the same."""
    refused = "Bad Request: not enough rights to create a topic"
    world.api.refusals += [RefusedError(400, refused)] * 2
    world.say("hello")
    world.run()
    known = world.topics.find("telegram", "t1")
    assert known is not None
    assert (known.state, known.topic_id) == ("hub", None)
    assert dawns_topics(world) == []
    assert "hello" in world.shown()
