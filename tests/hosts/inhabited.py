"""One law book for every agent host: what has to hold wherever we are started.

A host is described by how it is started and how it is told our settings; the tests of a host call
these functions with one of its own.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from tests.hosts.conftest import Start
from tests.hosts.programs import Program, Site, free_port, surroundings, until
from tests.threadline.bridge.fake_bot_api import GROUP, BotApi
from tests.threadline.bridge.fake_bot_server import BotServer

FIRST_ROUTE_S = 60.0
"""A hang guard: seconds on an idle machine, many on one that compiles every module anew."""
SESSION = "0199a213-81a0-7800-8aa1-bbab2a035a53"
BROKEN = "import a_package_that_is_not_there"
ROLLOUT = "2026/01/01/rollout-2026-01-01T10-00-00-" + SESSION + ".jsonl"


class Inhabited(Struct, kw_only=True):
    """One host of one test."""

    command: tuple[str, ...]
    home: Path
    write: Callable[[Mapping[str, Any]], None]
    """Tell the host our section."""
    start: Start
    environ: dict[str, str]
    signal: int = signal.SIGTERM
    port: int = 0

    @property
    def state_dir(self) -> Path:
        return self.home / "state"

    def begin(self, section: Mapping[str, Any] | None = None, **environ: str) -> Site:
        """Start it and wait for the first route."""
        self.port = self.port or free_port()
        self.write({"port": self.port, "stateDir": str(self.state_dir), **(section or {})})
        program = self.start(self.command, {**surroundings(self.home), **self.environ, **environ})
        site = Site(f"http://127.0.0.1:{self.port}", program)
        site.until("/health", lambda said: said["status"] != "starting", FIRST_ROUTE_S)
        return site

    def end(self, program: Program) -> None:
        """A clean stop: nothing of its group is left."""
        program.stop(self.signal)


def serves_ticks_and_stops(host: Inhabited, name: str) -> None:
    """Discovered; what is not enabled is never imported; ticks grow; nobody gets in without."""
    site = host.begin()
    said = site.get("/plugins")
    states = {one["name"]: one["state"] for one in said["plugins"]}
    assert said["host"]["name"] == name
    assert (states["tokenledger"], states["threadline"]) == ("loaded", "loaded")
    assert (states["codex"], states["courier"]) == ("disabled", "disabled")
    ran = {one["name"]: one["runs"] for one in said["ticks"]}
    site.until("/plugins", lambda now: any(one["runs"] > ran[one["name"]] for one in now["ticks"]))
    assert httpx.get(f"{site.base}/tokens/status", trust_env=False).status_code == 401
    host.end(site.program)


def carries_third_parties(host: Inhabited, site_packages: Path) -> None:
    """The example's route, tick, source and panel work; a broken neighbour is named and alone."""
    codex = host.home / "codex"
    rollout = codex / "sessions" / ROLLOUT
    rollout.parent.mkdir(parents=True)
    rollout.write_text(_rollout(), encoding="utf-8")
    broken = _install_broken(site_packages)
    try:
        names = ["codex", "broken"]
        settings = {"codex": {"home": str(codex)}}
        ages = {"maxFileAgeMs": 0}
        site = host.begin(
            {"plugins": {"enabled": names, "settings": settings}, "tokenLedger": ages}
        )
        found = {one["name"]: one for one in site.get("/plugins")["plugins"]}
        assert found["codex"]["state"] == "loaded"
        assert found["broken"]["state"] == "failed"
        assert "a_package_that_is_not_there" in found["broken"]["error"]
        limits = site.until("/codex/limits", lambda said: said["limits"])
        assert limits["primary"]["used_percent"] == 7.5
        total = site.until(
            "/tokens/summary?since=2026-01-01T00:00:00Z",
            lambda said: said["summary"]["eventCount"] and said["summary"],
        )
        assert (total["totalInput"], total["totalOutput"]) == (60, 10)
        assert "codex" in {one["id"] for one in site.get("/panels")["panels"]}
        host.end(site.program)
    finally:
        for file in broken:
            file.unlink()


def mirrors_once(host: Inhabited, api: BotApi, server: BotServer) -> None:
    """A message opens one topic and is sent once, however often the host is started."""
    bot = {
        "INSTAR_TELEGRAM_TOKEN": api.token,
        "INSTAR_TELEGRAM_CHAT_ID": str(GROUP),
        "INSTAR_TELEGRAM_BASE_URL": server.url,
    }
    bridge = {"threadline": {"telegramBridge": {"enabled": True, "autoCreateTopics": True}}}
    for text in ("the first words", "the second words"):
        site = host.begin(bridge, **bot)
        record(site, text)
        until(partial(_mirrored, api, text), site.program.output)
        host.end(site.program)
    counts = [_mirrored(api, text) for text in ("the first words", "the second words")]
    topics = [fields for method, fields in api.calls if method == "createForumTopic"]
    assert (len(topics), counts, api.violations) == (1, [1, 1], [])


def record(site: Site, text: str) -> None:
    """Have the host record one inbound message."""
    message = {
        "direction": "in", "from": "f" * 32, "senderName": "ada", "threadId": "a-thread",
        "id": text.replace(" ", "-"), "text": text,
    }  # fmt: skip
    answer = site.ask("POST", "/threadline/messages", json=message)
    assert answer.status_code < 300, answer.text


def _mirrored(api: BotApi, text: str) -> int:
    """How often a text was sent."""
    sent = [fields for method, fields in api.calls if method == "sendMessage"]
    return sum(text in str(fields.get("text")) for fields in sent)


def _rollout() -> str:
    def line(minute: int, kind: str, payload: Mapping[str, Any]) -> str:
        at = f"2026-01-01T10:{minute:02}:00.000Z"
        return json.dumps({"timestamp": at, "type": kind, "payload": payload}) + "\n"

    total = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 10}
    info = {"total_token_usage": total}
    limits = {"primary": {"used_percent": 7.5, "window_minutes": 299}}
    said = {"type": "token_count", "info": info, "rate_limits": limits}
    text = line(0, "session_meta", {"id": SESSION, "cwd": "/app"}) + line(1, "event_msg", said)
    return text.replace('": {', '":{')  # as Codex writes it


def _install_broken(site_packages: Path) -> list[Path]:
    """A distribution whose plugin cannot be imported; the files to take away again."""
    info = site_packages / "broken_plugin-1.0.dist-info"
    info.mkdir(exist_ok=True)
    files = {
        info / "METADATA": "Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n",
        info / "entry_points.txt": "[instar.plugins]\nbroken = broken_plugin\n",
        site_packages / "broken_plugin.py": BROKEN,
    }
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)
