"""Inside Hermes Agent's gateway."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import fake_model, inhabited
from tests.hosts.conftest import Start
from tests.hosts.environments import Environment, environment
from tests.hosts.inhabited import Inhabited
from tests.hosts.programs import GUARD_S, surroundings, until
from tests.threadline.bridge.fake_bot_api import GROUP, BotApi
from tests.threadline.bridge.fake_bot_server import serving

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

REQUIREMENTS = ("hermes-agent[messaging]==0.19.0",)


@pytest.fixture(scope="module")
def python(wheels: Sequence[Path]) -> Environment:
    return environment("hermes", REQUIREMENTS, wheels, (3, 11))


@pytest.fixture
def hermes(python: Environment, start: Start, tmp_path: Path) -> Inhabited:
    """A gateway with nothing but us in its configuration."""
    home = tmp_path / "hermes"
    home.mkdir()
    return Inhabited(
        command=(python.program("hermes"), "gateway", "run"),
        home=tmp_path,
        write=lambda section: configure(home, section),
        start=start,
        environ={"HERMES_HOME": str(home)},
    )


def configure(home: Path, section: Mapping[str, Any], *, enabled: bool = True, **more: Any) -> None:
    """JSON is YAML."""
    plugins = {"enabled": ["instar"] if enabled else [], "entries": {"instar": section}}
    text = json.dumps({"plugins": plugins, **more})
    (home / "config.yaml").write_text(text, encoding="utf-8")


def run(host: Inhabited, *arguments: str) -> str:
    """One call of `hermes`; what it prints."""
    done = subprocess.run(
        [host.command[0], *arguments], env={**surroundings(host.home), **host.environ},
        cwd=host.home, capture_output=True, text=True, timeout=GUARD_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_gateway_serves_ticks_and_stops(hermes: Inhabited) -> None:
    """One line of configuration is the whole enabling step."""
    inhabited.serves_ticks_and_stops(hermes, "hermes")


def test_third_parties_work_inside(hermes: Inhabited, python: Environment) -> None:
    """Route, tick, source and panel of a plugin that somebody else wrote."""
    inhabited.carries_third_parties(hermes, python.site_packages)


def test_a_message_is_mirrored_once(hermes: Inhabited) -> None:
    """Across restarts of the gateway."""
    api = BotApi()
    with serving(api) as server:
        inhabited.mirrors_once(hermes, api, server)


def test_its_own_usage_grows_and_never_doubles(hermes: Inhabited) -> None:
    """Read from outside, again and again: the last reading is what counts."""
    with fake_model.serving() as model:
        write = hermes.write
        provider = {"provider": "custom", "base_url": model.url, "default": "fake-model"}
        home = Path(hermes.environ["HERMES_HOME"])
        hermes.write = lambda section: configure(home, section, model=provider)
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
        hermes.write = write
        assert "today" not in run(hermes, "instar", "tokens", "summary")
    check_database(home / "state.db")


def turns(host: Inhabited, model: fake_model.ModelServer) -> int:
    """One turn of Hermes in a process of its own; how many calls the model has answered."""
    run(host, "-z", "say hi")
    return model.answers


def summed(calls: int) -> Callable[[Any], Any]:
    """A summary of just so many calls."""

    def good(said: Any) -> Any:
        summary = said["summary"]
        assert summary["totalInput"] <= 200 * calls, summary
        return summary if summary["totalInput"] == 200 * calls else None

    return good


def check_database(path: Path) -> None:
    """Hermes's own database is whole after all that."""
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1])"
    code += ".execute('PRAGMA integrity_check').fetchone()[0])"
    done = subprocess.run(
        ["python3", "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "ok"


def test_a_process_that_does_not_enable_us_never_imports_us(hermes: Inhabited) -> None:
    """And one that does imports no database and starts no thread for it."""
    home = Path(hermes.environ["HERMES_HOME"])
    code = (
        "import sys, threading\n"
        "from hermes_cli.plugins import discover_plugins\n"
        "discover_plugins()\n"
        "print([name in sys.modules for name in ('instar_host', 'apsw')])\n"
        "print([one.name for one in threading.enumerate() if 'instar' in one.name])"
    )
    for enabled in (False, True):
        configure(home, {}, enabled=enabled)
        python = Path(hermes.command[0]).with_name("python")
        done = subprocess.run(
            [python, "-c", code], env={**surroundings(hermes.home), **hermes.environ},
            cwd=hermes.home, capture_output=True, text=True, timeout=GUARD_S,
        )  # fmt: skip
        assert done.stdout.splitlines()[-2:] == [f"[{enabled}, False]", "[]"], done.stderr


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
    home = Path(hermes.environ["HERMES_HOME"])
    with serving(api) as server:
        telegram = {
            "enabled": True, "token": api.token, "extra": {"base_url": f"{server.url}/bot"},
            "home_channel": {"platform": "telegram", "chat_id": str(GROUP), "name": "home"},
        }  # fmt: skip
        hermes.write = lambda section: configure(home, section, platforms={"telegram": telegram})
        bridge = {"threadline": {"telegramBridge": {"enabled": True, "autoCreateTopics": True}}}
        site = hermes.begin(bridge)
        inhabited.record(site, "hello there")

        def sent() -> list[str]:
            texts = [str(f.get("text")) for method, f in api.calls if method == "sendMessage"]
            return [text for text in texts if "hello there" in text]

        until(sent, lambda: f"{api.calls}\n{site.get('/threadline/bridge/status')}")
        assert [method for method, _ in api.calls].count("createForumTopic") == 1
        lost = site.get("/threadline/bridge/status")["lost"]
        assert any("change the text" in one for one in lost)
        hermes.end(site.program)


def test_the_chat_command_answers_with_numbers(hermes: Inhabited) -> None:
    """`/tokens` is registered, reads today's numbers, and takes nothing but a span."""
    configure(Path(hermes.environ["HERMES_HOME"]), {"stateDir": str(hermes.state_dir)})
    code = (
        "import asyncio\n"
        "from hermes_cli.plugins import discover_plugins, get_plugin_command_handler\n"
        "discover_plugins()\n"
        "for said in ('', '7d', '--state-dir /'):\n"
        "    print(asyncio.run(get_plugin_command_handler('tokens')(said)))"
    )
    done = subprocess.run(
        [Path(hermes.command[0]).with_name("python"), "-c", code],
        env={**surroundings(hermes.home), **hermes.environ},
        cwd=hermes.home, capture_output=True, text=True, timeout=GUARD_S,
    )  # fmt: skip
    today, week, junk = done.stdout.splitlines()[-3:]
    assert today.startswith("Today: No requests in this span.")
    assert week.startswith("Last 7d: No requests in this span.")
    assert junk.startswith("Use: /tokens")
