"""The whole bridge in a host: the signed log, hooks, ticks, routes and commands, over real
HTTP.
"""

from __future__ import annotations

import io
import json
import logging
import stat
from pathlib import Path

import pytest

from instar_host import hookimpl
from instar_host.endpoints import HttpError
from instar_host.records import HostContext, TopicSent
from instar_threadline.messages import Message, Thread
from instar_threadline.plugin import ThreadlinePlugin
from instar_threadline.records import BridgeSink, Mirror, Mirrored, Redactor, SinkResult
from tests.threadline.bridge.fake_bot_api import TOKEN, BotApi, RefusedError
from tests.threadline.bridge.stage import GO_ON, ON, PEER, MakeStage, Stage

pytest_plugins = ["instar_host.testing"]


def test_a_recorded_message_arrives_in_telegram(make_stage: MakeStage, api: BotApi) -> None:
    """C-51: what any path records in the signed log is mirrored, both directions, in one topic."""
    stage = make_stage()
    stage.say("memory rot gates")
    stage.say("on my way", direction="out", outcome="relay-sent")
    stage.work()
    (topic,) = api.group.topics
    (text,) = api.texts(topic)
    assert text.startswith("📥 Dawn (a1b2c3d4) → echo\nmemory rot gates\n\n📤 echo → Dawn")
    assert "outcome: relay-sent" in text


def test_history_from_before_the_bridge_is_not_mirrored(make_stage: MakeStage, api: BotApi) -> None:
    """The first look at a log begins at its end: years of messages do not pour into a chat."""
    stage = make_stage()
    stage.say("old")
    again = stage.amnesiac()
    again.say("new")
    again.work(10)
    again.end()
    shown = str([m.text for m in api.group.messages])
    assert "new" in shown
    assert "old" not in shown


