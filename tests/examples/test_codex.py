"""The example plugin as its users get it: built, installed, found through its entry point."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instar_host.testing import MakeHost
from instar_host.testing_web import RunHost
from instar_tokenledger.ingest import Budget
from instar_tokenledger.plugin import TokenLedgerPlugin, sources_of
from instar_tokenledger.service import LedgerService
from tests.tokenledger.homes import EVER

EXAMPLE = Path(__file__).parents[2] / "examples" / "instar-plugin-codex"
MODULE = "instar_plugin_codex"
SESSION = "0199a213-81a0-7800-8aa1-bbab2a035a53"
GUARD_S = 60.0


def at(minute: int) -> str:
    return f"2026-01-01T10:{minute:02}:00.000Z"


def line(minute: int, kind: str, **payload: Any) -> bytes:
    return json.dumps({"timestamp": at(minute), "type": kind, "payload": payload}).encode()


def meta(minute: int = 0, **more: Any) -> bytes:
    fields = {"id": SESSION, "cwd": "/home/dev/app", "cli_version": "0.46.0", "git": {}, **more}
    return line(minute, "session_meta", **fields)


def turn(minute: int, model: str = "gpt-5-codex") -> bytes:
    return line(minute, "turn_context", cwd="/home/dev/app", model=model, summary="auto")


def count(minute: int, used: int, cached: int = 0, output: int = 0) -> bytes:
    total = {
        "input_tokens": used,
        "cached_input_tokens": cached,
        "output_tokens": output,
        "reasoning_output_tokens": output // 2,
        "total_tokens": used + output,
    }
    info = {"total_token_usage": total, "last_token_usage": total, "model_context_window": 272_000}
    limits = {"primary": {"used_percent": float(minute), "window_minutes": 299}}
    return line(minute, "event_msg", type="token_count", info=info, rate_limits=limits)


class Rollouts:
    """Codex's folder, and a ledger that reads it through the example."""

    def __init__(self, folder: Path, make_host: MakeHost, plugin: Any) -> None:
        self.folder = folder / "codex"
        self.plugin = plugin
        self._make_host = make_host
        self.settings: dict[str, Any] = {
            "tokenLedger": {"claudeDirs": [str(folder / "no-claude")], "dailyBackups": 0},
            "plugins": {"enabled": ["codex"], "settings": {"codex": {"home": str(self.folder)}}},
        }

    def write(
        self, *lines: bytes, name: str = "2026/01/01/rollout-1.jsonl", end: bytes = b"\n"
    ) -> Path:
        """One rollout, written anew."""
        path = self.folder / "sessions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(lines).replace(b'": ', b'":') + end)
        return path

    def requests(self, session: str = SESSION) -> list[dict[str, Any]]:
        """The session's requests, after a scan."""
        plugins = {"tokenledger": TokenLedgerPlugin(), "codex": self.plugin}
        self.host = self._make_host(plugins, self.settings)
        service = LedgerService(self.host, lambda: sources_of(self.host))
        try:
            list(service.step(Budget(), lambda: False))
            with service.reading() as reading:
                self.skips = reading.totals.contents()["skips"]
                self.summary = reading.totals.summary(EVER)
                return reading.sessions.requests(session, 100)
        finally:
            service.close()


@pytest.fixture
def codex(
    tmp_path: Path, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rollouts]:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield Rollouts(tmp_path, make_host, importlib.import_module(MODULE).CodexPlugin())
    sys.modules.pop(MODULE)


def test_the_last_cumulative_reading_is_the_sessions_total(codex: Rollouts) -> None:
    """D9: the last of several readings wins; input is told apart from what came from the cache."""
    codex.write(
        meta(), turn(1), count(2, 10_000, 4_000, 300), count(3, 60_000, 40_000, 900),
        count(4, 198_000, 150_000, 1_006),
    )  # fmt: skip
    requests = codex.requests()
    assert codex.summary["totalTokens"] == 199_006
    assert (codex.summary["totalInput"], codex.summary["totalCacheRead"]) == (48_000, 150_000)
    assert [r["output"] for r in requests] == [300, 600, 106]


