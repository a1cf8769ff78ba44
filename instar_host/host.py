"""How a host is made: its configuration, its plugins and the context that they are handed.

Promises that nothing is created on disk by making one. Never starts a thread, a loop or a server:
those are the runtime's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from instar_host.clock import Clock, SystemClock
from instar_host.config import Config, StateDir
from instar_host.plugins import Plugins
from instar_host.records import HostContext
from instar_host.version import installed_version


def host_context(
    state_dir: Path,
    config: Config,
    plugins: Plugins,
    *,
    name: str = "instar",
    clock: Clock | None = None,
    capabilities: Collection[str] = (),
    holds_lease: Callable[[], bool] | None = None,
    wake: Callable[[str], None] | None = None,
) -> HostContext:
    """What the plugins of one host are told about it. Without a lease of its own a host writes
    freely.
    """
    return HostContext(
        name=name,
        version=installed_version(),
        state_dir=state_dir,
        config=config,
        clock=clock or SystemClock(),
        plugins=plugins,
        capabilities=frozenset(capabilities),
        holds_lease=holds_lease or (lambda: True),
        wake=wake or (lambda _tick: None),
    )


def open_host(
    state_dir: StateDir,
    environ: Mapping[str, str],
    *,
    host_values: Mapping[str, Any] | None = None,
    name: str = "instar",
    clock: Clock | None = None,
    capabilities: Collection[str] = (),
    given: Mapping[str, object] | None = None,
) -> HostContext:
    """Read the configuration, load the plugins that it allows, make the context. `given` are
    plugins by name that the host brings itself. Raises ConfigError.
    """
    config = Config.load(
        state_dir.path, environ, host_values=host_values, state_dir_origin=state_dir.origin
    )
    plugins = Plugins.load(config, given=given)
    return host_context(
        state_dir.path, config, plugins, name=name, clock=clock, capabilities=capabilities
    )
