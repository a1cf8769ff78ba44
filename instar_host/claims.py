"""Who gets what: routes, ticks, tabs, commands and flags, each of which only one plugin can have.

Promises that of two plugins that claim one thing the later loses as a whole, not only the thing:
half a plugin is worse than none, and its status says why. Built-in plugins come first. Never
renames anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from instar_host.plugins import Contribution, Plugins
from instar_host.records import Command, HostContext, Option, Panel, Route, Tick

KINDS = ("routes", "ticks", "panels", "commands", "options")
"""What can be claimed, each through the hook `instar_<kind>`."""

_PLACEHOLDER = re.compile(r"\{[^/}]*\}")
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What the plugins that are left contribute, in the order of loading; values are the
    records.
    """

    routes: tuple[Contribution, ...] = ()
    ticks: tuple[Contribution, ...] = ()
    panels: tuple[Contribution, ...] = ()
    commands: tuple[Contribution, ...] = ()
    options: tuple[Contribution, ...] = ()


def route_key(method: str, path: str) -> str:
    """What two routes that answer the same requests have in common: names of placeholders do not
    count.
    """
    return f"{method} {_PLACEHOLDER.sub('{}', path)}"


def command_key(name: str) -> str:
    """The claim on a sub-command."""
    return f"the command {name}"


def settle(
    host: HostContext, *, reserved: Iterable[str] = (), kinds: Collection[str] = KINDS
) -> Claims:
    """Ask all plugins, refuse those that claim what an earlier one or the host has, return the
    rest.

    `reserved` are keys (`route_key`, `command_key`) that belong to the host itself. With fewer
    `kinds` only those are asked for and settled. Calls hooks: not on a loop.
    """
    gathered = {
        kind: host.plugins.collect(f"instar_{kind}", host=host) if kind in kinds else []
        for kind in KINDS
    }
    owners = dict.fromkeys(reserved, "the host")
    for plugin in host.plugins.running():
        _claim(host.plugins, plugin, gathered, owners)
    order = {plugin: at for at, plugin in enumerate(host.plugins.running())}
    kept = {
        kind: tuple(sorted((c for c in found if c.plugin in order), key=lambda c: order[c.plugin]))
        for kind, found in gathered.items()
    }
    return Claims(**kept)


def _claim(
    plugins: Plugins,
    plugin: str,
    gathered: Mapping[str, Iterable[Contribution]],
    owners: dict[str, str],
) -> None:
    """Give a plugin all that it claims, or refuse it."""
    mine: dict[str, str] = {}
    for kind, key_of in _KEYS.items():
        for contribution in gathered[kind]:
            if contribution.plugin != plugin:
                continue
            key, fault = key_of(contribution.value)
            if fault:
                plugins.refuse(plugin, fault)
                return
            if key in mine:
                plugins.refuse(plugin, f"claims {key} twice")
                return
            if key in owners:
                plugins.refuse(plugin, f"claims {key}, which {owners[key]} has already")
                return
            mine[key] = plugin
    owners.update(mine)


def _route(route: Route) -> tuple[str, str]:
    fault = "" if route.path.startswith("/") else f"the path {route.path!r} has to begin with /"
    return route_key(route.method, route.path), fault


def _tick(tick: Tick) -> tuple[str, str]:
    fault = "" if tick.every_s > 0 else f"the tick {tick.name} has to have a period above 0 s"
    return f"the tick {tick.name}", fault


def _panel(panel: Panel) -> tuple[str, str]:
    return f"the tab {panel.id}", _word("tab", panel.id)


def _command(command: Command) -> tuple[str, str]:
    return command_key(command.name), _word("command", command.name)


def _option(option: Option) -> tuple[str, str]:
    good = option.flag.startswith("--") and _WORD.fullmatch(option.flag[2:])
    fault = "" if good else f"the flag {option.flag!r} has to be -- and a lower-case word"
    return f"the flag {option.flag}", fault


def _word(kind: str, name: str) -> str:
    good = _WORD.fullmatch(name)
    return "" if good else f"the {kind} {name!r} has to be lower-case letters, digits, - or _"


_KEYS: Mapping[str, Callable[[Any], tuple[str, str]]] = {
    "routes": _route,
    "ticks": _tick,
    "panels": _panel,
    "commands": _command,
    "options": _option,
}