def test_a_request_says_where_it_was_made(codex: Rollouts) -> None:
    """D9: session, folder, model and version come from the heads that stand before the reading."""
    codex.write(meta(), turn(1), count(2, 100), turn(3, "gpt-5"), count(4, 250))
    first, second = codex.requests()
    assert (first["projectPath"], first["clientVersion"]) == ("/home/dev/app", "0.46.0")
    assert (first["model"], second["model"]) == ("gpt-5-codex", "gpt-5")
    assert (first["input"], second["input"]) == (100, 150)


def test_reading_again_or_a_copy_replaces_and_never_sums(codex: Rollouts) -> None:
    """D9: a rollout that is scanned twice, has grown or was copied counts once."""
    codex.write(meta(), turn(1), count(2, 100))
    codex.requests()
    for name in ("2026/01/01/rollout-1.jsonl", "2026/01/02/rollout-2.jsonl"):
        codex.write(meta(), turn(1), count(2, 100), count(3, 400), name=name)
    codex.requests()
    assert codex.summary["totalTokens"] == 400


def test_nothing_to_count_is_no_error(codex: Rollouts) -> None:
    """D9: an empty rollout, one without usage and one with limits alone say nothing."""
    codex.write(end=b"")
    codex.write(meta(), turn(1), name="2026/01/01/rollout-2.jsonl")
    limits_alone = line(2, "event_msg", type="token_count", info=None, rate_limits={})
    codex.write(meta(), limits_alone, name="2026/01/01/rollout-3.jsonl")
    codex.requests()
    assert (codex.summary["totalTokens"], codex.skips) == (0, {})


def test_broken_and_unfinished_lines_cost_only_themselves(codex: Rollouts) -> None:
    """D9: malformed and truncated lines are tolerated, and counted where they are whole."""
    broken = b'{"type":"event_msg","payload":{"type":"token_count","info":{"total_token_usage":7}}}'
    codex.write(
        meta(), turn(1), broken, count(2, 100), count(3, 10, cached=90), count(4, 400)[:-9], end=b""
    )
    codex.requests()
    assert codex.summary["totalTokens"] == 100
    assert codex.skips == {"source-error": 1, "bad-row": 1}


def test_a_rollout_without_a_session_is_skipped(codex: Rollouts) -> None:
    """D9: a total that cannot be named cannot be kept."""
    codex.write(turn(1), count(2, 100))
    codex.requests()
    assert (codex.summary["totalTokens"], codex.skips) == (0, {"source-error": 1})


def test_a_resumed_session_goes_on_in_another_file(codex: Rollouts) -> None:
    """The key is the session, not the file: what is said later, anywhere, is the total."""
    codex.write(meta(), turn(1), count(2, 100))
    codex.write(meta(5), turn(6), count(7, 350), name="2026/01/02/rollout-2.jsonl")
    assert [r["input"] for r in codex.requests()] == [100, 250]


def test_route_tick_and_panel_are_served(codex: Rollouts, run_host: RunHost) -> None:
    """The tick reads the newest rollout's limits, the route answers them, the tab shows them."""
    codex.write(meta(), count(2, 100))
    codex.write(meta(), count(41, 100), count(42, 200), name="2026/01/02/rollout-2.jsonl")
    plugins = {"tokenledger": TokenLedgerPlugin(), "codex": codex.plugin}
    running = run_host(plugins, codex.settings)
    codex.plugin.look(codex.folder / "sessions")
    limits = running.client.get("/codex/limits").json()["limits"]
    assert limits["primary"]["used_percent"] == 42
    panel = next(p for p in running.client.get("/panels").json()["panels"] if p["id"] == "codex")
    assert "export async function mount" in running.client.get("/" + panel["module"]).text
    ticks = running.client.get("/plugins").json()["ticks"]
    assert {"name": "codex-limits", "plugin": "codex"}.items() <= next(
        t for t in ticks if t["name"] == "codex-limits"
    ).items()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has built and installed the example."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")
    flags = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--no-cache-dir")
    target = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, "--target", target, source],
        check=True,
        timeout=GUARD_S,
    )
    return target


