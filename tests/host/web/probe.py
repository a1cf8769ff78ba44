"""A plugin with one route of every kind, and a socket that speaks HTTP byte by byte."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from instar_host import HostContext, Panel, Request, Response, Route, hookimpl
from instar_host.broadcast import Broadcast
from instar_host.endpoints import SSE_HEADERS, HttpError, json_response, whole_parameter

HANG_GUARD_S = 30.0


class Probe:
    """Routes that echo, fail, wait and stream."""

    def __init__(self) -> None:
        self.events = Broadcast()
        self._interrupted = 0
        self.entered = threading.Event()
        self.release = threading.Event()
        self.streams_closed = threading.Event()
        self.threads: list[str] = []
        self.panel: Path | None = None

    @hookimpl
    def instar_routes(self, host: HostContext) -> Iterable[Route]:
        """One route of every kind."""
        yield Route(method="GET", path="/probe/echo", endpoint=self.echo)
        yield Route(method="GET", path="/probe/item/{id}", endpoint=self.item)
        yield Route(method="GET", path="/probe/item/fixed", endpoint=self.fixed)
        yield Route(method="GET", path="/probe/open", endpoint=self.echo, access="open")
        yield Route(method="GET", path="/probe/limit", endpoint=self.limit)
        yield Route(method="GET", path="/probe/async", endpoint=self.on_loop)
        yield Route(method="GET", path="/probe/wait", endpoint=self.wait)
        yield Route(method="GET", path="/probe/crash", endpoint=self.crash)
        yield Route(method="GET", path="/probe/exit", endpoint=self.leave)
        yield Route(method="GET", path="/probe/nonsense", endpoint=self.nonsense)
        yield Route(method="GET", path="/probe/headers", endpoint=self.headers)
        yield Route(method="GET", path="/probe/refuse", endpoint=self.refuse)
        yield Route(method="GET", path="/probe/events", endpoint=self.stream)
        yield Route(method="GET", path="/probe/broken-events", endpoint=self.broken_stream)
        yield Route(method="GET", path="/probe/odd-events", endpoint=self.odd_stream)
        yield Route(
            method="PATCH", path="/probe/item/{id}", endpoint=self.echo_body, body_schema={}
        )
        yield Route(
            method="POST",
            path="/probe/large",
            endpoint=self.echo_body,
            body_schema={},
            max_body_bytes=1024 * 1024,
        )

    @hookimpl
    def instar_panels(self, host: HostContext) -> Iterable[Panel]:
        """A tab, where the test brings a module."""
        if self.panel is not None:
            yield Panel(id="probe", title="Probe", module=self.panel)

    def chatter(self) -> None:
        """Many events at once."""
        for n in range(999):
            self.events.publish({"n": n})

    def echo(self, request: Request) -> Response:
        """What the endpoint was told."""
        self.threads.append(threading.current_thread().name)
        return json_response(
            {
                "path": request.path,
                "query": {key: list(values) for key, values in request.query.items()},
                "headers": dict(request.headers),
            }
        )

    def item(self, request: Request) -> Response:
        """The name in the path."""
        return json_response(request.params)

    def fixed(self, request: Request) -> Response:
        """A fixed segment beside a name."""
        return json_response("fixed")

    def limit(self, request: Request) -> Response:
        """A strict parameter."""
        return json_response(whole_parameter(request, "limit", 20, low=1, high=500))

    async def on_loop(self, request: Request) -> Response:
        """Where async endpoints run."""
        return json_response(threading.current_thread().name)

    def wait(self, request: Request) -> Response:
        """Waits until the test says so."""
        self.entered.set()
        assert self.release.wait(HANG_GUARD_S)
        return json_response("done")

    def crash(self, request: Request) -> Response:
        """Raises something with a secret in it."""
        raise RuntimeError("secret /home/me/.instar went wrong")

    def leave(self, request: Request) -> Response:
        """Tries to end the process."""
        raise SystemExit(3)

    def nonsense(self, request: Request) -> Response:
        """Returns what is no response."""
        return {"not": "a response"}  # type: ignore[return-value]

    def headers(self, request: Request) -> Response:
        """Tries to loosen what the guard puts on."""
        return Response(
            headers={
                "Content-Security-Policy": "default-src *",
                "Access-Control-Allow-Origin": "*",
                "Set-Cookie": "a=b",
            }
        )

    def refuse(self, request: Request) -> Response:
        """An error of the contract."""
        raise HttpError(409, "Not like this", hint="try another way")

    def echo_body(self, request: Request) -> Response:
        """The length of the body that came."""
        return json_response({"bytes": len(request.body)})

    async def stream(self, request: Request) -> Response:
        """Server-sent events until the host stops."""
        return Response(headers=SSE_HEADERS, body=self._events())

    async def broken_stream(self, request: Request) -> Response:
        """A stream that fails before its first chunk."""

        async def broken() -> AsyncIterator[bytes]:
            for chunk in self.no_chunks():
                yield chunk

        return Response(headers=SSE_HEADERS, body=broken())

    async def odd_stream(self, request: Request) -> Response:
        """A stream with the header that the query names."""
        headers = {"x-odd": request.query["value"][0]}
        return Response(headers=headers, body=self._events())

    def no_chunks(self) -> Iterable[bytes]:
        """Raises before there is a first chunk."""
        raise RuntimeError("no stream today")

    def interrupt_streams(self) -> None:
        """End the streams that are open now, as a network would."""
        self._interrupted += 1
        self.events.publish(b": interrupted\n\n")

    async def _events(self) -> AsyncIterator[bytes]:
        began = self._interrupted
        try:
            async for frame in self.events.subscribe():
                yield frame
                if self._interrupted != began:
                    return
        finally:
            self.streams_closed.set()


class Wire:
    """A plain connection to a server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.sock.sendall(data)

    def read_all(self) -> bytes:
        """Everything until the server closes."""
        chunks = []
        while chunk := self.sock.recv(65536):
            chunks.append(chunk)
        return b"".join(chunks)

    def read_status(self) -> int:
        """The status of the next answer; its head is read, its body is not."""
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = self.sock.recv(1)
            if not chunk:
                raise ConnectionError(f"closed after {head!r}")
            head += chunk
        return int(head.split(b" ", 2)[1])


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """A connection to 127.0.0.1."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S) as sock:
        yield Wire(sock)


def await_true(condition: object, what: str) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + HANG_GUARD_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.002)
