"""Asking the process that holds the lease, over its own HTTP.

Promises an answer within the deadline, a sentence of that process, or `LeaseHeld` naming it. Goes
to the address in the lease's file, without proxies and without following redirects; where that is
https, the certificate is for the name that people use and not for this machine's address, so it is
not looked at. Never tries twice: whether a request may be repeated is the caller's to say.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from instar_host.errors import InstarError, LeaseHeld
from instar_host.lease import Holder

if TYPE_CHECKING:
    import ssl

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
        connection, prefix = self._connection()
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        try:
            connection.request(method, prefix + path, body, headers)
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

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        """One to the holder, not opened yet, and the path below which it answers."""
        try:
            address = urlsplit(self.holder.address or "")
            host, port, prefix = address.hostname, address.port, address.path.rstrip("/")
        except ValueError:  # no address, whoever wrote it
            host = None
        if host and address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s), prefix
        if host and address.scheme == "https":
            context = _unverified()
            return http.client.HTTPSConnection(
                host, port, timeout=self._timeout_s, context=context
            ), prefix
        raise self._silent("answers no HTTP")

    def _silent(self, why: str) -> LeaseHeld:
        return LeaseHeld(
            f"process {self.holder.pid} holds the lease and {why}; stop it, or wait and try again",
            pid=self.holder.pid,
            address=self.holder.address,
        )


def _unverified() -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _words(data: bytes) -> str:
    try:
        return str(msgspec.json.decode(data)["error"])[:500]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return "no reason given"
