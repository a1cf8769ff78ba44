"""The hooks a plugin may implement, as far as any host is concerned.

Mark an implementation with `instar_host.hookimpl`. Every hook is a plain `def`, returns data and
does nothing else at length: it is called off any event loop, when the host starts. A plugin package
may bring hooks of its own with a plain attribute `instar_addhooks(pluginmanager)`; it is called
before anything registers. Hook wrappers are refused: one plugin must not be able to swallow what
another one says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pluggy

from instar_host.records import Command, HostContext, Option, Panel, Route, TelegramPort, Tick

PROJECT = "instar"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def instar_routes(host: HostContext) -> Iterable[Route]:  # type: ignore[empty-body]
    """HTTP routes to serve. Two plugins that claim one `(method, path)`: the later loses as a
    whole.
    """


@hookspec
def instar_ticks(host: HostContext) -> Iterable[Tick]:  # type: ignore[empty-body]
    """Repeated work. Runs only in the process that holds the lease, each tick never twice at
    once.
    """


@hookspec
def instar_panels(host: HostContext) -> Iterable[Panel]:  # type: ignore[empty-body]
    """Dashboard tabs."""


@hookspec
def instar_commands(host: HostContext) -> Iterable[Command]:  # type: ignore[empty-body]
    """Sub-commands of `instar`."""


@hookspec
def instar_options(host: HostContext) -> Iterable[Option]:  # type: ignore[empty-body]
    """Command-line flags that stand for settings, taken by `serve` and by the commands they
    name.
    """


@hookspec(firstresult=True)
def instar_telegram(host: HostContext) -> TelegramPort | None:
    """The host's own way to Telegram, where it has one. The first answer that is not None is
    used.
    """


@hookspec
def instar_sample(host: HostContext, folder: Path) -> Mapping[str, Mapping[str, object]]:  # type: ignore[empty-body]
    """Write a small made-up sample into `folder`, below a name of its own; return the settings that
    read it.

    Settings are `{section: {key: value}}`, as in `config.json`. Called by `instar serve --sample`
    only, with a temporary state directory; nothing of the user's may be read or written.
    """


@hookspec
def instar_host_ready(host: HostContext) -> None:
    """The host is up: its routes answer and its ticks run. For what must wait until then."""


@hookspec
def instar_host_stopping(host: HostContext) -> None:
    """The host is about to stop: ticks have ended, stores may close. Must return within a
    second.
    """
