"""What our plugins register: found through `pyproject.toml`, asked like any host would ask.

Promises that nothing is listed by hand, so that what a plugin adds is documented or the tests fail.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import msgspec

from instar_host import hookspecs
from instar_host.claims import Claims, command_key, settle
from instar_host.clock import SystemClock
from instar_host.commands import Parser
from instar_host.config import Config, PluginsSection
from instar_host.discovery import GROUP
from instar_host.host import host_context
from instar_host.host_commands import HOST_COMMANDS
from instar_host.plugins import Contribution, Plugins
from instar_host.records import Command, HostContext, Option, Route
from instar_host.runtime import Runtime
from instar_host.settings import FieldDoc, Settings, describe
from instar_host.web.own_routes import own_routes

ROOT = Path(__file__).parents[1]
PACKAGES = ("instar_host", "instar_tokenledger", "instar_threadline")
HOST = "instar"


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that our own plugins bring."""

    host: HostContext
    plugins: tuple[str, ...]
    specifications: dict[str, tuple[FunctionType, ...]]
    """Hooks by the plugin that brings them; the host's own under `instar`."""
    settings: dict[str, type[Settings]]
    """By section."""
    routes: dict[str, tuple[Route, ...]]
    commands: dict[str, tuple[Command, ...]]
    options: tuple[Option, ...]
    claims: Claims


def registered(state_dir: Path) -> Registered:
    """Load our plugins, with an empty configuration, and ask them."""
    points = entry_points()
    names = tuple(point.name for point in points)
    given = {point.name: point.load() for point in points}
    config = Config.load(state_dir, {})
    plugins = Plugins.load(config, entry_points=(), given=given)
    host = host_context(state_dir, config, plugins, clock=SystemClock())
    claims = settle(host, reserved=[command_key(command.name) for command in HOST_COMMANDS])
    troubles = [status for status in plugins.statuses() if status.state != "loaded"]
    if troubles:
        raise RuntimeError(f"cannot be documented: {troubles}")
    modules = {HOST: hookspecs} | {point.name: _hookspecs(point) for point in points}
    return Registered(
        host=host,
        plugins=names,
        specifications={owner: specifications(module) for owner, module in modules.items()},
        settings=sections(),
        routes={
            HOST: own_routes(Runtime(lambda: host), lambda: ()),
            **{name: _of(claims.routes, name) for name in names},
        },
        commands={HOST: HOST_COMMANDS, **{name: _of(claims.commands, name) for name in names}},
        options=tuple(one.value for one in claims.options),
        claims=claims,
    )


def entry_points() -> list[EntryPoint]:
    """Our plugins, as `pyproject.toml` declares them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = project["entry-points"][GROUP]
    return [EntryPoint(name=name, value=value, group=GROUP) for name, value in found.items()]


def specifications(module: ModuleType) -> tuple[FunctionType, ...]:
    """The hooks that a module specifies, in the order they stand there."""
    return tuple(one for one in vars(module).values() if hasattr(one, "instar_spec"))


def sections() -> dict[str, type[Settings]]:
    """Every section of settings in our packages. A module that has one names it in `SECTION`."""
    for package in PACKAGES:
        for found in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            if ".adapters" not in found.name and not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    ours = [cls for cls in Settings.__subclasses__() if cls.__module__.startswith("instar_")]
    named = {_section(cls): cls for cls in ours if "plugin_" not in cls.__module__}
    return dict(sorted(named.items()))


def parser_of(command: Command) -> argparse.ArgumentParser:
    """A command's arguments, as it sets them up."""
    parser = Parser(prog=command.name)
    command.configure(parser)
    return parser


def children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The sub-commands of a command."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def fields(found: Registered) -> Iterator[tuple[str, FieldDoc]]:
    """Every setting with its section."""
    for section, cls in found.settings.items():
        yield from ((section, doc) for doc in describe(cls))


def _hookspecs(point: EntryPoint) -> ModuleType:
    package = point.value.partition(":")[0].rpartition(".")[0]
    return importlib.import_module(f"{package}.hookspecs")


def _section(cls: type[Settings]) -> str:
    if cls is PluginsSection:
        return "plugins"
    name: str = importlib.import_module(cls.__module__).SECTION
    return name


def _of(contributions: Iterable[Contribution], plugin: str) -> tuple[Any, ...]:
    return tuple(one.value for one in contributions if one.plugin == plugin)
