"""The fake Bot API over real HTTP on the loopback, with faults before and after the effect."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import AbstractContextManager
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl

from tests.loopback import LoopbackServer, QuietHandler, running
from tests.threadline.bridge.fake_bot_api import BotApi, Fault, RefusedError

DRIP_S = 0.15


class BotServer(LoopbackServer):
    """Serves one `BotApi`. `faults` are spent on writing calls, first in first out (None:
    none).
    """

    block_on_close = False

    def __init__(self, api: BotApi) -> None:
        super().__init__(_Handler)
        self.api = api
        self.faults: list[Fault | None] = []
        self.release = threading.Event()
        """Ends hanging calls."""
        self.late = threading.Semaphore(0)
        """Released once for each call that took effect after its client was gone."""

    @property
    def url(self) -> str:
        return self.origin

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no event."""


def serving(api: BotApi) -> AbstractContextManager[BotServer]:
    """A running server for the block."""
    server = BotServer(api)
    return running(server, server.release.set)


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: BotServer

    def get(self) -> None:
        self.post()

    def post(self) -> None:
        body = self.body()
        bot, _, method = self.path.split("?")[0].removeprefix("/bot").partition("/")
        if not method or ":" not in bot:
            self._answer(404, {"ok": False, "error_code": 404, "description": "Not Found"})
        elif bot != self.server.api.token:
            self._answer(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
        else:
            self._serve(method, parse_fields(self.headers.get("content-type", ""), body))

    def _serve(self, method: str, fields: dict[str, Any]) -> None:
        faults = self.server.faults
        fault = faults.pop(0) if faults and not method.startswith("get") else None
        if fault in ("reset-before", "502-before", "hang-before", "500-restart"):
            self._fail(fault)
            return
        if fault == "late":
            self._reset()
            self.server.api.call(method, fields)
            self.server.late.release()
            return
        try:
            answer = {"ok": True, "result": self.server.api.call(method, fields)}
            status = 200
        except RefusedError as refused:
            status = refused.code
            answer = {"ok": False, "error_code": status, "description": refused.description}
            if refused.parameters:
                answer["parameters"] = refused.parameters
            fault = None
        if fault is None:
            self._answer(status, answer)
        elif fault == "slow":
            self._drip(json.dumps(answer).encode())
        else:
            self._fail(fault)

    def _fail(self, fault: str) -> None:
        if fault.startswith("hang"):
            self.server.release.wait()
            self._reset()
        elif fault.startswith("reset"):
            self._reset()
        elif fault.startswith("502"):
            self.answer(502, b"<html>502 Bad Gateway</html>", content_type="text/html")
        elif fault == "500-restart":
            error = {"error_code": 500, "description": "Internal Server Error: restart"}
            self._answer(500, {"ok": False, **error})
        elif fault == "garbage":
            self.answer(200, b'{"ok": true, "result": ', content_type="application/json")
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")
            self.wfile.flush()
            self._reset()

    def _drip(self, body: bytes) -> None:
        """An answer in pieces, each well within the patience of a client, all together beyond."""
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        step = len(body) // 5 + 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            self.server.release.wait(DRIP_S)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        self.answer(status, json.dumps(answer).encode(), content_type="application/json")


def parse_fields(kind: str, body: bytes) -> dict[str, Any]:
    """The parameters of a call: JSON, or a form whose values may be JSON."""
    if kind.startswith("application/json"):
        loaded: dict[str, Any] = json.loads(body)
        return loaded
    if kind.startswith("multipart/form-data"):
        return _multipart(kind, body)
    return {name: _value(name, text) for name, text in parse_qsl(body.decode())}


def _multipart(kind: str, body: bytes) -> dict[str, Any]:
    message = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
    fields: dict[str, Any] = {}
    for part in message.get_payload():
        assert not isinstance(part, str)
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(content, bytes)
        filename = part.get_filename()
        fields[name] = (filename, content) if filename else _value(name, content.decode())
    return fields


def _value(name: str, text: str) -> Any:
    if name in ("text", "caption", "name"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
