"""The courier example: words that stay, and a webhook that gets the rest."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instar_host.testing import MakeHost
from instar_threadline import Message, Mirror, Thread
from instar_threadline.plugin import ThreadlinePlugin
from tests.examples.webhook import Hook, listening

EXAMPLE = Path(__file__).parents[2] / "examples" / "instar-plugin-courier"


@pytest.fixture
def hook() -> Iterator[Hook]:
    with listening() as server:
        yield server


@pytest.fixture
def courier(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's module, as it is installed."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return importlib.import_module("instar_plugin_courier")


def mirror() -> Mirror:
    message = Message(
        direction="in", id="m", thread_id="t", counterparty="f" * 32, text="", timestamp="",
        timestamp_ms=None, sender="f" * 32,
    )  # fmt: skip
    thread = Thread(thread_id="t", counterparty="f" * 32)
    return Mirror(message=message, thread=thread, body="hello", key="k1")


def test_it_brings_a_redactor_and_a_sink(make_host: MakeHost, courier: Any) -> None:
    """Each only where its setting asks for it."""

    def brought(**settings: Any) -> list[str]:
        config = {"plugins": {"enabled": ["courier"], "settings": {"courier": settings}}}
        plugins = {"threadline": ThreadlinePlugin(), "courier": courier.CourierPlugin()}
        host = make_host(plugins, config)
        hooks = ("threadline_redactors", "threadline_sinks")
        return [c.value.name for hook in hooks for c in host.plugins.collect(hook, host=host)]

    assert brought() == []
    assert brought(words=["Bluebird"], url="http://127.0.0.1:1/") == ["courier-words", "courier"]


@pytest.mark.parametrize(
    ("status", "word"),
    [(204, "delivered"), (400, "rejected"), (307, "rejected"), (500, "ambiguous")],
)
def test_every_answer_has_one_meaning(hook: Hook, courier: Any, status: int, word: str) -> None:
    """Sent once, with the key of the message; a redirect is not followed."""
    hook.status = status
    result = courier.post(hook.url, mirror())
    assert result.status == word
    assert hook.got == [("k1", {"thread": "t", "from": "f" * 32, "text": "hello"})]


def test_where_nobody_listens_it_is_tried_again(courier: Any) -> None:
    """It was certainly not delivered."""
    result = courier.post("http://127.0.0.1:1/", mirror())
    assert (result.status, result.retry_after_s) == ("rejected", 30.0)


def test_the_module_stays_short() -> None:
    """A redactor and a sink in under 80 lines."""
    source = (EXAMPLE / "instar_plugin_courier" / "__init__.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 80
