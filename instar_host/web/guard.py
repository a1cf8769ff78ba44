"""The guard that stands before every route of ours, in our own server and inside any other.

Promises an order (target, host, origin, query, token) in which the first failure answers, and that
no answer leaves without the security headers. Reads no body and knows no route: it is told which
paths are open. Never lets a websocket or anything else that is not HTTP through.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instar_host.clock import Clock
from instar_host.web.answers import dressed, refusal_answer
from instar_host.web.policy import (
    SAFE_METHODS,
    Policy,
    Refusal,
    host_refusal,
    origin_refusal,
    query_refusal,
    target_refusal,
    token_refusal,
)

BAD_TOKENS_A_MINUTE = 20
BAD_TOKEN_DELAY_S = 0.1
LOG_GAP_S = 1.0

Authorize = Callable[[Scope], bool | None]
"""The embedding application's verdict on a request: yes, no, or None for `ask for the token`."""

log = logging.getLogger("instar.web.guard")


class Guard:
    """ASGI middleware. `is_open` says of a scope whether its path needs no token."""

    def __init__(
        self,
        app: ASGIApp,
        policy: Policy,
        *,
        is_open: Callable[[Scope], bool],
        clock: Clock,
        authorize: Authorize | None = None,
        delay: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._policy = policy
        self._is_open = is_open
        self._authorize = authorize
        self._delay = delay
        self._failures = _Failures(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await close_websocket(scope, receive, send)
            return

        async def send_dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": dressed(message.get("headers", ()))}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_dressed)
            return
        if refusal.status in {401, 403} and self._failures.many(refusal):
            await self._delay(BAD_TOKEN_DELAY_S)
        await refusal_answer(refusal)(scope, receive, send_dressed)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = scope["headers"]
        path: str = scope["path"]
        first = target_refusal(scope.get("raw_path") or path.encode(), path)
        first = first or host_refusal(headers, self._policy.allow_hosts)
        if first is not None:
            return first
        is_open = self._is_open(scope)
        if not is_open or scope["method"] not in SAFE_METHODS:
            scheme = scope.get("scheme", "http")
            first = origin_refusal(headers, scheme, self._policy.allow_hosts)
        first = first or query_refusal(scope.get("query_string", b""))
        if first is not None or is_open:
            return first
        return self._verdict(scope)

    def _verdict(self, scope: Scope) -> Refusal | None:
        if self._authorize is not None:
            verdict = self._authorize(scope)
            if verdict is True:
                return None
            if verdict is False:
                return Refusal(status=403, error="Refused by the application")
        return token_refusal(scope["headers"], self._policy)


class _Failures:
    """Counts refused callers, so that guessing is slow and the log stays short."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=BAD_TOKENS_A_MINUTE)
        self._logged_at_s = float("-inf")
        self._unlogged = 0

    def many(self, refusal: Refusal) -> bool:
        """Note one more; true when more than 20 came within the last minute."""
        now_s = self._clock.monotonic_s()
        full = len(self._recent) == BAD_TOKENS_A_MINUTE
        slow = full and now_s - self._recent[0] < 60
        self._recent.append(now_s)
        self._unlogged += 1
        if now_s - self._logged_at_s >= LOG_GAP_S:
            log.info("refused %d request(s), last: %s", self._unlogged, refusal.error)
            self._logged_at_s, self._unlogged = now_s, 0
        return slow


async def close_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """There are no websockets here."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
