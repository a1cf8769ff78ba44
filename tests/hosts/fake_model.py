"""An OpenAI-compatible server on the loopback that answers every chat with the same usage."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 34,
    "total_tokens": 1234,
    "prompt_tokens_details": {"cached_tokens": 1000},
}
"""Of every answer: 200 fresh, 1000 cached, 34 written."""


class ModelServer(ThreadingHTTPServer):
    """Counts what it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serving() -> Iterator[ModelServer]:
    """A running server for the block."""
    server = ModelServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def log_message(self, *_args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        model = {"id": "fake-model", "object": "model", "context_length": 128_000}
        self._send("application/json", json.dumps({"object": "list", "data": [model]}))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if not self.path.endswith("/chat/completions"):
            self.send_error(404)
            return
        self.server.answers += 1
        message = {"role": "assistant", "content": "hello"}
        if not asked.get("stream"):
            choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send("application/json", json.dumps(self._chunk("", [choice], USAGE)))
            return
        chunks = [
            self._chunk(".chunk", [{"index": 0, "delta": message, "finish_reason": None}], None),
            self._chunk(".chunk", [{"index": 0, "delta": {}, "finish_reason": "stop"}], None),
            self._chunk(".chunk", [], USAGE),
        ]
        said = [f"data: {json.dumps(one)}\n\n" for one in chunks]
        self._send("text/event-stream", "".join([*said, "data: [DONE]\n\n"]))

    def _chunk(self, kind: str, choices: list[Any], usage: Any) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.server.answers}",
            "object": f"chat.completion{kind}",
            "created": 1_767_225_600,
            "model": "fake-model",
            "choices": choices,
            "usage": usage,
        }

    def _send(self, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
