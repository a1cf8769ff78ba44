"""An OpenAI-compatible server on the loopback that answers every chat with the same usage."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

from tests.loopback import LoopbackServer, QuietHandler, running

USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 34,
    "total_tokens": 1234,
    "prompt_tokens_details": {"cached_tokens": 1000},
}
"""Of every answer: 200 fresh, 1000 cached, 34 written."""


class ModelServer(LoopbackServer):
    """Counts what it answers."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.answers = 0

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"


def serving() -> AbstractContextManager[ModelServer]:
    """A running server for the block."""
    return running(ModelServer())


class _Handler(QuietHandler):
    server: ModelServer

    def get(self) -> None:
        model = {"id": "fake-model", "object": "model", "context_length": 128_000}
        self._send("application/json", json.dumps({"object": "list", "data": [model]}))

    def post(self) -> None:
        asked = json.loads(self.body() or b"{}")
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
        self.answer(200, text.encode(), content_type=kind)
