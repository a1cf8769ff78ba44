"""One law book for every agent host: what has to hold wherever we are started."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import httpx

from instar_host.lease import Lease
from instar_threadline.bridge.render import REPEAT_MARK
from tests.examples import webhook
from tests.hosts import strangers
from tests.hosts.inhabited import FIRST_ROUTE_S, Inhabited
from tests.hosts.programs import Site, until
from tests.threadline.bridge.fake_bot_api import GROUP, BotApi
from tests.threadline.bridge.fake_bot_server import BotServer

STARTS = 3
BRIDGE: Mapping[str, Any] = {
    "threadline": {"telegramBridge": {"enabled": True, "autoCreateTopics": True}}
}


def answers_in_time(host: Inhabited) -> None:
    """From the command to the first route; the best of some starts, because others use the disk."""
    took_s: list[float] = []
    while not took_s or (min(took_s) > FIRST_ROUTE_S and len(took_s) < STARTS):
        host.begin().program.kill()
        took_s.append(host.first_route_s)
    assert min(took_s) <= FIRST_ROUTE_S, took_s


def serves_and_ticks(host: Inhabited) -> Site:
    """Discovered; what is not enabled is never imported; ticks grow; nobody gets in without."""
    site = host.begin()
    said = site.get("/plugins")
    states = {one["name"]: one["state"] for one in said["plugins"]}
    assert said["host"]["name"] == host.name
    assert (states["tokenledger"], states["threadline"]) == ("loaded", "loaded")
    assert (states["codex"], states["courier"]) == ("disabled", "disabled")
    ran = {one["name"]: one["runs"] for one in said["ticks"]}
    site.until("/plugins", lambda now: any(one["runs"] > ran[one["name"]] for one in now["ticks"]))
    assert httpx.get(f"{site.base}/tokens/status", trust_env=False).status_code == 401
    return site


def leaves_nothing_behind(host: Inhabited) -> None:
    """The lease is free at once, and every database of ours was closed: none has a log left."""
    with Lease(host.state_dir) as lease:
        assert lease.held
    databases = sorted(host.state_dir.glob("server-data/*.db"))
    assert databases
    logs = [path for path in host.state_dir.rglob("*-wal") if path.stat().st_size]
    assert logs == []


def carries_third_parties(host: Inhabited) -> None:
    """The example's route, tick, source and panel work; a broken neighbour is named and alone."""
    codex = host.home / "codex"
    strangers.write_rollout(codex)
    with strangers.broken_plugin(host.python.site_packages):
        settings = {"codex": {"home": str(codex)}}
        plugins = {"enabled": ["codex", "broken"], "settings": settings}
        site = host.begin({"plugins": plugins, "tokenLedger": {"maxFileAgeMs": 0}})
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


def redacts_and_carries_away(host: Inhabited, server: BotServer) -> None:
    """A stranger's redactor and sink: the word stays, Telegram and the webhook get the rest."""
    with webhook.listening() as hook:
        courier = {"words": ["Bluebird"], "url": hook.url}
        plugins = {"enabled": ["courier"], "settings": {"courier": courier}}
        site = host.begin({"plugins": plugins, **BRIDGE}, **bot(server))
        record(site, "tell bluebird nothing")
        until(lambda: hook.got, site.program.output)
        until(lambda: sent(server.api, "[word] nothing"), site.program.output)
        host.end(site.program)
    [(key, carried)] = hook.got
    assert key
    assert "tell [word] nothing" in carried["text"]
    assert carried["thread"] == "a-thread"
    assert not any("bluebird" in str(fields).lower() for _, fields in server.api.calls)


def mirrors_once(host: Inhabited, server: BotServer) -> None:
    """A message opens one topic and is sent once, however often the host is started."""
    for text in ("the first words", "the second words"):
        site = host.begin(BRIDGE, **bot(server))
        record(site, text)
        until(partial(sent, server.api, text), site.program.output)
        host.end(site.program)
    counts = [len(sent(server.api, text)) for text in ("the first words", "the second words")]
    assert (topics(server.api), counts, server.api.violations) == (1, [1, 1], [])


def survives_a_kill_while_it_sends(host: Inhabited, server: BotServer) -> None:
    """Telegram has the message, the answer never comes, the process dies: nothing is lost, a
    second copy says that it is one, and the topic stays the only one.
    """
    site = host.begin(BRIDGE, **bot(server))
    record(site, "the first words")
    until(lambda: sent(server.api, "the first words"), site.program.output)
    server.faults = ["hang-after"]
    record(site, "the only words")
    until(lambda: sent(server.api, "the only words"), site.program.output)
    site.program.kill()
    server.release.set()
    site = host.begin(BRIDGE, **bot(server))
    record(site, "the next words")
    until(lambda: sent(server.api, "the next words"), site.program.output)
    host.end(site.program)
    copies = sent(server.api, "the only words")
    assert [text for text in copies if REPEAT_MARK not in text] == copies[:1]
    assert len(copies) <= 2
    assert len(sent(server.api, "the next words")) == 1
    assert (topics(server.api), server.api.violations) == (1, [])


def dies_of_what_it_is_sent(
    host: Inhabited, number: signal.Signals, exit_codes: Sequence[int]
) -> None:
    """A signal ends ours first, in time, and the process as it would have ended without us."""
    site = serves_and_ticks(host)
    host.end(site.program, number)
    code = site.program.process.returncode
    assert code in exit_codes, f"{code}\n{site.program.output()}"
    leaves_nothing_behind(host)


def record(site: Site, text: str) -> None:
    """Have the host record one inbound message."""
    message = {
        "direction": "in", "from": "f" * 32, "senderName": "ada", "threadId": "a-thread",
        "id": text.replace(" ", "-"), "text": text,
    }  # fmt: skip
    answer = site.ask("POST", "/threadline/messages", json=message)
    assert answer.status_code < 300, answer.text


def bot(server: BotServer) -> dict[str, str]:
    """The environment of a user who has a bot."""
    return {
        "INSTAR_TELEGRAM_TOKEN": server.api.token,
        "INSTAR_TELEGRAM_CHAT_ID": str(GROUP),
        "INSTAR_TELEGRAM_BASE_URL": server.url,
    }


def sent(api: BotApi, text: str) -> list[str]:
    """Every text that was sent with `text` in it."""
    texts = [str(fields.get("text")) for method, fields in api.calls if method == "sendMessage"]
    return [one for one in texts if text in one]


def topics(api: BotApi) -> int:
    """How many topics were opened."""
    return [method for method, _ in api.calls].count("createForumTopic")
