"""One call of a command: its arguments, its bridge, its terminal, and whoever sends.

Promises that for the length of a block exactly one process acts: the one that holds the lease,
or this one.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from instar_host import calls
from instar_host.errors import InstarError
from instar_host.lease import Lease
from instar_host.records import Terminal
from instar_host.remote import TIMEOUT_S, RemoteHost
from instar_threadline.bridge import routes
from instar_threadline.bridge.assembly import NOT_CONFIGURED, Bridge
from instar_threadline.bridge.control import Control
from instar_threadline.bridge.status import BridgeStatus

POLL_S = 2.0
"""Between two looks at a process that works."""


class Call(calls.Call[Bridge]):
    """One call over the bridge."""

    def __init__(self, arguments: argparse.Namespace, bridge: Bridge, terminal: Terminal) -> None:
        super().__init__(arguments, bridge.host, terminal, bridge)
        self.bridge = bridge
        self.control = Control(bridge)

    @contextmanager
    def sender(self, answer_within_s: float = TIMEOUT_S) -> Iterator[RemoteHost | None]:
        """The process that sends; None when this one does, for the block."""
        lease = Lease(self.bridge.host.state_dir, name="instar bridge")
        if lease.try_acquire():
            try:
                yield None
            finally:
                lease.release()
            return
        holder = lease.holder()
        if holder is None:
            raise InstarError("another process is just starting or stopping; try again")
        yield RemoteHost(holder, self.bridge.host.config.token(), timeout_s=answer_within_s)

    def wait(self, seconds: float) -> None:
        self.bridge.host.clock.wait(threading.Event(), seconds)

    def now_s(self) -> float:
        return self.bridge.host.clock.monotonic_s()


def present(call: Call, sender: RemoteHost | None) -> BridgeStatus:
    """How the bridge fares in the process that sends, or in this one."""
    if sender is None:
        return call.bridge.status()
    return msgspec.convert(sender.get(routes.STATUS), BridgeStatus)


def require_bot(status: BridgeStatus) -> None:
    """Raises InstarError where there is nothing to send with: waiting for it would not end."""
    if not status.connection:
        raise InstarError("; ".join(status.problems) or NOT_CONFIGURED)
