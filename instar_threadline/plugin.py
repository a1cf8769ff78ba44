"""Threadline as a plugin: the only file that ties its parts to the host's hooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pluggy

from instar_host.hookspecs import hookimpl
from instar_host.records import Command, HostContext, Panel, Route, Tick, TickControl
from instar_threadline import hookspecs
from instar_threadline.bridge.wiring import BridgeParts, bridge_commands, bridge_parts
from instar_threadline.commands import ThreadCommands
from instar_threadline.routes import ThreadlineRoutes
from instar_threadline.sample import conversations
from instar_threadline.service import (
    INDEX_TICK,
    SOURCES_TICK,
    STEPS_A_TICK,
    ThreadlineService,
)
from instar_threadline.settings_routes import SettingsRoutes

SOON_S = 0.01
PAGE = Path(__file__).parent / "dashboard" / "threadline.js"


class ThreadlinePlugin:
    """Built-in. Opens nothing until a route, tick or command asks."""

    def __init__(self) -> None:
        self._service: ThreadlineService | None = None
        self._bridge: BridgeParts | None = None

    def instar_addhooks(self, pluginmanager: pluggy.PluginManager) -> None:
        pluginmanager.add_hookspecs(hookspecs)

    @hookimpl
    def instar_routes(self, host: HostContext) -> Iterable[Route]:
        service = self.service(host)
        settings = SettingsRoutes(service.bridge_settings)
        bridge = self.bridge(host).routes
        return [*ThreadlineRoutes(service).routes(), *settings.routes(), *bridge]

    @hookimpl
    def instar_ticks(self, host: HostContext) -> Iterable[Tick]:
        service = self.service(host)
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
            *self.bridge(host).ticks,
        ]

    @hookimpl
    def instar_panels(self, host: HostContext) -> Iterable[Panel]:  # noqa: ARG002
        return [Panel(id="threadline", title="Threadline", module=PAGE, order=20)]

    @hookimpl
    def instar_commands(self, host: HostContext) -> Iterable[Command]:  # noqa: ARG002
        return [*ThreadCommands(self.service).commands(), *bridge_commands(self._new_bridge)]

    @hookimpl
    def instar_sample(self, host: HostContext, folder: Path) -> Mapping[str, Mapping[str, object]]:  # noqa: ARG002
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
            self._service = ThreadlineService(host)
        return self._service

    def bridge(self, host: HostContext) -> BridgeParts:
        """The Telegram bridge of this host, made when first asked for."""
        if self._bridge is None or self._bridge.bridge.host is not host:
            self._bridge = self._new_bridge(host)
            self.service(host).on_recorded(self._bridge.recorded)
        return self._bridge

    def _new_bridge(self, host: HostContext) -> BridgeParts:
        service = self.service(host)
        return bridge_parts(host, service.bridge_settings, service.keyring, lambda: service.agent)


def _index(service: ThreadlineService, control: TickControl) -> float | None:
    at_end = service.index(control.stopping, STEPS_A_TICK)
    return None if at_end else SOON_S


def _pull(service: ThreadlineService, control: TickControl) -> float | None:
    service.recorder.retry()
    return None if service.pulls.run(control.stopping) else SOON_S
