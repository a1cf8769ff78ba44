"""What the loaded plugins contribute to a running host: routes, ticks and panels.

Promises that every contribution is known by its plugin and can be served as it is: a plugin that
claims what another one has, or what is the host's own, loses all it brought, and its status says
why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

import msgspec

from instar_host.claims import KINDS, Claims, route_key, settle
from instar_host.records import HostContext, Method, Panel, Route
from instar_host.ticks import OwnedTick

OWN_PATHS = ("/", "/health", "/plugins", "/panels", "/openapi.json")
"""Paths of the host itself; everything below `/static/` is its own too."""

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

_FIXED = re.compile(r"[A-Za-z0-9._~-]+")
_MODULE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.js")


class OwnedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route and the plugin that brought it."""

    plugin: str
    route: Route


class OwnedPanel(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard tab and the plugin that brought it."""

    plugin: str
    panel: Panel


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a host shows and does for its plugins, checked and in order."""

    routes: tuple[OwnedRoute, ...] = ()
    ticks: tuple[OwnedTick, ...] = ()
    panels: tuple[OwnedPanel, ...] = ()
    """By `order`, then title."""
    panel_folders: Mapping[str, Path] = msgspec.field(default_factory=dict)
    """Where the files below `/static/panels/<plugin>/` lie."""


def collect_surface(host: HostContext) -> Surface:
    """Ask all plugins and settle who gets what. Calls hooks: not on a loop."""
    claims = settle_all(host)
    panels = [OwnedPanel(plugin=c.plugin, panel=c.value) for c in claims.panels]
    panels.sort(key=lambda one: (one.panel.order, one.panel.title))
    return Surface(
        routes=tuple(OwnedRoute(plugin=c.plugin, route=c.value) for c in claims.routes),
        ticks=tuple(OwnedTick(plugin=c.plugin, tick=c.value) for c in claims.ticks),
        panels=tuple(panels),
        panel_folders={one.plugin: one.panel.module.parent for one in panels},
    )


def settle_all(host: HostContext, reserved: Iterable[str] = ()) -> Claims:
    """Everything that plugins claim and a host can serve; whoever claims anything else is refused.

    The host's own paths are reserved besides `reserved`. Calls hooks: not on a loop.
    """
    own = [route_key(method, path) for method in get_args(Method) for path in OWN_PATHS]
    claims = settle(host, reserved=[*own, *reserved])
    bad = _faults(claims)
    for plugin, fault in bad.items():
        host.plugins.refuse(plugin, fault)
    kept = {kind: tuple(c for c in getattr(claims, kind) if c.plugin not in bad) for kind in KINDS}
    for one in kept["panels"]:
        if not one.value.module.is_file():  # its tab says so too, to who opens it; the rest works
            words = f"the tab {one.value.id}: there is no file {one.value.module}"
            host.plugins.report(one.plugin, f"{words}; does the package's package-data name it?")
    return Claims(**kept)


def split_path(path: str) -> list[str]:
    """The segments of a route's path. Raises ValueError when it is not one."""
    if not path.startswith("/"):
        raise ValueError(f"the path {path!r} has to begin with /")
    segments = path[1:].split("/")
    names = [name[1] for segment in segments if (name := PLACEHOLDER.fullmatch(segment))]
    for segment in segments:
        if not (PLACEHOLDER.fullmatch(segment) or _FIXED.fullmatch(segment)) and path != "/":
            raise ValueError(f"{segment!r} in {path} is neither a plain word nor a {{name}}")
    if len(set(names)) != len(names):
        raise ValueError(f"the path {path} uses a name twice")
    return segments


def _faults(claims: Claims) -> dict[str, str]:
    """What cannot be served, by plugin: the first fault of each."""
    bad: dict[str, str] = {}
    for contribution in claims.routes:
        fault = _route_fault(contribution.value)
        bad[contribution.plugin] = bad.get(contribution.plugin) or fault
    folders: dict[str, Path] = {}
    for contribution in claims.panels:
        module: Path = contribution.value.module
        folder = folders.setdefault(contribution.plugin, module.parent)
        fault = "" if folder == module.parent else "its tabs lie in different folders"
        if not _MODULE.fullmatch(module.name):
            fault = f"the tab {contribution.value.id}: {module.name!r} is no JavaScript file"
        bad[contribution.plugin] = bad.get(contribution.plugin) or fault
    return {plugin: fault for plugin, fault in bad.items() if fault}


def _route_fault(route: Route) -> str:
    if route.method not in get_args(Method):
        return f"{route.method} {route.path}: there is no such method here"
    if route.path.startswith("/static/"):
        return f"{route.path}: everything below /static/ is the host's"
    try:
        split_path(route.path)
    except ValueError as exc:
        return str(exc)
    try:
        msgspec.json.encode([route.body_schema, [dict(one.schema) for one in route.parameters]])
    except (TypeError, ValueError, RecursionError, OverflowError):
        return f"{route.method} {route.path}: a schema of it is no JSON"
    return ""
