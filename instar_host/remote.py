"""Asking the process that holds the lease, over its own HTTP.

Promises an answer within the deadline, a sentence of that process, or `LeaseHeld` naming it. Goes
to the address in the lease's file, without proxies and without following redirects. Never tries
twice: whether a request may be repeated is the caller's to say.
"""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import msgspec

from instar_host.errors import InstarError, LeaseHeld
from instar_host.lease import Holder

TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 16 << 20


class RemoteHost:
    """The holder of a lease, as another process of the same user talks to it."""

    def __init__(self, holder: Holder, token: str, timeout_s: float = TIMEOUT_S) -> None:
        """`timeout_s` bounds each wait for the network, not the whole answer."""
        self.holder = holder
        self._token = token
        self._timeout_s = timeout_s

    def get(self, path: str) -> Any:
        """The decoded answer to a GET. Raises as `post`."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        """The decoded answer to a POST of `body` as JSON.

        Raises LeaseHeld when there is no answer in time, InstarError when it is a refusal.
        """
        return self._ask("POST", path, msgspec.json.encode(body))

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        address = urlsplit(self.holder.address or "")
        if address.scheme != "http" or not address.hostname:
            raise self._silent("answers no HTTP")
        connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=self._timeout_s
        )
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        try:
            connection.request(method, address.path.rstrip("/") + path, body, headers)
            answer = connection.getresponse()
            data = answer.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException):
            raise self._silent(f"does not answer at {self.holder.address}") from None
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise InstarError(f"process {self.holder.pid} refuses: {_words(data)}")
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._silent("answers something else than this program would") from None

    def _silent(self, why: str) -> LeaseHeld:
        return LeaseHeld(
            f"process {self.holder.pid} holds the lease and {why}; stop it, or wait and try again",
            pid=self.holder.pid,
            address=self.holder.address,
        )


def _words(data: bytes) -> str:
    try:
        return str(msgspec.json.decode(data)["error"])[:500]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return "no reason given"
