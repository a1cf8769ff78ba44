"""What a plugin's sink, redactor or Telegram port does wrong stands under the plugin's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instar_host import InstarError, TelegramPort, TopicSent, hookimpl
from instar_host.testing import MakeHost
from instar_threadline import BridgeSink, Mirror, Redactor
from instar_threadline.bridge.call import Call
from instar_threadline.bridge.commands import _check, _status_lines
from tests.threadline.bridge.stage import MakeStage, Stage

pytest_plugins = ["instar_host.testing"]
HERE = Path(__file__).name


def error_of(stage: Stage) -> str:
    """What the status of the plugin under test says; the stage calls it `other0`."""
    (found,) = [one for one in stage.host.plugins.statuses() if one.name == "other0"]
    return found.error or ""


class Brings:
    """A plugin with one sink, or one redactor."""

    def __init__(self, *, deliver: Any = None, redact: Any = None) -> None:
        self.deliver, self.redact = deliver, redact

    @hookimpl
    def threadline_sinks(self) -> list[BridgeSink]:
        return [BridgeSink(name="mine", deliver=self.deliver)] if self.deliver else []

    @hookimpl
    def threadline_redactors(self) -> list[Redactor]:
        return [Redactor(name="mine", redact=self.redact)] if self.redact else []


def raises(given: str | Mirror) -> Any:
    raise KeyError(f"the secret {given}")


async def later(_given: str | Mirror) -> None: ...


def nothing(_given: str | Mirror) -> None: ...


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (raises, "mine raised KeyError"),
        (nothing, "mine returned an object of type NoneType, not"),
        (later, "mine returned an object of type coroutine, not"),
        (lambda: None, "mine raised TypeError"),
    ],
)
@pytest.mark.parametrize("kind", ["deliver", "redact"])
def test_a_sink_or_redactor_that_fails_is_named_and_not_quoted(
    make_stage: MakeStage, kind: str, call: Callable[..., Any], words: str
) -> None:
    """Its author finds out in `instar plugins`; what it was looking at is never repeated."""
    stage = make_stage(Brings(**{kind: call}))
    stage.say("hush")
    stage.work(3)
    assert words in error_of(stage)
    assert "hush" not in error_of(stage)
    assert (HERE in error_of(stage)) == (call is raises)


class Port:
    """A host's way to Telegram, with any of its three calls replaced."""

    def __init__(self, **calls: Any) -> None:
        self.calls = calls

    def capabilities(self) -> frozenset[str]:
        found: frozenset[str] = self.calls.get("capabilities", frozenset)()
        return found

    def create_topic(self, name: str) -> int | None:
        made: int | None = self.calls.get("create_topic", lambda _name: 77)(name)
        return made

    def send(self, topic_id: int | None, text: str, *, silent: bool) -> TopicSent:
        call = self.calls.get("send", lambda *_given: TopicSent(ok=True))
        sent: TopicSent = call(topic_id, text, silent)
        return sent


class Lends:
    """A plugin that lends the bridge what it is given."""

    def __init__(self, port: Any) -> None:
        self.port = port

    @hookimpl
    def instar_telegram(self) -> TelegramPort | None:
        port: TelegramPort = self.port
        return port


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (object(), "its Telegram port has no capabilities()"),
        (Port(capabilities=lambda: None), "capabilities() returned an object of type NoneType"),
        (Port(create_topic=lambda _name: "7"), "create_topic() returned an object of type str"),
        (Port(create_topic=lambda _name: later("")), "create_topic() returned an object of type"),
        (Port(send=lambda *_given: True), "send() returned an object of type bool, not TopicSent"),
        (Port(send=lambda *_given: raises("")), "send() raised KeyError"),
    ],
)
def test_a_telegram_port_that_breaks_its_promise_is_named(
    make_stage: MakeStage, port: Any, words: str
) -> None:
    """It was blamed on threadline, whose tick failed again and again; now that goes on."""
    stage = make_stage(Lends(port), bot=False)
    stage.say("hello")
    stage.work(3)
    assert words in error_of(stage)


def test_the_status_names_the_plugin_that_lends_its_telegram(
    make_stage: MakeStage, make_host: MakeHost
) -> None:
    """Nobody is sent to @BotFather while messages arrive through the host's own bot."""
    stage = make_stage(Lends(Port()), bot=False)
    first, second = list(_status_lines(stage.bridge.status(), 0))[:2]
    assert first == "bridge: on; bot from: the host (other0)"
    assert "BotFather" not in second
    with pytest.raises(InstarError, match="only a bot of yours can be checked"):
        _check(Call(None, stage.bridge, None))  # type: ignore[arg-type]
