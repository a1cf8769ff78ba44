"""Asking the process that sends, over its own HTTP.

Promises a plain answer or one sentence; goes to the address in the lease file, on this machine,
without proxies.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from instar_host.errors import InstarError, LeaseHeld
from instar_host.lease import Holder

TIMEOUT_S = 60.0
MAX_ANSWER_BYTES = 16 << 20


class Sender:
    """The process that holds the lease."""

    def __init__(self, holder: Holder, token: str) -> None:
        self._holder = holder
        self._token = token
        handler = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(handler)

    def get(self, path: str) -> Any:
        """A GET. Raises as `post`."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A POST. Raises LeaseHeld when the process does not answer, InstarError when it
        refuses.
        """
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        address = self._holder.address
        if address is None or not address.startswith("http://"):
            raise self._silent("serves no HTTP; stop it, or use it where it runs")
        request = urllib.request.Request(  # noqa: S310 - the scheme was just checked
            address.rstrip("/") + path,
            data=body,
            method=method,
            headers={"authorization": f"Bearer {self._token}", "content-type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                return json.loads(response.read(MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                words = _words(error.read(65536))
            raise InstarError(f"{words} (HTTP {error.code})") from None
        except (OSError, ValueError):
            raise self._silent("does not answer") from None

    def _silent(self, why: str) -> LeaseHeld:
        holder = self._holder
        return LeaseHeld(
            f"process {holder.pid} sends for this state directory and {why}",
            pid=holder.pid,
            address=holder.address,
        )


def _words(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return "it refused"