def test_bindings_are_exported_and_imported(make_stage: MakeStage, api: BotApi) -> None:
    """The file of the original is kept current, 0600, and read by a bridge that knows nothing."""
    stage = make_stage()
    stage.say("hello")
    stage.work()
    path = stage.host.state_dir / "threadline" / "telegram-bridge-bindings.json"
    (entry,) = json.loads(path.read_text())["bindings"]
    (topic,) = api.group.topics
    assert (entry["threadId"], entry["topicId"], entry["remoteAgent"]) == ("t1", topic, PEER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = stage.amnesiac()
    again.say("and again")
    again.work(10)
    again.end()
    assert len(api.group.topics) == 1
    assert len(api.texts(topic)) == 2


def test_a_broken_bindings_file_is_reported(make_stage: MakeStage, state_dir: Path) -> None:
    """C-50: it stays as it is and the status says what to do."""
    path = state_dir / "threadline" / "telegram-bridge-bindings.json"
    path.parent.mkdir()
    path.write_text('{"version":1,"bind')
    stage = make_stage()
    stage.say("hello")
    stage.work()
    assert path.read_text() == '{"version":1,"bind'
    assert any("mend it" in p for p in stage.call("GET", "/threadline/bridge/status")["problems"])


class Opinions:
    """A plugin that votes, titles, redacts, listens and takes messages itself."""

    def __init__(self) -> None:
        self.events: list[Mirrored] = []
        self.mirrors: list[Mirror] = []

    @hookimpl
    def threadline_may_mirror(self, message: Message, thread: Thread) -> bool | None:
        if "raise" in message.text:
            raise ValueError(thread.thread_id)
        return False if "private" in message.text else None

    @hookimpl
    def threadline_topic_title(self, thread: Thread) -> str | None:
        return f"titled {thread.subject}"

    @hookimpl
    def threadline_redactors(self, host: HostContext) -> list[Redactor]:
        return [Redactor(name="names", redact=lambda text: text.replace("Alice", "⟦name⟧"))]

    @hookimpl
    def threadline_sinks(self, host: HostContext) -> list[BridgeSink]:
        return [BridgeSink(name="mine", deliver=self.take)]

    @hookimpl
    def threadline_mirrored(self, event: Mirrored) -> None:
        self.events.append(event)

    def take(self, mirror: Mirror) -> SinkResult:
        self.mirrors.append(mirror)
        return SinkResult(status="delivered")


def test_plugins_vote_title_redact_listen_and_receive(make_stage: MakeStage, api: BotApi) -> None:
    """Every hook of the bridge is asked, an error is a no, and a sink gets redacted text only."""
    opinions = Opinions()
    stage = make_stage(opinions)
    for text in ("tell Alice", "this is private", "please raise"):
        stage.say(text)
    stage.work()
    stage.host.plugins.flush()
    shown = "\n".join(m.text for m in api.group.messages)
    assert "⟦name⟧" in shown
    assert not {"Alice", "private", "raise"} & set(shown.replace("\n", " ").split())
    assert [m.body for m in opinions.mirrors] == ["tell ⟦name⟧"]
    assert opinions.mirrors[0].message.text == "tell ⟦name⟧"
    assert {(e.sink, e.status) for e in opinions.events} == {
        ("telegram", "delivered"),
        ("sink:mine", "delivered"),
    }
    assert "titled tell ⟦name⟧" in next(iter(api.group.topics.values())).name


class BrokenRedactors:
    @hookimpl
    def threadline_redactors(self, host: HostContext) -> list[Redactor]:
        raise RuntimeError


def test_a_plugin_without_its_redactors_blocks_everything(
    make_stage: MakeStage, api: BotApi
) -> None:
    """Fail closed: redactors that could not be had are not left out."""
    stage = make_stage(BrokenRedactors())
    stage.say("the text")
    stage.work()
    shown = "\n".join(m.text for m in api.group.messages)
    assert "the text" not in shown
    assert "is not shown here" in shown


def test_the_jsonl_sink_writes_each_message_once(make_stage: MakeStage) -> None:
    """A second sink proves the port: one line a message, private, not doubled by a restart."""
    config = {**ON, "threadline": {**ON["threadline"], "bridge": {"jsonlFile": "mirror.jsonl"}}}
    stage = make_stage(config=config)
    stage.say("one")
    stage.say("two", direction="out")
    stage.work(5)
    path = stage.host.state_dir / "mirror.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["direction"], line["text"]) for line in lines] == [("in", "one"), ("out", "two")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


class HostBot:
    """A host's own Telegram."""

    def __init__(self, answers: list[TopicSent]) -> None:
        self.answers = answers
        self.sent: list[tuple[int | None, str]] = []

    @hookimpl
    def instar_telegram(self, host: HostContext) -> HostBot:
        return self

    def capabilities(self) -> frozenset[str]:
        return frozenset({"failure-reasons"})

    def create_topic(self, name: str) -> int | None:
        return 77

    def send(self, topic_id: int | None, text: str, *, silent: bool) -> TopicSent:
        answer = self.answers.pop(0) if self.answers else TopicSent(ok=True)
        if answer.ok:
            self.sent.append((topic_id, text))
        return answer


def test_without_a_bot_of_its_own_the_hosts_is_used(make_stage: MakeStage) -> None:
    """The host's Telegram is a chat too; what is lost there is listed, retries are marked."""
    bot = HostBot([TopicSent(ok=False, retry_after_s=5), TopicSent(ok=False, reason="timeout")])
    stage = make_stage(bot, bot=False)
    stage.say("hello `code.py`")
    stage.work()
    ((topic_id, text),) = bot.sent
    assert topic_id == 77
    assert "hello 'code\u2060.py'" in text
    assert "↻ possibly repeated" in text
    lost = stage.call("GET", "/threadline/bridge/status")["lost"]
    assert any("repeats" in words for words in lost)


def test_without_any_bot_messages_wait_and_the_status_says_so(make_stage: MakeStage) -> None:
    """Switched on without a bot nothing is lost: it waits, and the status says what is missing."""
    stage = make_stage(bot=False)
    stage.say("hello")
    stage.work(3)
    status = stage.call("GET", "/threadline/bridge/status")
    assert status["queued"] == 1
    assert any("INSTAR_TELEGRAM_TOKEN" in problem for problem in status["problems"])


def test_without_any_bot_a_bridge_that_is_off_has_no_problem(make_stage: MakeStage) -> None:
    """Who never switched it on is not told that something is missing."""
    stage = make_stage(config={"projectName": "echo"}, bot=False)
    stage.work(3)
    assert stage.call("GET", "/threadline/bridge/status")["problems"] == []


def test_the_status_and_the_actions_over_http(make_stage: MakeStage, api: BotApi) -> None:
    """Dead letters are shown, retried and dropped; muting, resuming and testing work."""
    api.poison = lambda text: "poison" in text and "could not" not in text
    stage = make_stage()
    stage.say("poison")
    stage.work()
    status = stage.call("GET", "/threadline/bridge/status")
    (letter,) = status["dead"]
    assert (letter["threadId"], letter["preview"]) == ("t1", "poison")
    api.poison = lambda _text: False
    assert stage.call("POST", "/threadline/bridge/retry", {"ids": [letter["id"]]}) == {"retried": 1}
    stage.work()
    assert any("poison" in text for text in api.texts(letter_topic(api)))
    key = stage.call("POST", "/threadline/bridge/send-test")["key"]
    stage.work()
    assert stage.call("POST", "/threadline/bridge/send-test", {"key": key})["arrived"]
    mute = {"kind": "thread", "name": "t1"}
    assert stage.call("POST", "/threadline/bridge/mute", mute) == {"muted": True}
    assert stage.call("GET", "/threadline/bridge/status")["muted"] == ["thread t1"]
    stage.call("POST", "/threadline/bridge/resume")
    assert stage.call("POST", "/threadline/bridge/drop", {"all": True}) == {"dropped": 0}


def letter_topic(api: BotApi) -> int:
    return next(iter(api.group.topics))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("retry", {"ids": "all"}),
        ("retry", {"id": [1]}),
        ("retry", None),
        ("drop", {"waiting": "some"}),
        ("drop", {"waiting": "all", "all": True}),
        ("drop", {"ids": [1], "all": True}),
        ("mute", {"kind": "peer", "name": "x"}),
        ("mute", {"kind": "agent", "name": ""}),
        ("send-test", {"key": "zz"}),
        ("backfill", {"thread": ["x"]}),
        ("backfill", {"since": "yesterday"}),
        ("backfill", {"seed": [None]}),
    ],
)
def test_requests_that_are_none_are_400(make_stage: MakeStage, path: str, body: object) -> None:
    """Unknown keys, wrong types and impossible values are a 400 with a sentence."""
    stage = make_stage()
    with pytest.raises(HttpError) as caught:
        stage.call("POST", f"/threadline/bridge/{path}", body)
    assert caught.value.status == 400


