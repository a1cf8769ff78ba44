"""Which plugins are installed, and which of them may run.

Promises that the choice is made from metadata alone: no plugin is imported before the enable list
was read, and a neighbour with broken metadata hides nobody else. Never imports a plugin by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial, reduce
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import msgspec

from instar_host.config import PluginsSection
from instar_host.distributions import Installed, installed_with
from instar_host.errors import PluginError
from instar_host.settings import nearest
from instar_host.version import OUR_DISTRIBUTION

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

GROUP = "instar.plugins"

log = logging.getLogger("instar.plugins")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that could be loaded."""

    name: str
    distribution: str | None = None
    """What pip calls it; None for an object that the host was handed in this process."""
    version: str | None = None
    builtin: bool = False
    """Built-in plugins run unless disabled, all others only when enabled."""
    load: Callable[[], object]
    """Imports the plugin. May raise anything."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one candidate or one name of the enable list."""

    name: str
    verdict: Literal["load", "disabled", "duplicate", "missing"]
    candidate: Candidate | None = None
    why: str | None = None


def installed(
    entry_points: Iterable[EntryPoint] | None = None,
    builtin: Collection[str] = (OUR_DISTRIBUTION,),
) -> list[Candidate]:
    """The plugins of the group `instar.plugins`: those of `builtin` distributions first, then by
    name.
    """
    if entry_points is None:
        candidates = [c for one in installed_with(GROUP) for c in _candidates(one, builtin)]
    else:
        candidates = [_candidate(entry, builtin) for entry in entry_points if entry.group == GROUP]
    return sorted(candidates, key=lambda c: (not c.builtin, c.name, c.distribution or ""))


def choose(candidates: Iterable[Candidate], section: PluginsSection) -> list[Choice]:
    """One verdict a candidate, in the order of loading, then the enabled names nobody has
    installed.

    Third-party plugins follow the order of `plugins.enabled`, which settles who comes first in a
    conflict.
    """
    rank = {name: at for at, name in enumerate(section.enabled)}
    known = list(candidates)
    ordered = sorted(known, key=lambda c: (not c.builtin, rank.get(c.name, len(rank))))
    choices: list[Choice] = []
    owners: dict[str, Candidate] = {}
    for candidate in ordered:
        choices.append(_verdict(candidate, section, owners))
        if choices[-1].verdict == "load":
            owners[candidate.name] = candidate
    names = {candidate.name for candidate in known}
    return choices + [_missing(name, names) for name in rank if name not in names]


def _verdict(candidate: Candidate, section: PluginsSection, owners: dict[str, Candidate]) -> Choice:
    name = candidate.name
    if name in section.disabled:
        return Choice(name=name, verdict="disabled", candidate=candidate, why="in plugins.disabled")
    if not candidate.builtin and name not in section.enabled:
        why = f'to run it, add "{name}" to plugins.enabled'
        return Choice(name=name, verdict="disabled", candidate=candidate, why=why)
    if name in owners:
        first, second = (c.distribution or "this process" for c in (owners[name], candidate))
        why = f"{first} and {second} both bring a plugin called {name}; {first} runs, uninstall one"
        return Choice(name=name, verdict="duplicate", candidate=candidate, why=why)
    return Choice(name=name, verdict="load", candidate=candidate)


def _missing(name: str, names: Collection[str]) -> Choice:
    why = (
        f"{name} is in plugins.enabled and not installed{nearest(name, names)}; pip install the "
        "package that brings it into this environment, or take the name out"
    )
    return Choice(name=name, verdict="missing", why=why)


def _candidates(found: Installed, builtin: Collection[str]) -> list[Candidate]:
    return [
        Candidate(
            name=name,
            distribution=found.name,
            version=found.version,
            builtin=found.name in builtin,
            load=partial(_load, target),
        )
        for name, target in found.points
    ]


def _load(target: str) -> object:
    """Import what an entry point names: `module`, `module:attribute`, extras left aside."""
    module, _, attributes = target.partition("[")[0].replace(" ", "").partition(":")
    if not module:
        raise PluginError(
            "its entry point names no module; it has to be module or module:attribute"
        )
    return reduce(getattr, filter(None, attributes.split(".")), import_module(module))


def _candidate(entry: EntryPoint, builtin: Collection[str]) -> Candidate:
    name, version = _identity(entry.dist)
    return Candidate(
        name=entry.name,
        distribution=name,
        version=version,
        builtin=name in builtin,
        load=entry.load,
    )


def _identity(dist: Distribution | None) -> tuple[str | None, str | None]:
    if dist is None:
        return None, None
    try:
        return dist.metadata["Name"], dist.metadata["Version"]
    except Exception:  # somebody else's metadata, in any state
        log.info("unreadable metadata of a distribution", exc_info=True)
        return None, None
