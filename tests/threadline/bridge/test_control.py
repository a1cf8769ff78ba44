"""What a person sets off: a backfill leaks nothing, changes nothing when dry, waits for nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from instar_host.endpoints import HttpError
from instar_host.hookspecs import hookimpl
from instar_host.records import HostContext
from instar_threadline.bridge.control import BackfillRequest, Control
from instar_threadline.messages import Message, Thread
from instar_threadline.records import Redactor
from tests.threadline.bridge.fake_bot_api import BotApi
from tests.threadline.bridge.stage import MakeStage, Stage

pytest_plugins = ["instar_host.testing"]

BACKFILL = "/threadline/bridge/backfill"
OFF = {"projectName": "echo"}


class Careful:
    """A plugin with a secret, a private matter and titles of its own."""

    @hookimpl
    def threadline_redactors(self, host: HostContext) -> list[Redactor]:
        return [Redactor(name="names", redact=lambda text: text.replace("Alice", "⟦name⟧"))]

    @hookimpl
    def threadline_may_mirror(self, message: Message, thread: Thread) -> bool | None:
        return False if "private" in message.text else None


def names(api: BotApi) -> list[str]:
    return [topic.name for topic in api.group.topics.values()]


def history(stage: Stage, *texts: str) -> None:
    for text in texts:
        stage.say(text)
    stage.work(1)


def test_a_backfill_names_topics_after_what_may_be_shown(
    make_stage: MakeStage, api: BotApi
) -> None:
    """A topic's name is redacted by everybody, and never made of a message that is held back."""
    stage = make_stage(Careful(), config=OFF)
    history(stage, "private matters", "Alice says auth-token-for-tests")
    stage.call("POST", BACKFILL, {})
    stage.work()
    assert names(api) == ["echo↔Dawn — ⟦name⟧ says ⟦redacted:known-secret⟧ · a1b2c3d4"]
    assert "private" not in "\n".join(api.texts(next(iter(api.group.topics))))


def test_the_banner_comes_before_the_first_message_that_is_posted(
    make_stage: MakeStage, api: BotApi
) -> None:
    """Also when hundreds before it are held back."""
    stage = make_stage(Careful(), config=OFF)
    history(stage, *(f"private {number}" for number in range(201)), "at last")
    stage.call("POST", BACKFILL, {})
    stage.work()
    texts = api.texts(next(iter(api.group.topics)))
    assert texts[0].startswith("📚 Backfill")
    assert "at last" in "\n".join(texts)


def test_a_dry_run_changes_nothing(make_stage: MakeStage, state_dir: Path) -> None:
    """Topics that only the original's ledger knows are counted, and not yet adopted."""
    ledger = state_dir / "threadline" / "bridge-backfill-ledger.json"
    stage = make_stage(config=OFF)
    history(stage, "hello")
    ledger.write_text(json.dumps({"threads": {"t1": {"topicId": 77, "posted": []}}}))
    topics = stage.bridge.open().topics
    assert stage.call("POST", BACKFILL, {"dryRun": True})["topics"] == 0
    assert topics.find("telegram", "t1") is None
    stage.call("POST", BACKFILL, {})
    bound = topics.find("telegram", "t1")
    assert bound is not None
    assert bound.topic_id == 77


def test_a_backfill_and_the_first_look_at_the_chat_do_not_wait_for_each_other(
    make_stage: MakeStage,
) -> None:
    """Whoever holds the queue never asks for the bridge: the order of the two locks is one."""
    stage = make_stage(config=OFF)
    history(stage, "hello")
    bridge, control = stage.bridge, Control(stage.bridge)
    outbox = bridge.open().outbox
    opening = bridge._opening
    met: list[bool] = []

    class Watched:
        def __enter__(self) -> None:
            met.append(outbox.lock._is_owned())  # type: ignore[attr-defined]
            opening.acquire()

        def __exit__(self, *_exc: object) -> None:
            opening.release()

    bridge._opening = Watched()  # type: ignore[assignment]
    control.fill(BackfillRequest())
    bridge._opening = opening
    assert met
    assert not any(met)


def damaged_bindings(state_dir: Path) -> Path:
    """The file of the topics, cut off behind its first byte."""
    path = state_dir / "threadline" / "telegram-bridge-bindings.json"
    path.parent.mkdir()
    path.write_text("{")
    return path


def test_damaged_bindings_stop_a_backfill_over_http(
    make_stage: MakeStage, state_dir: Path, api: BotApi
) -> None:
    """C-50: topics that nobody can read would be made twice, whoever asks; a look is allowed."""
    damaged_bindings(state_dir)
    stage = make_stage(config=OFF)
    history(stage, "hello")
    assert stage.call("POST", BACKFILL, {"dryRun": True})["messages"] == 1
    with pytest.raises(HttpError, match="open topics twice"):
        stage.call("POST", BACKFILL, {})
    stage.work()
    assert api.group.topics == {}


def test_bindings_that_were_mended_are_read_before_they_are_written(
    make_stage: MakeStage, state_dir: Path, api: BotApi
) -> None:
    """C-50: a person mends the file while the host runs: its topics are taken over, not lost."""
    path = damaged_bindings(state_dir)
    stage = make_stage(config=OFF)
    stage.work(3)
    entry = {"threadId": "old", "topicId": 4711, "remoteAgent": "x", "topicName": "echo↔X — old"}
    path.write_text(json.dumps({"version": 1, "bindings": [entry]}))
    stage.work(3)
    assert stage.bridge.damage == ""
    history(stage, "hello")
    stage.call("POST", BACKFILL, {})
    stage.work()
    written = json.loads(path.read_text())["bindings"]
    assert {one["threadId"] for one in written} == {"old", "t1"}
    assert len(api.group.topics) == 1
