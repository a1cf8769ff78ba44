"""What a plugin's endpoint answered, made fit to be sent or refused as a whole.

Promises that any server can put on the wire what leaves here: status, names and values of headers
are what HTTP knows, and how a body is framed is left to the server. Never guesses what an endpoint
meant.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

import msgspec
from starlette.responses import Response as Answer

from instar_host.records import Response

WITHOUT_BODY = frozenset({204, 205, 304})

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def sendable(response: object) -> Answer | Response:
    """The answer in the server's terms, a stream as it is. Raises TypeError and ValueError where it
    is none.
    """
    if not isinstance(response, Response):
        raise TypeError(f"an endpoint returns a Response, not {type(response).__name__}")
    status, body = _status(response.status), response.body
    headers = _headers(response.headers)
    if isinstance(body, AsyncIterator) and status not in WITHOUT_BODY:
        return msgspec.structs.replace(response, status=status, headers=headers)
    if not isinstance(body, bytes):
        raise TypeError(f"a body is bytes or an async iterator, not {type(body).__name__}")
    if body and status in WITHOUT_BODY:
        raise ValueError(f"an answer {status} has no body")
    return Answer(body, status, headers)


def _status(status: object) -> int:
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"a status is a whole number from 200 to 599, not {status!r}")
    return int(status)


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case; those that say how a body is framed are the server's to write."""
    said = {name.lower(): value.strip(" \t") for name, value in headers.items()}
    for name, value in said.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name} holds what no header can")
    return {name: value for name, value in said.items() if name not in _FRAMING}
