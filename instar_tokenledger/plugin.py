"""The token ledger as a plugin: the only file that ties its parts to the host's hooks.

Promises that importing it costs next to nothing: what a hook needs is imported when that hook is
called, and what a command needs when that command runs, because every command of every plugin
loads this file.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from instar_host.hookspecs import hookimpl
from instar_host.records import (
    Command,
    HostContext,
    Option,
    Panel,
    Route,
    Terminal,
    Tick,
    TickControl,
)
from instar_tokenledger.config import SECTION
from instar_tokenledger.usage import TokenSource

if TYPE_CHECKING:
    from instar_tokenledger.service import LedgerService
    from instar_tokenledger.sources.hermes import HermesReadings
    from instar_tokenledger.watch import Watch

NAME = "tokenledger"
"""Our own entry point: whose sources need no guard."""
HERMES_TICK = "hermes-usage"
PAGE = Path(__file__).parent / "dashboard" / "tokens.js"


class TokenLedgerPlugin:
    """Built-in; its own transcripts come through the very hook that others use."""

    def __init__(self) -> None:
        self._service: LedgerService | None = None
        self._watch: Watch | None = None
        self._readings: HermesReadings | None = None
        self._lock = threading.Lock()
        """Of the readings: a tick and a person's wish may come at once."""

    def instar_addhooks(self, pluginmanager: pluggy.PluginManager) -> None:
        from instar_tokenledger import hookspecs

        pluginmanager.add_hookspecs(hookspecs)

    @hookimpl
    def tokenledger_sources(self, host: HostContext) -> Iterable[TokenSource]:
        from instar_tokenledger.sources import bub, claude_code, hermes

        def roots() -> list[Path]:
            chosen = self.service(host).settings.claude_dirs
            folders = claude_code.config_dirs(chosen, host.config.environ, Path.home())
            return claude_code.project_roots(folders)

        def tapes() -> list[Path]:
            home = self._home_of(host, "bub")
            return [home / "tapes"] if home else []

        sources = [claude_code.claude_code(roots)]
        if self._home_of(host, "hermes") is not None:
            sources.append(hermes.hermes(_readings_folder(host)))
        if self._home_of(host, "bub") is not None:
            sources.append(bub.bub(tapes))
        return sources

    @hookimpl
    def instar_options(self, host: HostContext) -> Iterable[Option]:  # noqa: ARG002
        return [
            Option(
                flag="--claude-dir",
                section=SECTION,
                key="claudeDirs",
                summary="a configuration folder of Claude Code, one that holds projects/;"
                " may be given several times",
                repeatable=True,
                commands=("tokens",),
            )
        ]

    @hookimpl
    def instar_commands(self, host: HostContext) -> Iterable[Command]:  # noqa: ARG002
        return [
            Command(
                name="tokens",
                summary="what your coding agents used, from their transcripts",
                configure=_configure_tokens,
                run=self._run_tokens,
            )
        ]

    @hookimpl
    def instar_routes(self, host: HostContext) -> Iterable[Route]:
        from instar_tokenledger.routes import TokenRoutes

        return TokenRoutes(host, self.service(host)).routes()

    @hookimpl
    def instar_ticks(self, host: HostContext) -> Iterable[Tick]:
        # What the writer decodes with has to be known before threads decode: instar_host.shapes.
        from instar_tokenledger import old_ledger, third_party  # noqa: F401
        from instar_tokenledger.routes import TICK
        from instar_tokenledger.sources import bub, claude_code, hermes  # noqa: F401
        from instar_tokenledger.ticking import LedgerTick
        from instar_tokenledger.watch import Watch

        service = self.service(host)
        self._watch = Watch(host.clock, lambda: host.wake(TICK), host.holds_lease)
        every_s = service.settings.idle_interval_ms / 1000
        ticks = [Tick(name=TICK, func=LedgerTick(service, self._watch).run, every_s=every_s)]
        if self._home_of(host, "hermes") is not None:
            ticks.append(Tick(name=HERMES_TICK, func=self._hermes_usage(host), every_s=every_s))
        return ticks

    @hookimpl
    def instar_panels(self, host: HostContext) -> Iterable[Panel]:  # noqa: ARG002
        return [Panel(id="tokens", title="Tokens", module=PAGE, order=10)]

    @hookimpl
    def instar_sample(self, host: HostContext, folder: Path) -> Mapping[str, Mapping[str, object]]:
        from instar_tokenledger.sample import write_sample

        config = write_sample(folder / "tokenledger", host.clock.now_ms())
        return {SECTION: {"claudeDirs": [str(config)]}}

    @hookimpl
    def instar_host_stopping(self, host: HostContext) -> None:  # noqa: ARG002
        if self._watch is not None:
            self._watch.stop()
        if self._service is not None:
            self._service.events.close()
            self._service.close()

    def _home_of(self, host: HostContext, agent: str) -> Path | None:
        """Where an agent lives that may carry us: as it is set, else where we run inside it."""
        settings = self.service(host).settings
        said = {"hermes": settings.hermes_home, "bub": settings.bub_home}[agent]
        if not said and host.name == agent:
            said = host.config.environ.get(f"{agent.upper()}_HOME", "") or f"~/.{agent}"
        return Path(said).expanduser() if said else None

    def _hermes_usage(self, host: HostContext) -> Callable[[TickControl], float | None]:
        from instar_tokenledger.routes import TICK

        def look(_control: TickControl) -> None:
            if self._renew_readings(host):
                host.wake(TICK)

        return look

    def _renew_readings(self, host: HostContext) -> bool:
        """Copy what has changed in Hermes's own totals; true when something has.

        Raises LedgerError when they cannot be read, OSError when ours cannot be written.
        """
        if self._home_of(host, "hermes") is None:
            return False
        from instar_tokenledger.sources import hermes

        with self._lock:
            if self._readings is None:
                self._readings = hermes.HermesReadings(
                    lambda: self._home_of(host, "hermes"), _readings_folder(host)
                )
            return self._readings.refresh()

    def service(self, host: HostContext) -> LedgerService:
        """The service of this host, made when first asked for."""
        if self._service is None or self._service.host is not host:
            from instar_tokenledger.service import LedgerService

            self._service = LedgerService(host, lambda: sources_of(host))
            self._service.gather = lambda: self._renew_readings(host)
            self._readings = None
        return self._service

    def _run_tokens(
        self, arguments: argparse.Namespace, host: HostContext, terminal: Terminal
    ) -> int:
        from instar_tokenledger import commands

        return commands.run(arguments, self.service(host), terminal)


def _configure_tokens(parser: argparse.ArgumentParser) -> None:
    from instar_tokenledger.commands import configure

    configure(parser)


def _readings_folder(host: HostContext) -> Path:
    from instar_tokenledger.sources import hermes

    return host.state_dir / hermes.FOLDER


def sources_of(host: HostContext) -> list[TokenSource]:
    """Every plugin's sources in the order of loading, ours first, those of others guarded; of two
    with one name the later is left out and reported."""
    from instar_tokenledger import third_party

    found: dict[str, TokenSource] = {}
    order = host.plugins.running()
    contributions = host.plugins.collect("tokenledger_sources", host=host)
    for contribution in sorted(contributions, key=lambda one: order.index(one.plugin)):
        source: TokenSource = contribution.value
        report = partial(host.plugins.report, contribution.plugin)
        fault = third_party.fault_of(source)
        if fault:
            report(fault)
        elif source.name in found:
            report(f"its token source {source.name!r} exists already")
        elif contribution.plugin == NAME:
            found[source.name] = source
        else:
            found[source.name] = third_party.guarded(source, report)
    return list(found.values())
