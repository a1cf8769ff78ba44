"""Inside Hermes Agent's gateway: what is Hermes's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.hosts import agents, fake_model, laws
from tests.hosts.databases import is_whole
from tests.hosts.inhabited import Inhabited
from tests.hosts.programs import until
from tests.threadline.bridge.fake_bot_api import GROUP, BotApi
from tests.threadline.bridge.fake_bot_server import serving
from tests.threadline.sources.hermes_homes import HermesHome

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]


def test_its_own_usage_grows_and_never_doubles(hermes: Inhabited) -> None:
    """Read from outside, again and again: the last reading is what counts."""
    with fake_model.serving() as model:
        provider = {"provider": "custom", "base_url": model.url, "default": "fake-model"}
        hermes.more = {"model": provider}
        site = hermes.begin({"tokenLedger": {"idleIntervalMs": 1000}})
        said = turns(hermes, model)
        first = site.until("/tokens/summary", summed(said))
        assert first["totalCacheRead"] == 1000 * said
        said = turns(hermes, model)
        site.until("/tokens/summary", summed(said))
        hermes.end(site.program)
        site = hermes.begin({"tokenLedger": {"idleIntervalMs": 1000}})
        again = site.until("/tokens/summary", summed(said))
        assert again["totalOutput"] == 34 * said
        hermes.end(site.program)
        hermes.more = {}
        assert "today" not in hermes.run("instar", "tokens", "summary")
    assert is_whole(hermes.config_file.parent / "state.db")


def turns(host: Inhabited, model: fake_model.ModelServer) -> int:
    """One turn of Hermes in a process of its own; how many calls the model has answered."""
    host.run("-z", "say hi")
    return model.answers


def summed(calls: int) -> Callable[[Any], Any]:
    """A summary of just so many calls."""

    def good(said: Any) -> Any:
        summary = said["summary"]
        assert summary["totalInput"] <= 200 * calls, summary
        return summary if summary["totalInput"] == 200 * calls else None

    return good


def test_its_conversations_with_other_agents_are_messages(hermes: Inhabited) -> None:
    """History first, then what comes; unverified, and not twice after a restart."""
    home = HermesHome(hermes.config_file.parent)
    home.asked("ctx-1", "alice", "task-1", "are you there?", "I am")
    section = {"threadline": {"record": {"sourceIntervalMs": 200}}}

    def texts(said: Any, count: int) -> Any:
        found = [one["text"] for one in said["messages"]]
        assert len(found) <= count, found
        return found if len(found) == count else None

    path = "/threadline/observability/threads/hermes:ctx-1"
    site = hermes.begin(section)
    assert site.until(path, lambda said: texts(said, 2)) == ["are you there?", "I am"]
    home.asks("ctx-1", "alice", "task-2", "and you?", "here")
    site.until(path, lambda said: texts(said, 4))
    hermes.end(site.program)
    site = hermes.begin(section)
    home.asks("ctx-1", "alice", "task-3", "still?", "still")
    site.until(path, lambda said: texts(said, 6))
    assert not any(one["verified"] for one in site.get(path)["messages"])
    hermes.end(site.program)


def test_a_process_that_does_not_enable_us_never_imports_us(hermes: Inhabited) -> None:
    """And one that does imports no database and starts no thread for it."""
    code = (
        "import sys, threading\n"
        "from hermes_cli.plugins import discover_plugins\n"
        "discover_plugins()\n"
        "print([name in sys.modules for name in ('instar_host', 'apsw')])\n"
        "print([one.name for one in threading.enumerate() if 'instar' in one.name])"
    )
    for enabled in ((), ("instar",)):
        hermes.more = agents.hermes_plugins({}, *enabled)
        hermes.configure({})
        done = hermes.evaluate(code)
        assert done.stdout.splitlines()[-2:] == [f"[{bool(enabled)}, False]", "[]"], done.stderr


class PolledBotApi(BotApi):
    """Also what a bot needs that reads: nobody ever writes to it."""

    def call(self, method: str, fields: dict[str, Any]) -> Any:
        if method == "getUpdates":
            self.pause.wait(0.5)  # a long poll without an answer
            return []
        if method in SILENT:
            return True
        return super().call(method, fields)

    pause = threading.Event()


SILENT = {
    "deleteWebhook", "setMyCommands", "deleteMyCommands", "sendChatAction", "logOut", "close",
    "setChatMenuButton", "setMyDescription", "setMyShortDescription",
}  # fmt: skip


def test_without_a_bot_of_ours_it_is_hermes_that_sends(hermes: Inhabited) -> None:
    """Through its own Telegram: one topic in its home channel, and the words in it."""
    api = PolledBotApi()
    with serving(api) as server:
        telegram = {
            "enabled": True, "token": api.token, "extra": {"base_url": f"{server.url}/bot"},
            "home_channel": {"platform": "telegram", "chat_id": str(GROUP), "name": "home"},
        }  # fmt: skip
        hermes.more = {"platforms": {"telegram": telegram}}
        site = hermes.begin(laws.BRIDGE)
        laws.record(site, "hello there")
        until(
            lambda: laws.sent(api, "hello there"),
            lambda: f"{api.calls}\n{site.get('/threadline/bridge/status')}",
        )
        assert laws.topics(api) == 1
        lost = site.get("/threadline/bridge/status")["lost"]
        assert any("change the text" in one for one in lost)
        site.program.stop()


def test_the_chat_command_answers_with_numbers(hermes: Inhabited) -> None:
    """`/tokens` is registered, reads today's numbers, and takes nothing but a span."""
    hermes.configure({"stateDir": str(hermes.state_dir)})
    done = hermes.evaluate(
        "import asyncio\n"
        "from hermes_cli.plugins import discover_plugins, get_plugin_command_handler\n"
        "discover_plugins()\n"
        "for said in ('', '7d', '--state-dir /'):\n"
        "    print(asyncio.run(get_plugin_command_handler('tokens')(said)))"
    )
    today, week, junk = done.stdout.splitlines()[-3:]
    assert today.startswith("Today: No requests in this span.")
    assert week.startswith("Last 7d: No requests in this span.")
    assert junk.startswith("Use: /tokens")