def test_nothing_said_drops_nothing(make_stage: MakeStage, api: BotApi) -> None:
    """Every dead letter is forgotten only when that is said in so many words."""
    api.poison = lambda text: "poison" in text and "could not" not in text
    stage = make_stage()
    for number in range(2):
        stage.say(f"poison {number}")
    stage.work()
    for body in (None, {}, {"ids": None}, {"all": False}):
        with pytest.raises(HttpError, match='"all": true') as caught:
            stage.call("POST", "/threadline/bridge/drop", body)
        assert caught.value.status == 400
    assert stage.call("GET", "/threadline/bridge/status")["deadLetters"] == 2
    assert stage.call("POST", "/threadline/bridge/drop", {"all": True}) == {"dropped": 2}


def test_a_process_without_the_lease_answers_409(make_stage: MakeStage) -> None:
    """Acting works in the process that sends; the others say who that is."""
    import msgspec

    stage = make_stage()
    other = msgspec.structs.replace(stage.host, holds_lease=lambda: False)
    plugin = ThreadlinePlugin()
    reader = Stage.__new__(Stage)
    reader.host, reader.plugin = other, plugin
    with pytest.raises(HttpError) as caught:
        reader.call("POST", "/threadline/bridge/retry")
    assert caught.value.status == 409
    assert reader.call("GET", "/threadline/bridge/status")["queued"] == 0
    plugin.instar_host_stopping(other)


