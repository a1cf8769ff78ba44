"""Answers that are ours and no plugin's: one error shape, and the headers that every answer wears.

Promises that an error says what to do differently and nothing about us: no path, no stack, no name.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from starlette.responses import Response

from instar_host.web.policy import Refusal

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)

NO_STORE = (b"cache-control", b"no-store")

_OURS_ALONE = frozenset(name for name, _ in SECURITY_HEADERS) | {b"set-cookie", b"server"}


def dressed(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Response headers with ours put on: a plugin can neither loosen them, nor set cookies or
    CORS.
    """
    kept = [
        (name, value)
        for name, value in headers
        if name not in _OURS_ALONE and not name.startswith(b"access-control-")
    ]
    if not any(name == NO_STORE[0] for name, _ in kept):
        kept.append(NO_STORE)
    return [*kept, *SECURITY_HEADERS]


def json_answer(status: int, value: object, headers: dict[str, str] | None = None) -> Response:
    """Any value as JSON."""
    return Response(
        msgspec.json.encode(value), status, headers=headers, media_type="application/json"
    )


def error_answer(status: int, error: str, **more: object) -> Response:
    """`{"error": ...}`, with further keys where the reference has them."""
    return json_answer(status, {"error": error, **more})


def refusal_answer(refusal: Refusal) -> Response:
    """A refusal on the wire.

    The connection stays open, except after a body that never came: closing it on a sender who is
    still talking would take the answer away from it.
    """
    more = {} if refusal.expected is None else {"expected": refusal.expected}
    answer = error_answer(refusal.status, refusal.error, **more)
    for name, value in refusal.headers:
        answer.headers[name] = value
    if refusal.status == 408:
        answer.headers["connection"] = "close"
    return answer
