"""What plugins bring to the bridge: nonsense costs its plugin, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from instar_host.hookspecs import hookimpl
from instar_host.records import HostContext
from instar_threadline.records import BridgeSink, Mirror, Redactor, SinkResult
from tests.threadline.bridge.fake_bot_api import BotApi
from tests.threadline.bridge.stage import MakeStage

pytest_plugins = ["instar_host.testing"]


def _take(_mirror: Mirror) -> SinkResult:
    return SinkResult(status="delivered")


class Nonsense:
    """A plugin that brings what it is given."""

    def __init__(self, sinks: list[Any], redactors: list[Any]) -> None:
        self.given = (sinks, redactors)

    @hookimpl
    def threadline_sinks(self, host: HostContext) -> list[BridgeSink]:
        return self.given[0]

    @hookimpl
    def threadline_redactors(self, host: HostContext) -> list[Redactor]:
        return self.given[1]


def test_a_sink_whose_name_is_no_text_is_left_out(make_stage: MakeStage, api: BotApi) -> None:
    """The bridge opens without it, and the plugin's status says why."""
    stage = make_stage(Nonsense([BridgeSink(name=cast("str", 7), deliver=_take)], []))
    stage.say("hello")
    stage.work(5)
    assert "hello" in "\n".join(message.text for message in api.group.messages)
    assert any("whose name is" in (one.error or "") for one in stage.host.plugins.statuses())


def _upper(text: str) -> str:
    return text.upper()


@pytest.mark.parametrize(
    ("name", "order", "redact"), [("a", "first", _upper), (7, 0, _upper), ("a", 0, None)]
)
def test_a_redactor_that_is_none_blocks_and_is_named(
    make_stage: MakeStage, api: BotApi, name: Any, order: Any, redact: Callable[[str], str]
) -> None:
    """Fail closed: placeholders go out in place of texts; the feed goes on."""
    good = Redactor(name="good", redact=_upper)
    stage = make_stage(Nonsense([], [good, Redactor(name=name, order=order, redact=redact)]))
    stage.say("hello")
    stage.work(5)
    shown = "\n".join(message.text for message in api.group.messages)
    assert "hello" not in shown
    assert "the redactor other0" in shown