class Program:
    """`instar` in a process of its own, with the example installed."""

    def __init__(self, site: Path, state_dir: Path) -> None:
        self._site = site
        self._state_dir = state_dir

    def configure(self, config: dict[str, Any]) -> None:
        (self._state_dir / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One call; what it imported stands on stderr."""
        environ = {**os.environ, "PYTHONPATH": str(self._site), "HOME": str(self._state_dir)}
        command = ("-v", "-m", "instar_host", *arguments)
        return subprocess.run(
            [sys.executable, *command, "--state-dir", str(self._state_dir)],
            capture_output=True, text=True, timeout=GUARD_S, env=environ,
        )  # fmt: skip

    def status(self) -> tuple[dict[str, Any], bool]:
        """What `instar plugins` says of the example, and whether it was imported."""
        done = self.run("plugins", "--json")
        found = {one["name"]: one for one in json.loads(done.stdout)["plugins"]}
        return found["codex"], f"import '{MODULE}'" in done.stderr


@pytest.fixture
def program(site: Path, state_dir: Path) -> Program:
    return Program(site, state_dir)


def test_it_is_found_but_never_imported_until_it_is_enabled(program: Program) -> None:
    """Installed is not enabled: the enable list is read before anything is imported."""
    status, imported = program.status()
    assert (status["state"], imported) == ("disabled", False)
    assert status["distribution"] == "instar-plugin-codex"

    program.configure({"plugins": {"enabled": ["codex"]}})
    status, imported = program.status()
    assert (status["state"], status["error"], imported) == ("loaded", None, True)
    assert status["hooks"] == [
        "instar_panels", "instar_routes", "instar_ticks", "tokenledger_sources",
    ]  # fmt: skip


def test_the_installed_program_counts_rollouts(program: Program, codex: Rollouts) -> None:
    """From pip to the number: entry point, config, scan."""
    codex.write(meta(), turn(1), count(2, 100, 40, 10), count(3, 400, 100, 20))
    program.configure(codex.settings)
    done = program.run("tokens", "scan", "--json")
    summary = json.loads(done.stdout)["summary"]
    assert (summary["totalInput"], summary["totalCacheRead"], summary["totalOutput"]) == (
        300,
        100,
        20,
    )


def test_a_wrong_setting_is_named(codex: Rollouts) -> None:
    """A third party's section is as strict as ours, and its plugin's status says what is wrong."""
    codex.write(meta(), count(2, 100))
    codex.settings["plugins"]["settings"]["codex"] = {"hoem": "/x"}
    codex.requests()
    status = next(s for s in codex.host.plugins.statuses() if s.name == "codex")
    assert "plugins.settings.codex.hoem is not a setting (did you mean home?)" in str(status.error)


def test_a_difference_is_traced_to_the_reading_it_ends_with(
    program: Program, codex: Rollouts
) -> None:
    """`tokens trace` shows the line of a running total, whose session stands at the file's head."""
    path = codex.write(meta(), turn(1), count(2, 100), count(3, 400))
    program.configure(codex.settings)
    program.run("tokens", "scan")
    found = json.loads(program.run("tokens", "trace", SESSION, "--json").stdout)["requests"]
    assert [one["usage"]["input"] for one in found] == [100, 300]
    assert [one["lines"][0]["usage"]["input"] for one in found] == [100, 400]
    with path.open("rb") as file:
        file.seek(found[1]["offset"])
        assert b'"input_tokens":400' in file.readline()


def test_the_module_stays_short() -> None:
    """A token source, a route, a tick and a panel in under 80 lines."""
    source = (EXAMPLE / MODULE / "__init__.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 80
