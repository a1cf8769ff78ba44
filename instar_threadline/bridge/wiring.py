"""How the bridge is tied to the plugin: one function.

Promises that making the parts opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from instar_host.records import HostContext, Route, Tick
from instar_threadline.bridge.assembly import (
    FEED_TICK,
    SEND_TICK,
    SINKS_TICK,
    Bridge,
    Surroundings,
)
from instar_threadline.bridge.routes import BridgeRoutes
from instar_threadline.bridge.settings import BridgeSettingsStore
from instar_threadline.record.keyring import Keyring

FEED_EVERY_S = 5.0
SEND_EVERY_S = 15.0
SINKS_EVERY_S = 15.0


class BridgeParts(Struct, frozen=True, kw_only=True):
    """What the plugin hands to the host for the bridge."""

    bridge: Bridge
    routes: tuple[Route, ...]
    ticks: tuple[Tick, ...]
    recorded: Callable[[], None]
    """Call it, from any thread, when the log has grown."""
    close: Callable[[], None]


def bridge_parts(
    host: HostContext,
    settings: BridgeSettingsStore,
    keyring: Callable[[], Keyring],
    agent: Callable[[], str],
) -> BridgeParts:
    """The bridge of a host. `keyring` verifies the log, `agent` names this agent."""
    bridge = Bridge(Surroundings(host=host, settings=settings, keyring=keyring, agent=agent))
    settings.on_change(lambda _changes: host.wake(SEND_TICK))
    return BridgeParts(
        bridge=bridge,
        routes=tuple(BridgeRoutes(bridge).routes()),
        ticks=(
            Tick(name=FEED_TICK, func=bridge.feed, every_s=FEED_EVERY_S),
            Tick(name=SEND_TICK, func=bridge.send, every_s=SEND_EVERY_S),
            Tick(name=SINKS_TICK, func=bridge.serve_sinks, every_s=SINKS_EVERY_S),
        ),
        recorded=lambda: host.wake(FEED_TICK),
        close=bridge.close,
    )
