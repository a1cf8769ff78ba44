"""Ours in a process that owns no HTTP: the runtime, and a port of our own while this one writes.

Promises that of all processes on one state directory only the holder of the lease opens a port, on
the host's own loop and never on that of the program it lives in; and that a port that is taken
keeps nothing else from running. Never blocks in `start`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable

from instar_host.adapters.entry import LOOPBACK
from instar_host.errors import InstarError
from instar_host.records import HostContext
from instar_host.runtime import STOP_S, Runtime
from instar_host.web.app import build_app
from instar_host.web.policy import Policy, bind_refusal, normal_host
from instar_host.web.server import PortBusy, Server, address_of, listen

LOOK_S = 0.2
"""How often it looks whether the lease has come to this process."""
PORT_RETRY_S = 1.0
PORT_ATTEMPTS = 5
"""So often the configured port is tried; then any free one is taken, and the lease names it."""

log = logging.getLogger("instar.resident")


class Resident:
    """One embedded host with a port of its own. Callable from any thread."""

    def __init__(
        self,
        make_host: Callable[[], HostContext],
        *,
        listen_on: str = LOOPBACK,
        allow_hosts: Iterable[str] = (),
    ) -> None:
        """Raises ValueError for a name in `allow_hosts` that is none."""
        self.runtime = Runtime(make_host)
        self._listen_on = listen_on
        self._allow_hosts = frozenset(normal_host(name) for name in allow_hosts)

    def start(self) -> None:
        """Begin. Raises InstarError while an earlier run still ends."""
        self.runtime.start()
        self.runtime.spawn(self._serve_as_holder())

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """End; true when nothing is left running within `timeout_s`."""
        return self.runtime.stop(timeout_s)

    async def _serve_as_holder(self) -> None:
        # A lock of the kernel tells nobody when it is free.
        while self.runtime.surface is None or not self.runtime.holds_lease():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        host = self.runtime.host
        assert host is not None
        try:
            policy, sock = await self._open(host)
        except InstarError as error:
            log.warning("instar serves nothing: %s", error)
            return
        Server(build_app(self.runtime, policy, clock=host.clock), sock).start(self.runtime)
        address = address_of(sock)
        await self.runtime.file_workers.run(lambda: self.runtime.publish_address(address))
        log.info("instar serves %s", address)

    async def _open(self, host: HostContext) -> tuple[Policy, socket.socket]:
        token = await self.runtime.file_workers.run(host.config.token)
        policy = Policy(
            token=token, allow_hosts=self._allow_hosts, agent_name=host.config.project_name
        )
        refusal = bind_refusal(self._listen_on, policy)
        if refusal is not None:
            raise InstarError(refusal)
        for _ in range(PORT_ATTEMPTS):
            try:
                return policy, listen(self._listen_on, host.config.port)
            except PortBusy:
                await asyncio.sleep(PORT_RETRY_S)
        log.warning("port %s is taken; instar takes another one", host.config.port)
        return policy, listen(self._listen_on, 0)
