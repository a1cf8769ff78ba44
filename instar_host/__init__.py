"""The contract between an agent host and its plugins, and the host that comes with it.

These names are public, and so are those of `instar_host.endpoints` and `instar_host.testing`;
everything else may move. Importing them starts nothing and loads neither a database nor a web
library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instar_host.clock import Clock, SystemClock
from instar_host.errors import ConfigError, InstarError, LeaseHeld, PluginError, UsageError
from instar_host.hookspecs import hookimpl, hookspec
from instar_host.records import (
    Command,
    HostContext,
    LeaseStatus,
    Option,
    Panel,
    Parameter,
    Record,
    Request,
    Response,
    Route,
    RuntimeView,
    TelegramPort,
    Terminal,
    Tick,
    TickControl,
    TickStatus,
    TopicSent,
)

if TYPE_CHECKING:
    from instar_host.adapters.asgi import Mounted, mount
    from instar_host.broadcast import Broadcast
    from instar_host.config import Config
    from instar_host.endpoints import HttpError
    from instar_host.lease import Lease
    from instar_host.plugins import Contribution, Outcome, Plugins, PluginStatus
    from instar_host.runtime import Runtime
    from instar_host.settings import Settings

__all__ = [
    "Broadcast",
    "Clock",
    "Command",
    "Config",
    "ConfigError",
    "Contribution",
    "HostContext",
    "HttpError",
    "InstarError",
    "Lease",
    "LeaseHeld",
    "LeaseStatus",
    "Mounted",
    "Option",
    "Outcome",
    "Panel",
    "Parameter",
    "PluginError",
    "PluginStatus",
    "Plugins",
    "Record",
    "Request",
    "Response",
    "Route",
    "Runtime",
    "RuntimeView",
    "Settings",
    "SystemClock",
    "TelegramPort",
    "Terminal",
    "Tick",
    "TickControl",
    "TickStatus",
    "TopicSent",
    "UsageError",
    "hookimpl",
    "hookspec",
    "mount",
]

_LATER = {
    "Broadcast": "broadcast",
    "HttpError": "endpoints",
    "Mounted": "adapters.asgi",
    "Runtime": "runtime",
    "mount": "adapters.asgi",
    "Config": "config",
    "Contribution": "plugins",
    "Lease": "lease",
    "Outcome": "plugins",
    "PluginStatus": "plugins",
    "Plugins": "plugins",
    "Settings": "settings",
}


def __getattr__(name: str) -> Any:
    """Import what a plugin seldom needs when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
