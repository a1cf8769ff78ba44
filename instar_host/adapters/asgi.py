"""Our routes and page inside an ASGI application that somebody else serves.

Promises that the application is not touched: requests below the prefix are ours, everything else
goes through untouched, lifespan included. The guard stands before our routes here too; the
application's own login is accepted through `authorize`, and only through it. Needs asyncio; no
setting of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instar_host.clock import Clock, SystemClock
from instar_host.config import locate_state_dir
from instar_host.errors import InstarError
from instar_host.host import open_host
from instar_host.records import HostContext
from instar_host.runtime import Runtime
from instar_host.web.answers import dressed, error_answer
from instar_host.web.app import build_app
from instar_host.web.guard import Authorize, close_websocket
from instar_host.web.policy import Policy, normal_host
from instar_host.workers import WorkersBusy

RETRY_S = 5.0
"""How soon a host that could not be made is tried again, at the earliest."""
STARTUP_S = 5.0
"""How long an application's startup waits for plugins, at most."""


def mount(
    app: ASGIApp,
    prefix: str = "/instar",
    *,
    state_dir: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    allow_hosts: Iterable[str] = (),
    authorize: Authorize | None = None,
    make_host: Callable[[], HostContext] | None = None,
) -> Mounted:
    """`app` with ours below `prefix`: `app = instar_host.mount(app)`.

    It begins with the application's lifespan, or with the first request below the prefix, and ends
    with the lifespan, or with the interpreter. `state_dir` and `settings` (in the shape of
    `config.json`) are what the application decides; file and environment win over `settings`.
    `allow_hosts` are the names under which people reach the application, besides loopback.
    `authorize(scope)` may say True (let in), False (refuse) or None (ask for the token); it sees
    the whole scope, cookies included, and requests that another site made a browser send never get
    that far. Raises ValueError for a prefix or a name that is none.
    """
    made = make_host or partial(_make_host, state_dir, settings)
    inner = Embedded(made, allow_hosts=allow_hosts, authorize=authorize)
    return Mounted(app, prefix, inner)


