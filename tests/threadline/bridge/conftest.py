"""Hypothesis without deadlines (a slow machine is no defect), a bridge alone, a host on a stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from instar_host.testing import FakeClock, MakeHost
from instar_threadline.plugin import ThreadlinePlugin
from tests.threadline.bridge.fake_bot_api import GROUP, TOKEN, BotApi
from tests.threadline.bridge.fake_bot_server import BotServer, serving
from tests.threadline.bridge.stage import ON, MakeStage, Stage
from tests.threadline.bridge.world import World

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def api() -> BotApi:
    return BotApi()


@pytest.fixture
def world(state_dir: Path) -> Iterator[World]:
    made = World(state_dir)
    yield made
    made.close()
    assert made.api.violations == []


@pytest.fixture
def server(api: BotApi) -> Iterator[BotServer]:
    with serving(api) as running:
        yield running
    assert api.violations == []


@pytest.fixture
def environ(server: BotServer) -> dict[str, str]:
    return {
        "INSTAR_AUTH_TOKEN": "auth-token-for-tests",
        "INSTAR_TELEGRAM_TOKEN": TOKEN,
        "INSTAR_TELEGRAM_CHAT_ID": str(GROUP),
        "INSTAR_TELEGRAM_BASE_URL": server.url,
    }


@pytest.fixture
def make_stage(
    make_host: MakeHost, environ: dict[str, str], clock: FakeClock
) -> Iterator[MakeStage]:
    made: list[Stage] = []

    def make(*others: object, config: dict[str, Any] | None = None, bot: bool = True) -> Stage:
        plugin = ThreadlinePlugin()
        named = {"threadline": plugin} | {f"other{n}": o for n, o in enumerate(others)}
        given = environ if bot else {"INSTAR_AUTH_TOKEN": environ["INSTAR_AUTH_TOKEN"]}
        host = make_host(named, ON if config is None else config, environ=given)
        made.append(Stage(host, plugin, clock))
        return made[-1]

    yield make
    for stage in made:
        stage.end()
