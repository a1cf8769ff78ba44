"""What an endpoint may use to answer: JSON, errors that a caller can act on, strict parameters.

Promises one error shape, `{"error": "..."}`, and that a parameter is either exactly what it says it
is or a 400 that names it. An endpoint may raise `HttpError` anywhere; every other exception is a
500.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from instar_host.records import Request, Response

T = TypeVar("T")

JSON_HEADERS = {"content-type": "application/json"}
SSE_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}

_WHOLE = re.compile(r"[0-9]{1,16}")


class HttpError(Exception):
    """An answer that is an error: `status` and the sentence that the caller reads."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.more = more
        """Further keys of the answer, where a route's contract has them."""


def json_response(value: object, status: int = 200) -> Response:
    """`value` as JSON; structs, dataclasses, dicts and lists of them."""
    return Response(status=status, headers=JSON_HEADERS, body=msgspec.json.encode(value))


def error_response(status: int, error: str, **more: Any) -> Response:
    """`{"error": error}`, with further keys where a route's contract has them."""
    return json_response({"error": error, **more}, status)


def text_parameter(request: Request, name: str, default: str | None = None) -> str | None:
    """One query parameter, given at most once. Raises HttpError 400."""
    values = request.query.get(name, ())
    if len(values) > 1:
        raise HttpError(400, f"{name} may be given once")
    return values[0] if values else default


def whole_parameter(request: Request, name: str, default: int, *, low: int, high: int) -> int:
    """A whole number from `low` to `high`, decimal digits only. Raises HttpError 400."""
    said = text_parameter(request, name)
    if said is None:
        return default
    if not _WHOLE.fullmatch(said) or not low <= int(said) <= high:
        raise HttpError(400, f"{name} has to be a whole number from {low} to {high}")
    return int(said)


def body_as(request: Request, kind: type[T]) -> T:
    """The JSON body as `kind`, which decides what is allowed. Raises HttpError 400."""
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.ValidationError as exc:
        raise HttpError(400, str(exc)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise HttpError(400, "The body is not valid JSON") from None