class Embedded:
    """Ours as an application of its own, for frameworks that mount one themselves."""

    def __init__(
        self,
        make_host: Callable[[], HostContext],
        *,
        allow_hosts: Iterable[str] = (),
        authorize: Authorize | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.runtime = Runtime(partial(_with_token, make_host))
        self._allow_hosts = frozenset(normal_host(name) for name in allow_hosts)
        self._authorize = authorize
        self._clock = clock or SystemClock()
        self._built: tuple[HostContext | None, ASGIApp] = (None, _not_ready)
        self._tried_at_s = float("-inf")
        self._announced = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.start()
        self._announce(scope)
        await self._app()(scope, receive, send)

    def start(self) -> None:
        """Begin, unless it runs; what cannot begin now is tried again later."""
        if self.runtime.state in {"starting", "running"}:
            return
        now_s = self._clock.monotonic_s()
        if now_s - self._tried_at_s < RETRY_S and self.runtime.state == "failed":
            return
        self._tried_at_s = now_s
        self._announced = False
        with contextlib.suppress(InstarError):  # an earlier run still ends: requests get 503
            self.runtime.start()

    async def start_and_wait(self) -> None:
        """Begin, and give plugins a moment to load, so that the first requests find them."""
        self.start()
        wait = partial(self.runtime.wait_ready, STARTUP_S)
        with contextlib.suppress(Exception):  # the application starts in any case
            await asyncio.get_running_loop().run_in_executor(None, wait)

    async def stop(self) -> None:
        """End, without holding up the application's loop."""
        await asyncio.get_running_loop().run_in_executor(None, self.runtime.stop)

    def _app(self) -> ASGIApp:
        """The application of the host as it is made now: its token comes from its configuration."""
        host = self.runtime.host
        if host is not None and self._built[0] is not host:
            policy = Policy(
                token=host.config.token(),
                allow_hosts=self._allow_hosts,
                agent_name=host.config.project_name,
            )
            app = build_app(self.runtime, policy, authorize=self._authorize, clock=self._clock)
            self._built = (host, app)
        return self._built[1] if host is not None else _not_ready

    def _announce(self, scope: Scope) -> None:
        """Tell other processes where we answer, as soon as a request shows it."""
        server = scope.get("server")
        if self._announced or self.runtime.state != "running" or not server or not server[1]:
            return
        name = f"[{server[0]}]" if ":" in server[0] else server[0]
        address = f"{_scheme(scope)}://{name}:{server[1]}{scope.get('root_path', '')}"
        with contextlib.suppress(WorkersBusy, InstarError):  # the next request tries again
            self.runtime.file_workers.submit(partial(self.runtime.publish_address, address))
            self._announced = True


class Mounted:
    """An application with ours below a prefix. Made by `mount`."""

    def __init__(self, app: ASGIApp, prefix: str, embedded: Embedded) -> None:
        if not prefix.startswith("/") or prefix.endswith("/") or "//" in prefix:
            raise ValueError(f"a prefix begins with a slash and does not end with one: {prefix!r}")
        self._app = app
        self._prefix = prefix
        self._embedded = embedded

    @property
    def runtime(self) -> Runtime:
        """The engine of the embedded host."""
        return self._embedded.runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(self._app, self._embedded)(scope, receive, send)
            return
        root = scope.get("root_path", "")
        path: str = scope.get("path", "")
        below = path.removeprefix(root) if path.startswith(root + "/") else path
        if below == self._prefix and scope["type"] == "http":
            await _with_slash(scope, receive, send)
        elif below.startswith(self._prefix + "/"):
            await self._embedded(self._ours(scope, root, path, below), receive, send)
        else:
            await self._app(scope, receive, send)

    def _ours(self, scope: Scope, root: str, path: str, below: str) -> Scope:
        """The scope below the prefix: `path` stays whole, `root_path` says what is not ours."""
        child = {**scope, "root_path": root + self._prefix}
        if path == below and root:  # a server that takes root_path out of path
            child["path"] = root + path
            child["raw_path"] = root.encode() + (scope.get("raw_path") or path.encode())
        return child


class _Lifespan:
    """Start and stop beside the application's own, whether it has any or not."""

    def __init__(self, app: ASGIApp, embedded: Embedded) -> None:
        self._app = app
        self._embedded = embedded
        self._asked = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hear() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._asked = True
                await self._embedded.start_and_wait()
            return message

        async def say(message: Message) -> None:
            if message["type"] in {"lifespan.startup.failed", "lifespan.shutdown.complete"}:
                await self._embedded.stop()
            await send(message)

        try:
            await self._app(scope, hear, say)
        except Exception:  # how an application says that it has no lifespan
            if self._asked:
                raise
        if not self._asked:
            await self._alone(hear, say)

    async def _alone(self, hear: Receive, say: Send) -> None:
        await hear()
        await say({"type": "lifespan.startup.complete"})
        await hear()
        await say({"type": "lifespan.shutdown.complete"})


def _scheme(scope: Scope) -> str:
    """What this very server speaks: what a proxy in front of it speaks is another matter, and
    servers put that into the scope.
    """
    forwarded = any(name == b"x-forwarded-proto" for name, _value in scope.get("headers", ()))
    return "http" if forwarded else scope.get("scheme", "http")


def _make_host(
    state_dir: str | os.PathLike[str] | None, settings: Mapping[str, Any] | None
) -> HostContext:
    environ = dict(os.environ)
    where = locate_state_dir(state_dir, environ, Path.cwd(), Path.home())
    return open_host(where, environ, host_values=settings, name="asgi", capabilities=("http",))


def _with_token(make_host: Callable[[], HostContext]) -> HostContext:
    """A host whose token is known, so that nobody has to write a file on the application's loop."""
    host = make_host()
    host.config.token()
    return msgspec.structs.replace(host, config=host.config.reloaded())


async def _not_ready(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        await close_websocket(scope, receive, send)
        return
    answer = error_answer(503, "The host is not ready")
    answer.headers["retry-after"] = "1"
    await answer(scope, receive, partial(_dress, send))


async def _with_slash(scope: Scope, receive: Receive, send: Send) -> None:
    """The page's own addresses are relative: they need the slash."""
    answer = error_answer(308, "One slash further")
    query = scope.get("query_string", b"").decode("latin-1")
    last = scope["path"].rpartition("/")[2]
    answer.headers["location"] = f"{last}/{'?' + query if query else ''}"
    await answer(scope, receive, partial(_dress, send))


async def _dress(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        message = {**message, "headers": dressed(message.get("headers", ()))}
    await send(message)
