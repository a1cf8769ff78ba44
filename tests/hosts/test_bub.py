"""Inside Bub's gateway."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import fake_model, inhabited
from tests.hosts.conftest import Start
from tests.hosts.environments import Environment, environment
from tests.hosts.inhabited import Inhabited
from tests.hosts.programs import GUARD_S, surroundings
from tests.threadline.bridge.fake_bot_api import BotApi
from tests.threadline.bridge.fake_bot_server import serving

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def python(wheels: Sequence[Path]) -> Environment:
    return environment("bub", ("bub==0.5.1",), wheels, (3, 12))


@pytest.fixture
def bub(python: Environment, start: Start, tmp_path: Path) -> Inhabited:
    """A gateway that runs our channel."""
    home = tmp_path / ".bub"
    home.mkdir()
    return Inhabited(
        command=(python.program("bub"), "gateway", "--enable-channel", "instar"),
        home=tmp_path,
        write=lambda section: configure(home, section),
        start=start,
        environ={"BUB_HOME": str(home)},
        signal=signal.SIGINT,
    )


def configure(home: Path, section: Mapping[str, Any]) -> None:
    """JSON is YAML."""
    (home / "config.yml").write_text(json.dumps({"instar": section}), encoding="utf-8")


def run(host: Inhabited, *arguments: str, **environ: str) -> str:
    """One call of `bub`; what it prints."""
    done = subprocess.run(
        [host.command[0], *arguments], env={**surroundings(host.home), **host.environ, **environ},
        cwd=host.home, capture_output=True, text=True, timeout=GUARD_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_gateway_serves_ticks_and_stops(bub: Inhabited) -> None:
    """A channel that carries no messages is all that Bub needs of us."""
    inhabited.serves_ticks_and_stops(bub, "bub")


def test_third_parties_work_inside(bub: Inhabited, python: Environment) -> None:
    """Route, tick, source and panel of a plugin that somebody else wrote."""
    inhabited.carries_third_parties(bub, python.site_packages)


def test_a_message_is_mirrored_once(bub: Inhabited) -> None:
    """Across restarts of the gateway."""
    api = BotApi()
    with serving(api) as server:
        inhabited.mirrors_once(bub, api, server)


def test_its_tapes_are_a_source(bub: Inhabited) -> None:
    """A real turn of Bub is in the ledger, to the token, and once."""
    site = bub.begin()
    with fake_model.serving() as model:
        run(
            bub, "run", "say hi", BUB_MODEL="openai:fake-model", BUB_API_KEY="none",
            BUB_API_BASE=model.url,
        )  # fmt: skip
        calls = model.answers
    assert calls
    total = site.until(
        "/tokens/summary",
        lambda said: said["summary"]["totalOutput"] >= 34 * calls and said["summary"],
    )
    assert (total["totalInput"], total["totalCacheRead"]) == (200 * calls, 1000 * calls)
    assert total["totalOutput"] == 34 * calls
    bub.end(site.program)


def test_a_section_turns_it_off(bub: Inhabited) -> None:
    """Bub has no allow-list, so the section has a switch; commands work all the same."""
    configure(Path(bub.environ["BUB_HOME"]), {"enabled": False, "stateDir": str(bub.state_dir)})
    done = subprocess.run(
        bub.command, env={**surroundings(bub.home), **bub.environ}, cwd=bub.home,
        capture_output=True, text=True, timeout=GUARD_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "No channels are enabled" in done.stderr + done.stdout
    assert "No requests" in run(bub, "instar", "tokens", "summary")
    assert not bub.state_dir.exists()
