"""The token ledger as a plugin: the only file that ties its parts to the host's hooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import pluggy

from instar_host.errors import InstarError
from instar_host.hookspecs import hookimpl
from instar_host.records import Command, HostContext, Option, Panel, Route, Tick, TickControl
from instar_tokenledger import hookspecs, third_party
from instar_tokenledger.commands import TokenCommands
from instar_tokenledger.config import SECTION, LedgerSettings
from instar_tokenledger.ingest import Budget
from instar_tokenledger.routes import TICK, TokenRoutes
from instar_tokenledger.sample import write_sample
from instar_tokenledger.service import TROUBLE, LedgerService
from instar_tokenledger.sources.claude_code import claude_code, config_dirs, project_roots
from instar_tokenledger.usage import TokenSource

NAME = "tokenledger"
"""Our own entry point: whose sources need no guard."""
CATCHING_UP_S = 0.05
"""Between two ticks while files wait."""
LISTENING_S = 2.0
"""Between two looks while somebody watches the page."""
LOOK_SHARE = 20
"""With listeners, a look that takes long is repeated after this many times as long."""
PAGE = Path(__file__).parent / "dashboard" / "tokens.js"


class TokenLedgerPlugin:
    """Built-in; its own transcripts come through the very hook that others use."""

    def __init__(self) -> None:
        self._service: LedgerService | None = None

    def instar_addhooks(self, pluginmanager: pluggy.PluginManager) -> None:
        pluginmanager.add_hookspecs(hookspecs)

    @hookimpl
    def tokenledger_sources(self, host: HostContext) -> Iterable[TokenSource]:
        def roots() -> list[Path]:
            chosen = host.config.section(SECTION, LedgerSettings).claude_dirs
            return project_roots(config_dirs(chosen, host.config.environ, Path.home()))

        return [claude_code(roots)]

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
        return [TokenCommands(self.service).command()]

    @hookimpl
    def instar_routes(self, host: HostContext) -> Iterable[Route]:
        return TokenRoutes(host, self.service(host)).routes()

    @hookimpl
    def instar_ticks(self, host: HostContext) -> Iterable[Tick]:
        service = self.service(host)
        settings = service.settings
        return [
            Tick(
                name=TICK,
                func=lambda control: self._tick(service, control),
                every_s=settings.idle_interval_ms / 1000,
            )
        ]

    @hookimpl
    def instar_panels(self, host: HostContext) -> Iterable[Panel]:  # noqa: ARG002
        return [Panel(id="tokens", title="Tokens", module=PAGE, order=10)]

    @hookimpl
    def instar_sample(self, host: HostContext, folder: Path) -> Mapping[str, Mapping[str, object]]:
        config = write_sample(folder / "tokenledger", host.clock.now_ms())
        return {SECTION: {"claudeDirs": [str(config)]}}

    @hookimpl
    def instar_host_stopping(self, host: HostContext) -> None:  # noqa: ARG002
        if self._service is not None:
            self._service.events.close()
            self._service.close()

    def service(self, host: HostContext) -> LedgerService:
        """The service of this host, made when first asked for."""
        if self._service is None or self._service.host is not host:
            self._service = LedgerService(host, lambda: sources_of(host))
        return self._service

    def _tick(self, service: LedgerService, control: TickControl) -> float | None:
        settings, clock = service.settings, service.host.clock
        began_s = clock.monotonic_s()
        budget = Budget(
            files=settings.max_files_per_scan,
            bytes=settings.max_bytes_per_scan,
            rows=settings.max_rows_per_scan,
            seconds=settings.max_scan_ms / 1000,
        )
        try:
            for _ in service.step(budget, control.stopping):
                pass
        except InstarError:
            raise
        except TROUBLE as error:
            raise InstarError(f"the ledger cannot be written: {error}") from error
        progress = service.health.progress
        if progress and not progress.caught_up:
            return CATCHING_UP_S
        if not service.events.listeners:
            return None
        took_s = clock.monotonic_s() - began_s
        return min(settings.idle_interval_ms / 1000, max(LISTENING_S, LOOK_SHARE * took_s))


def sources_of(host: HostContext) -> list[TokenSource]:
    """Every plugin's sources in the order of loading, ours first, those of others guarded; of two
    with one name the later is left out and reported."""
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
