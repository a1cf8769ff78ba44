"""Plugins that are broken on purpose, beside the real ledger: named, and harmless (H1, H2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from instar_host import Response, Route, Tick, TickControl, hookimpl
from instar_host.testing_web import RunHost, RunningHost
from instar_tokenledger.committed import Committed
from instar_tokenledger.plugin import TokenLedgerPlugin
from tests.host.third_party import Site
from tests.tokenledger.homes import said

GUARD_S = 60.0

BROKEN = {
    "unimportable": ("import a_package_that_is_not_there", "failed", "ModuleNotFoundError"),
    "quitter": ("raise SystemExit('I quit')", "failed", "SystemExit: I quit"),
    "misspelt": (
        "@hookimpl\ndef instar_rotues(host):\n    return []",
        "failed",
        "there is no hook instar_rotues (did you mean instar_routes?)",
    ),
    "newer": (
        "@hookimpl\ndef instar_routes(host, theme):\n    return []",
        "failed",
        "instar_routes asks for the argument 'theme'",
    ),
    "raising": (
        "@hookimpl\ndef tokenledger_sources(host):\n    raise KeyError('my own fault')",
        "loaded",
        "tokenledger_sources: KeyError: 'my own fault'",
    ),
    "nonsense": (
        "@hookimpl\ndef tokenledger_sources(host):\n    return ['no source']",
        "loaded",
        "returned an object of type str where TokenSource is expected",
    ),
    "greedy": (
        """@hookimpl\ndef instar_commands(host):
            return [Command(name='tokens', summary='mine', configure=print, run=print)]""",
        "refused",
        "claims the command tokens, which tokenledger has already",
    ),
}
"""By name: the module, the state of the plugin in the end, and what its status says."""


class Home:
    """One transcript, and a state directory that enables plugins."""

    def __init__(self, folder: Path, state_dir: Path) -> None:
        self.state_dir = state_dir
        project = folder / "claude" / "projects" / "-home-dev-app"
        project.mkdir(parents=True)
        (project / "session-1.jsonl").write_bytes(said(input=100, output=20) + b"\n")
        self.config: dict[str, Any] = {
            "tokenLedger": {"claudeDirs": [str(folder / "claude")], "dailyBackups": 0}
        }

    def instar(self, site: Site, *words: str) -> subprocess.CompletedProcess[str]:
        """`instar` in a process of its own, with what is installed in `site` enabled."""
        config = {**self.config, "plugins": {"enabled": list(BROKEN)}}
        (self.state_dir / "config.json").write_text(json.dumps(config), encoding="utf-8")
        environ = {**os.environ, "PYTHONPATH": str(site.path), "HOME": str(self.state_dir)}
        return subprocess.run(
            [sys.executable, "-m", "instar_host", *words, "--state-dir", str(self.state_dir)],
            capture_output=True, text=True, timeout=GUARD_S, env=environ,
        )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, state_dir: Path) -> Home:
    return Home(tmp_path, state_dir)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site-packages folder with every broken plugin in it."""
    made = Site(tmp_path / "site-packages", monkeypatch)
    for name, (source, _, _) in BROKEN.items():
        made.install(name, source)
    return made


def test_every_broken_plugin_is_named_and_none_of_them_matters(home: Home, site: Site) -> None:
    """H1, H2: seven broken plugins at once; the ledger is right, and each one is named."""
    scan = home.instar(site, "tokens", "scan", "--json")
    assert scan.returncode == 0, scan.stderr
    assert json.loads(scan.stdout)["summary"]["totalTokens"] == 120
    assert "Traceback" not in scan.stderr

    listed = home.instar(site, "plugins", "--json")
    assert listed.returncode == 1
    statuses = {one["name"]: one for one in json.loads(listed.stdout)["plugins"]}
    for name, (_, state, words) in BROKEN.items():
        assert statuses[name]["state"] == state, name
        told = scan.stderr if state == "loaded" else statuses[name]["error"]
        assert words in told, name
    assert statuses["tokenledger"]["state"] == "loaded"


