"""Plugins' sinks: whatever a sink answers, its lane goes on and somebody is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from instar_host.hookspecs import hookimpl
from instar_host.records import HostContext, TopicSent
from instar_threadline.bridge.intake import thread_of
from instar_threadline.bridge.jsonl import JsonlFile
from instar_threadline.bridge.port import TopicsImpossible
from instar_threadline.bridge.sinks import HostChat
from instar_threadline.records import BridgeSink, Mirror, Mirrored, SinkResult
from tests.threadline.bridge.stage import MakeStage
from tests.threadline.bridge.test_backfill import message

pytest_plugins = ["instar_host.testing"]

ODD: list[Any] = [
    SinkResult(status="rejected", retry_after_s=float("inf")),
    SinkResult(status="rejected", retry_after_s=float("nan")),
    SinkResult(status="rejected", retry_after_s=cast("float", "soon")),
    SinkResult(status="ambiguous", reason=cast("str", 404)),
    SinkResult(status=cast("Any", "perhaps")),
    SinkResult(status="ambiguous", retry_after_s=5.0),
    None,
]


class Odd:
    """A plugin whose sink gives one answer to the first message, and takes the rest."""

    def __init__(self, answer: Any) -> None:
        self.answers: list[Any] = [answer]
        self.events: list[Mirrored] = []

    @hookimpl
    def threadline_sinks(self, host: HostContext) -> list[BridgeSink]:
        return [BridgeSink(name="odd", deliver=self.deliver)]

    @hookimpl
    def threadline_mirrored(self, event: Mirrored) -> None:
        self.events.append(event)

    def deliver(self, _mirror: Mirror) -> SinkResult:
        if self.answers:
            return cast("SinkResult", self.answers.pop())
        return SinkResult(status="delivered")


@pytest.mark.parametrize("answer", ODD)
def test_an_answer_that_is_none_is_a_doubt(make_stage: MakeStage, answer: Any) -> None:
    """It is parked for a person, who is told, and the next message is delivered: no answer stops
    the tick.
    """
    plugin = Odd(answer)
    stage = make_stage(plugin)
    stage.say("one")
    stage.say("two")
    stage.work(5)
    stage.host.plugins.flush()
    of_sink = [event.status for event in plugin.events if event.sink == "sink:odd"]
    assert of_sink == ["dead", "delivered"]
    assert [d.target for d in stage.bridge.open().outbox.dead_letters()] == ["sink:odd"]


def mirror(key: str, body: str = "hello") -> Mirror:
    said = message(body)
    return Mirror(message=said, thread=thread_of(said), body=body, key=key)


def test_a_long_line_is_known_after_a_restart_too(tmp_path: Any) -> None:
    """The longest message that the bridge keeps is not written twice when only its report was
    lost.
    """
    path = tmp_path / "mirror.jsonl"
    long = mirror("k1", '"' * (1 << 20))
    JsonlFile(path).deliver(long)
    JsonlFile(path).deliver(long)
    assert path.read_bytes().count(b"\n") == 1


def test_the_file_sink_remembers_no_more_than_it_needs(tmp_path: Any) -> None:
    """Only the end of the file can be in doubt: its memory does not grow with the file."""
    path = tmp_path / "mirror.jsonl"
    path.write_text("".join(f'{{"key": "k{number}"}}\n' for number in range(3000)))
    sink = JsonlFile(path)
    for key in ("k2999", "k3000", "k3000"):
        sink.deliver(mirror(key))
    assert path.read_bytes().count(b"\n") == 3001
    assert sink._recent is not None
    assert len(sink._recent) <= 1000


@pytest.mark.parametrize("made", [0, -1, 1 << 70])
def test_a_topic_that_a_host_did_not_make_is_none(made: object) -> None:
    """What is no number of a topic is never stored as one: it could not be read again."""

    class Host:
        def capabilities(self) -> frozenset[str]:
            return frozenset()

        def create_topic(self, _name: str) -> Any:
            return made

        def send(self, _topic_id: int | None, _text: str, *, silent: bool) -> TopicSent:
            return TopicSent(ok=silent)

    with pytest.raises(TopicsImpossible):
        HostChat(Host(), lambda _words: None).create_topic("a topic")
