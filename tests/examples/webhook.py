"""A webhook on the loopback that keeps what it is sent."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

from tests.loopback import LoopbackServer, QuietHandler, running


class Hook(LoopbackServer):
    """Answers with `status` and keeps the key and the body of every POST."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.status = 204
        self.got: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"{self.origin}/"


def listening() -> AbstractContextManager[Hook]:
    """A running webhook for the block."""
    return running(Hook())


class _Handler(QuietHandler):
    server: Hook

    def post(self) -> None:
        self.server.got.append((self.headers["idempotency-key"], json.loads(self.body())))
        self.answer(self.server.status, location="/elsewhere")