def test_a_backfill_over_http_posts_the_log_once(make_stage: MakeStage, api: BotApi) -> None:
    """C-40, C-76: planned, queued, delivered with one banner; a second run finds nothing to do."""
    stage = make_stage()
    stage.plugin.service(stage.host).bridge_settings.update({"enabled": False})
    for number in range(5):
        stage.say(f"history {number}")
    stage.work(3)
    assert api.calls == []
    dry = stage.call("POST", "/threadline/bridge/backfill", {"dryRun": True})
    assert (dry["messages"], dry["topics"], dry["queued"]) == (5, 1, 0)
    stage.call("POST", "/threadline/bridge/backfill", {"threads": ["t1"]})
    again = stage.call("POST", "/threadline/bridge/backfill", {})
    assert (again["messages"], again["queued"]) == (0, 0)
    stage.work()
    texts = api.texts(letter_topic(api))
    shown = "\n".join(texts)
    assert texts[0].startswith("📚 Backfill: reconstructed thread history\nThread: t1\n")
    assert [shown.count(f"history {number}") for number in range(5)] == [1] * 5
    assert all(message.silent for message in api.group.messages)


def test_a_bad_section_shuts_the_bridge_and_nothing_else(make_stage: MakeStage) -> None:
    """B-05: a wrong setting of the bridge is reported; the plugin's other parts work."""
    config = {"threadline": {"bridge": {"quietHours": "late"}, "telegramBridge": {"enabled": True}}}
    with pytest.raises(Exception, match="quietHours"):
        make_stage(config=config)


def test_q10_the_token_is_nowhere(
    make_stage: MakeStage, api: BotApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Q10: not in logs at DEBUG, status, database, bindings or messages, even when a peer says
    it.
    """
    caplog.set_level(logging.DEBUG)
    stage = make_stage()
    stage.say(f"your token is {TOKEN} and auth-token-for-tests")
    api.refusals += [RefusedError(400, f"Bad Request: {TOKEN}"), RefusedError(401, TOKEN)]
    stage.work()
    stage.bridge.open().outbox.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shown = io.StringIO()
    shown.write(caplog.text)
    shown.write(json.dumps(stage.call("GET", "/threadline/bridge/status")))
    shown.write("\n".join(message.text for message in api.group.messages))
    shown.write("\n".join(topic.name for topic in api.group.topics.values()))
    for path in stage.host.state_dir.rglob("*"):
        if path.is_file() and "jsonl" not in path.name and "log" not in path.name:
            shown.write(path.read_bytes().decode("latin-1"))
    for secret in (TOKEN, "CANARY", "auth-token-for-tests"):
        assert secret not in shown.getvalue()


def test_the_bots_token_is_known_before_anything_is_sent(
    make_stage: MakeStage, environ: dict[str, str]
) -> None:
    """A token that no pattern fits is a known secret from the first message on."""
    odd = "1234:" + "CANARY_of_a_server_of_ones_own"
    environ["INSTAR_TELEGRAM_TOKEN"] = odd
    stage = make_stage()
    stage.say(f"the token is {odd}")
    stage.bridge.feed(GO_ON)
    (row,) = stage.bridge.open().outbox.head("telegram", "t:t1", 9)
    assert row.body == "the token is ⟦redacted:known-secret⟧"
