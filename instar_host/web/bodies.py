"""Request bodies: read whole, counted while they arrive, under a deadline, and strictly JSON.

Promises at most `max_bytes` in memory however long the sender goes on, and an answer however slow
it is.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import Receive

from instar_host.web.policy import Refusal, too_large


class BodyRefused(Exception):  # noqa: N818 - says what happened
    """A body that is answered with a refusal instead of reaching its endpoint."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.error)
        self.refusal = refusal


class Disconnected(Exception):  # noqa: N818 - says what happened
    """The sender went away before its body was whole: there is nobody to answer."""


async def read_body(receive: Receive, max_bytes: int, deadline_s: float) -> bytes:
    """The whole body. Raises BodyRefused (413, 408) and Disconnected."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > max_bytes:
                    raise BodyRefused(too_large(max_bytes))
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise BodyRefused(
            Refusal(status=408, error=f"The body did not arrive within {deadline_s:g} s")
        ) from None


def check_json(body: bytes) -> None:
    """Raises BodyRefused (400) unless the body is empty or one JSON document without repeated keys.

    Checked here, once, so that no route can answer 500 to text that is not JSON; what the document
    may say is its endpoint's business.
    """
    if not body:
        return
    try:
        json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        why = f": {exc}" if isinstance(exc, _Repeated) else ""
        refusal = Refusal(status=400, error=f"The body is not valid JSON{why}")
        raise BodyRefused(refusal) from None


class _Repeated(ValueError):  # noqa: N818 - says what is wrong
    """An object says one key twice; readers differ in which one counts."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated("a key is repeated")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
