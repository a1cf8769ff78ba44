"""Our own HTTP server: one listening socket, served by uvicorn on the host's loop.

Promises that the port is ours before anything else starts, and that a stop within its budget leaves
no connection, task or descriptor behind. Writes no access log: addresses carry what people look at.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket

import uvicorn
from starlette.types import ASGIApp

from instar_host.errors import InstarError
from instar_host.runtime import Runtime
from instar_host.web.connections import bounded_by
from instar_host.web.limits import Limits

BACKLOG = 256
KEEP_ALIVE_S = 20
MAX_HEAD_BYTES = 32 * 1024


class PortBusy(InstarError):  # noqa: N818 - says what is wrong
    """Somebody else listens there."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises PortBusy, and InstarError otherwise."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle off only where the protocol is named: without it every small answer
    # waits 40 ms for the reader's acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise PortBusy(f"Port {port} of {host} is taken.") from None
        raise InstarError(f"Cannot listen on {host} port {port}: {exc.strerror}.") from None
    return sock


def address_of(sock: socket.socket) -> str:
    """Where a browser on this machine finds the socket, without a trailing slash."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Uvicorn(uvicorn.Server):
    """uvicorn, told to end by an event instead of looking ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Keep the Date header fresh until it is time to go."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, after what was accepted a moment ago has become a connection.

        asyncio loses a socket whose server closes between the two (CPython gh-109564).
        """
        for sock in sockets or ():
            asyncio.get_running_loop().remove_reader(sock)
        await asyncio.sleep(0)
        await super().shutdown(sockets)

    def end(self) -> None:
        """Stop taking connections and close the open ones."""
        self.should_exit = True
        self.ending.set()


class Server:
    """Serves `app` on `sock` from now until the runtime stops."""

    def __init__(self, app: ASGIApp, sock: socket.socket, limits: Limits | None = None) -> None:
        self._sock = sock
        self._task: asyncio.Task[None] | None = None
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                http=bounded_by(limits or Limits()),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                backlog=BACKLOG,
            )
        )

    def start(self, runtime: Runtime) -> None:
        """Serve on the runtime's loop; the runtime's stop ends it."""
        runtime.spawn(self._serve(), self._close)

    async def _serve(self) -> None:
        self._task = asyncio.current_task()
        try:
            await self._server.serve(sockets=[self._sock])
        finally:
            self._sock.close()
            for connection in tuple(self._server.server_state.connections):
                connection.transport.abort()

    async def _close(self, seconds: float) -> None:
        self._server.end()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
