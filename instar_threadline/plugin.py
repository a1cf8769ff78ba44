"""Threadline as a plugin: the only file that ties its parts to the host's hooks.

Promises that importing it costs next to nothing: what a hook needs is imported when that hook is
called, and what a command needs when that command runs, because every command of every plugin
loads this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from instar_host.hookspecs import hookimpl
from instar_host.records import (
    Command,
    HostContext,
    Panel,
    Route,
    Terminal,
    Tick,
    TickControl,
)

if TYPE_CHECKING:
    from instar_threadline.bridge.wiring import BridgeParts
    from instar_threadline.records import MessageSource
    from instar_threadline.service import ThreadlineService

NAME = "threadline"
"""Our own entry point."""
STEPS_A_TICK = 4
SOON_S = 0.01
PAGE = Path(__file__).parent / "dashboard" / "threadline.js"


class ThreadlinePlugin:
    """Built-in. Opens nothing until a route, tick or command asks."""

    def __init__(self) -> None:
        self._service: ThreadlineService | None = None
        self._bridge: BridgeParts | None = None

    def instar_addhooks(self, pluginmanager: pluggy.PluginManager) -> None:
        from instar_threadline import hookspecs

        pluginmanager.add_hookspecs(hookspecs)

    @hookimpl
    def instar_routes(self, host: HostContext) -> Iterable[Route]:
        from instar_threadline.routes import ThreadlineRoutes
        from instar_threadline.settings_routes import SettingsRoutes

        service = self.service(host)
        settings = SettingsRoutes(service.bridge_settings)
        bridge = self.bridge(host).routes
        return [*ThreadlineRoutes(service).routes(), *settings.routes(), *bridge]

    @hookimpl
    def instar_ticks(self, host: HostContext) -> Iterable[Tick]:
        from instar_threadline.service import INDEX_TICK, SOURCES_TICK

        service, bridge = self.service(host), self.bridge(host)
        for fault in (service.bridge_settings.current()[1], bridge.bridge.problems.get("options")):
            if fault:  # it keeps the bridge shut, and nothing else; people should hear of it
                host.plugins.report(NAME, fault)
        return [
            Tick(
                name=INDEX_TICK,
                func=lambda control: _index(service, control),
                every_s=service.settings.index_interval_ms / 1000,
            ),
            Tick(
                name=SOURCES_TICK,
                func=lambda control: _pull(service, control),
                every_s=service.settings.source_interval_ms / 1000,
            ),
            *bridge.ticks,
        ]

    @hookimpl
    def threadline_sources(self, host: HostContext) -> Iterable[MessageSource]:
        return self.service(host).own_sources

    @hookimpl
    def instar_panels(self, host: HostContext) -> Iterable[Panel]:  # noqa: ARG002
        return [Panel(id="threadline", title="Threadline", module=PAGE, order=20)]

    @hookimpl
    def instar_commands(self, host: HostContext) -> Iterable[Command]:  # noqa: ARG002
        return [
            Command(
                name="threads",
                summary="what agents said to each other, and whether the record is whole",
                configure=_configure_threads,
                run=self._run_threads,
            ),
            Command(
                name="bridge",
                summary="the Telegram bridge: how it fares, set-up, tests, backfill",
                configure=_configure_bridge,
                run=self._run_bridge,
            ),
        ]

    @hookimpl
    def instar_sample(self, host: HostContext, folder: Path) -> Mapping[str, Mapping[str, object]]:  # noqa: ARG002
        from instar_threadline.sample import conversations

        recorder = self.service(host).recorder
        for message in conversations(host.clock.now_ms()):
            recorder.record(message)
        return {}

    @hookimpl
    def instar_host_stopping(self, host: HostContext) -> None:  # noqa: ARG002
        if self._bridge is not None:
            self._bridge.close()
        if self._service is not None:
            self._service.close()

    def service(self, host: HostContext) -> ThreadlineService:
        """The service of this host, made when first asked for; how a host records messages."""
        if self._service is None or self._service.host is not host:
            from instar_threadline.service import ThreadlineService

            self._service = ThreadlineService(host)
        return self._service

    def bridge(self, host: HostContext) -> BridgeParts:
        """The Telegram bridge of this host, made when first asked for."""
        if self._bridge is None or self._bridge.bridge.host is not host:
            self._bridge = self._new_bridge(host)
            self.service(host).on_recorded(self._bridge.recorded)
        return self._bridge

    def _new_bridge(self, host: HostContext) -> BridgeParts:
        from instar_threadline.bridge.wiring import bridge_parts

        service = self.service(host)
        return bridge_parts(host, service.bridge_settings, service.keyring, lambda: service.agent)

    def _run_threads(
        self, arguments: argparse.Namespace, host: HostContext, terminal: Terminal
    ) -> int:
        from instar_threadline import commands

        return commands.run(arguments, self.service(host), terminal)

    def _run_bridge(
        self, arguments: argparse.Namespace, host: HostContext, terminal: Terminal
    ) -> int:
        from instar_threadline.bridge import commands

        return commands.run(arguments, self._new_bridge(host).bridge, terminal)


def _configure_threads(parser: argparse.ArgumentParser) -> None:
    from instar_threadline.commands import configure

    configure(parser)


def _configure_bridge(parser: argparse.ArgumentParser) -> None:
    from instar_threadline.bridge.commands import configure

    configure(parser)


def _index(service: ThreadlineService, control: TickControl) -> float | None:
    at_end = service.index(control.stopping, STEPS_A_TICK)
    return None if at_end else SOON_S


def _pull(service: ThreadlineService, control: TickControl) -> float | None:
    service.recorder.retry()
    return None if service.pulls.run(control.stopping) else SOON_S