class Stuck:
    """A plugin whose tick, endpoint and observer never come back, until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)

    def stick(self, *_anything: object) -> None:
        self.entered.release()
        self.go.wait(GUARD_S)

    @hookimpl
    def instar_ticks(self) -> list[Tick]:
        return [Tick(name="stuck", func=self.stick)]

    @hookimpl
    def instar_routes(self) -> list[Route]:
        def endpoint(_request: object) -> Response:
            self.stick()
            return Response()

        return [Route(method="GET", path="/stuck", endpoint=endpoint)]

    @hookimpl
    def tokenledger_committed(self, batch: Committed) -> None:
        self.stick()


class Witness:
    """A plugin that behaves: it hears of commits and has a tick."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        self.ticked = threading.Event()

    @hookimpl
    def tokenledger_committed(self, batch: Committed) -> None:
        assert batch.sessions == ("session-1",)
        self.heard.set()

    @hookimpl
    def instar_ticks(self) -> list[Tick]:
        def tick(_control: TickControl) -> None:
            self.ticked.set()

        return [Tick(name="witness", func=tick)]


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    made = Stuck()
    yield made
    made.go.set()


def test_a_plugin_that_blocks_holds_up_only_itself(
    home: Home, run_host: RunHost, stuck: Stuck
) -> None:
    """H1: with a tick, a request and an observer that hang, the ledger reads, others are told, and
    every other route answers."""
    witness = Witness()
    running = run_host(
        {"tokenledger": TokenLedgerPlugin(), "stuck": stuck, "witness": witness}, home.config
    )
    caller = threading.Thread(target=_ask, args=(running, "/stuck"))
    caller.start()
    for _ in range(3):
        assert stuck.entered.acquire(timeout=GUARD_S)
    assert witness.heard.wait(GUARD_S)
    assert witness.ticked.wait(GUARD_S)
    summary = running.client.get("/tokens/summary?since=0").json()["summary"]
    assert summary["totalTokens"] == 120
    assert running.stranger.get("/health").json() == {"status": "ok"}
    stuck.go.set()
    caller.join(GUARD_S)


class Faulty:
    """A plugin whose tick, endpoint, observer and source raise."""

    def __init__(self) -> None:
        self.failed = threading.Semaphore(0)

    def fail(self, *_anything: object) -> None:
        self.failed.release()
        raise RuntimeError("broken on purpose")

    @hookimpl
    def instar_ticks(self) -> list[Tick]:
        return [Tick(name="faulty", func=self.fail)]

    @hookimpl
    def instar_routes(self) -> list[Route]:
        def endpoint(_request: object) -> Response:
            raise RuntimeError("broken on purpose")

        return [Route(method="GET", path="/faulty", endpoint=endpoint)]

    @hookimpl
    def tokenledger_committed(self, batch: Committed) -> None:
        self.fail()

    @hookimpl
    def instar_host_ready(self) -> None:
        self.fail()


def test_a_plugin_that_raises_everywhere_is_named_and_harmless(
    home: Home, run_host: RunHost
) -> None:
    """H1: what a plugin raises stands under its name, with nothing of it in an answer."""
    faulty, witness = Faulty(), Witness()
    running = run_host(
        {"tokenledger": TokenLedgerPlugin(), "faulty": faulty, "witness": witness}, home.config
    )
    for _ in range(3):
        assert faulty.failed.acquire(timeout=GUARD_S)
    assert witness.heard.wait(GUARD_S)
    answer = running.client.get("/faulty")
    assert (answer.status_code, "on purpose" in answer.text) == (500, False)
    assert running.client.get("/tokens/summary?since=0").json()["summary"]["totalTokens"] == 120
    status = _status(running, "faulty")
    assert "RuntimeError: broken on purpose" in status["error"]
    assert status["errors"] >= 1
    assert _status(running, "tokenledger")["error"] is None


class Slow:
    """A plugin that takes its time to say what it brings."""

    def __init__(self) -> None:
        self.go = threading.Event()

    @hookimpl
    def instar_routes(self) -> list[Route]:
        self.go.wait(GUARD_S)
        return [Route(method="GET", path="/slow", endpoint=lambda _: Response(status=204))]


def test_a_plugin_that_is_slow_to_start_does_not_keep_the_host_from_answering(
    home: Home, run_host: RunHost
) -> None:
    """H1: while a registration hook blocks, the port answers and says that it starts."""
    slow = Slow()
    early: list[Any] = []

    def started(address: str) -> None:
        early.append(httpx.get(address + "/health", trust_env=False, timeout=GUARD_S).json())
        slow.go.set()

    running = run_host({"slow": slow}, home.config, started=started)
    assert early == [{"status": "starting"}]
    assert running.client.get("/slow").status_code == 204


def _ask(running: RunningHost, path: str) -> None:
    running.client.get(path)


def _status(running: RunningHost, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = running.client.get("/plugins").json()["plugins"]
    return next(one for one in found if one["name"] == name)
