"""The route table as one ASGI application, behind the guard.

Promises that every request gets one answer of one shape, that a sync endpoint never runs on a loop,
and that what goes wrong inside a plugin reaches the caller as a number to look up in the log,
nothing more.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.responses import Response as Answer
from starlette.types import ASGIApp, Receive, Scope, Send

from instar_host.clock import Clock, SystemClock
from instar_host.endpoints import HttpError, error_response
from instar_host.errors import reason
from instar_host.records import Request, Response, Route
from instar_host.runtime import Runtime
from instar_host.surface import Surface
from instar_host.web.answers import error_answer, refusal_answer
from instar_host.web.bodies import (
    BodyRefused,
    Disconnected,
    check_json,
    read_body,
)
from instar_host.web.endpoint_answers import sendable
from instar_host.web.files import DASHBOARD, file_answer
from instar_host.web.guard import Authorize, Guard
from instar_host.web.limits import Limits
from instar_host.web.own_routes import own_routes
from instar_host.web.policy import SAFE_METHODS, Policy, body_refusal
from instar_host.web.streams import BrokenStream, HostGone, Stream, contained, on_host_loop
from instar_host.web.table import Match, RouteTable, route_path
from instar_host.workers import WorkersBusy

log = logging.getLogger("instar.web")


def build_app(
    runtime: Runtime,
    policy: Policy,
    *,
    authorize: Authorize | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> ASGIApp:
    """The application of one host. It may be built before the runtime starts and outlives it."""
    app = HostApp(runtime, limits or Limits())
    return Guard(
        app, policy, is_open=app.is_open, clock=clock or SystemClock(), authorize=authorize
    )


class HostApp:
    """Everything behind the guard."""

    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        self._runtime = runtime
        self._limits = limits
        self._streams = 0
        self._own = own_routes(runtime, self._routes)
        self._built: tuple[Surface | None, RouteTable] = (None, RouteTable(self._own))

    def is_open(self, scope: Scope) -> bool:
        """True when the path is served without a token."""
        raw = route_path(scope)
        if _static_segments(raw) is not None:
            return True
        match = self._table().match(raw)
        return match is not None and match.is_open(scope["method"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive)
        if answer is None:
            return
        if isinstance(answer, Answer):
            await answer(scope, receive, send)
            return
        await self._stream(answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | Response | None:
        """An answer to send, a response to stream, or None when nobody waits any more."""
        raw = route_path(scope)
        segments = _static_segments(raw)
        try:
            if segments is not None:
                return await self._static(scope, segments)
            match = self._table().match(raw)
            if match is None:
                return self._nothing_there()
            return await self._dispatch(match, scope, receive)
        except Disconnected:
            return None
        except BodyRefused as exc:
            return refusal_answer(exc.refusal)
        except HttpError as exc:
            return self._refused(exc, scope)
        except WorkersBusy:
            return _later("Too many requests wait already")
        except HostGone:
            return _later("The host is stopping")
        except TimeoutError:
            timeout_ms = round(self._limits.request_timeout_s * 1000)
            return error_answer(408, "Request timeout", timeoutMs=timeout_ms)
        except Exception as exc:  # noqa: BLE001 - a plugin boundary: one answer
            return self._failure(exc, scope)

    def _refused(self, exc: HttpError, scope: Scope) -> Answer | Response:
        """An endpoint's own error; 500 where it is none that can be sent."""
        try:
            return sendable(error_response(exc.status, exc.error, **exc.more))
        except Exception as unsayable:  # noqa: BLE001 - a plugin boundary
            return self._failure(unsayable, scope)

    async def _dispatch(self, match: Match, scope: Scope, receive: Receive) -> Answer | Response:
        method: str = scope["method"]
        route = match.route(method)
        if method == "OPTIONS" and route is None:
            return Answer(status_code=204, headers={"allow": match.allow()})
        if route is None:
            answer = error_answer(405, "Method not allowed")
            answer.headers["allow"] = match.allow()
            return answer
        refusal = body_refusal(scope["headers"], method, route.max_body_bytes)
        if refusal is not None:
            return refusal_answer(refusal)
        body = b""
        if method not in SAFE_METHODS:
            body = await read_body(receive, route.max_body_bytes, self._limits.body_deadline_s)
            check_json(body)
        async with asyncio.timeout(self._limits.request_timeout_s):
            response = await self._call(route, _request(scope, match, body))
        return sendable(response)

    async def _call(self, route: Route, request: Request) -> object:
        called: Callable[[], Any] = partial(route.endpoint, request)
        if inspect.iscoroutinefunction(route.endpoint):
            return await on_host_loop(self._runtime, contained(called))
        answer = await contained(partial(self._runtime.workers.run, called))
        if inspect.isawaitable(answer):
            return await on_host_loop(self._runtime, contained(lambda: answer))
        return answer

    async def _stream(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        assert not isinstance(response.body, bytes)
        stream = Stream(self._runtime, response.body, self._limits.stream_close_s)
        if scope["method"] == "HEAD":
            await stream.close()
            await Answer(status_code=response.status, headers=response.headers)(
                scope, receive, send
            )
            return
        if self._streams >= self._limits.max_streams:
            await stream.close()
            await _later("Too many streams are open")(scope, receive, send)
            return
        self._streams += 1
        try:
            await self._pump(stream, response, scope, receive, send)
        finally:
            self._streams -= 1

    async def _pump(
        self, stream: Stream, response: Response, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            await stream.open()
        except HttpError as exc:
            refused = self._refused(exc, scope)
            assert isinstance(refused, Answer)  # its body is bytes
            await refused(scope, receive, send)
            return
        except Exception as exc:  # noqa: BLE001 - a plugin boundary: the stream did not begin
            await self._failure(exc, scope)(scope, receive, send)
            return
        headers = [(k.encode(), v.encode("latin-1")) for k, v in response.headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        try:
            await stream.send_to(receive, send)
        except TimeoutError:
            log.info("a reader stopped reading; its stream was let go")
        except BrokenStream as exc:
            self._note(exc.__cause__ or exc, scope, "a stream broke off")
        except Exception as exc:
            log.warning("a stream broke off", exc_info=exc)

    async def _static(self, scope: Scope, segments: list[str]) -> Answer:
        if scope["method"] not in {"GET", "HEAD"}:
            answer = error_answer(405, "Method not allowed")
            answer.headers["allow"] = "GET, HEAD"
            return answer
        folder, rest = DASHBOARD, segments
        if segments[0] == "panels" and len(segments) > 1:
            surface = self._runtime.surface
            folders = surface.panel_folders if surface else {}
            plugin = unquote(segments[1])  # a plugin may be called anything, its files may not
            if plugin not in folders:
                return error_answer(404, "Not found")
            folder, rest = folders[plugin], segments[2:]
        known = next((v for k, v in scope["headers"] if k == b"if-none-match"), b"")
        read = partial(file_answer, folder, rest, known.decode("latin-1"))
        return await self._runtime.file_workers.run(read)

    def _table(self) -> RouteTable:
        """The table of what is loaded now, rebuilt when the runtime has started anew."""
        surface = self._runtime.surface
        if self._built[0] is not surface:
            self._built = (surface, RouteTable(self._routes()))
        return self._built[1]

    def _routes(self) -> list[Route]:
        surface = self._runtime.surface
        return [*self._own, *(owned.route for owned in (surface.routes if surface else ()))]

    def _failure(self, exc: BaseException, scope: Scope) -> Answer:
        """500 with a number that stands in the log beside what happened."""
        error_id = secrets.token_hex(4)
        self._note(exc, scope, f"error {error_id}")
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        answer = error_answer(500, "Internal server error", timestamp=now)
        answer.headers["x-instar-error-id"] = error_id
        return answer

    def _note(self, exc: BaseException, scope: Scope, what: str) -> None:
        """Into the log, and into the status of the plugin whose route it was."""
        where = f"{scope['method']} {route_path(scope).decode('latin-1')}"
        log.error("%s in %s", what, where, exc_info=exc)
        host, plugin = self._runtime.host, self._owner(scope)
        if host is not None and plugin is not None:
            host.plugins.report(plugin, f"{where}: {reason(exc)}")

    def _owner(self, scope: Scope) -> str | None:
        """The plugin whose route a request meant."""
        match, surface = self._table().match(route_path(scope)), self._runtime.surface
        route = match and match.route(scope["method"])
        owned = surface.routes if surface else ()
        return next((one.plugin for one in owned if one.route is route), None)

    def _nothing_there(self) -> Answer:
        if self._runtime.state == "running":
            return error_answer(404, "Not found")
        return _later("The host is not ready")


def _static_segments(raw: bytes) -> list[str] | None:
    """What to look for among the files; None when the path is a route's."""
    if raw == b"/":
        return ["index.html"]
    if not raw.startswith(b"/static/"):
        return None
    # Percent signs and backslashes survive here and fail the files' own check: nothing is decoded.
    return raw.decode("latin-1").split("/")[2:]


def _request(scope: Scope, match: Match, body: bytes) -> Request:
    query: dict[str, list[str]] = {}
    raw_query: bytes = scope.get("query_string", b"")
    for key, value in parse_qsl(raw_query.decode("latin-1"), keep_blank_values=True):
        query.setdefault(key, []).append(value)
    return Request(
        method=scope["method"],
        path=route_path(scope).decode("latin-1"),
        params=match.params(scope["method"]),
        query={key: tuple(values) for key, values in query.items()},
        headers={
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name not in {b"authorization", b"cookie"}
        },
        body=body,
    )


def _later(error: str) -> Answer:
    answer = error_answer(503, error)
    answer.headers["retry-after"] = "1"
    return answer
