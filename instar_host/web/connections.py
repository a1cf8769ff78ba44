"""Connections of our own server: bounded in number, and in how long they may say nothing.

Promises that a thousand idle or dripping connections leave room for the next one: a head that does
not arrive in time is cut off, and beyond the cap the longest idle one makes room.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from instar_host.web.answers import NO_STORE, SECURITY_HEADERS
from instar_host.web.limits import Limits


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a deadline for request heads and a cap on connections."""

    limits: ClassVar[Limits] = Limits()
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since_s = self.loop.time()
        self._await_head()
        if len(self.connections) > self.limits.max_connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._busy():
            self._disarm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._idle_since_s = self.loop.time()
        if not self._busy():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """What is not HTTP at all gets our headers too."""
        body = b'{"error":"Malformed request"}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            NO_STORE,
            *SECURITY_HEADERS,
        ]
        events: tuple[h11.Event, ...] = (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        if self.conn.our_state is h11.IDLE or self.conn.our_state is h11.SEND_RESPONSE:
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _busy(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._disarm()
        self._head_timer = self.loop.call_later(self.limits.head_deadline_s, self._cut_off)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_off(self) -> None:
        if not self._busy() and not self.transport.is_closing():
            self.transport.close()

    def _make_room(self) -> None:
        idle = [
            one
            for one in cast("set[Any]", self.connections)
            if isinstance(one, BoundedProtocol) and one is not self and not one._busy()
        ]
        if idle:
            min(idle, key=lambda one: one._idle_since_s)._cut_off()


def bounded_by(limits: Limits) -> type[BoundedProtocol]:
    """The protocol under given limits; uvicorn takes a class, not an instance."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
