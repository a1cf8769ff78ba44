"""A small HTTP server on the loopback, for stand-ins of what is outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

POLL_S = 0.02


class LoopbackServer(ThreadingHTTPServer):
    """Listens on a free port; what it knows is the subclass's."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


S = TypeVar("S", bound=LoopbackServer)


class QuietHandler(BaseHTTPRequestHandler):
    """Says nothing on the terminal; a subclass overrides `get` and `post`."""

    def log_message(self, *_args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self.get()

    def do_POST(self) -> None:
        self.post()

    def get(self) -> None:
        self.send_error(405)

    def post(self) -> None:
        self.send_error(405)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        """A whole answer; names of headers with underscores for dashes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def running(server: S, before_the_end: Callable[[], object] = lambda: None) -> Iterator[S]:
    """The server, running for the block."""
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        before_the_end()
        server.shutdown()
        server.server_close()
        thread.join()
