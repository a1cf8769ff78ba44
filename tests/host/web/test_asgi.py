"""Ours inside an application that somebody else serves: below a prefix, behind the same guard."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as TheirRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from examples.fastapi_app import SESSION, create
from instar_host import HostContext, InstarError, mount
from instar_host.adapters.asgi import Embedded, Mounted
from instar_host.testing import MakeHost
from instar_host.web.server import address_of, listen
from instar_host.workers import WorkersBusy
from tests.host.web.probe import HANG_GUARD_S, Probe

TOKEN = "a-token-for-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
NAME = "testserver"


@pytest.fixture
def probe() -> Probe:
    """The plugin under every test here."""
    return Probe()


@pytest.fixture
def made(make_host: MakeHost, probe: Probe) -> Callable[[], HostContext]:
    """Makes the host inside."""
    return lambda: make_host([probe], {"authToken": TOKEN})


def embed(app: ASGIApp, made: Callable[[], HostContext], after: ExitStack, **more: Any) -> Mounted:
    """`app` with ours below /instar, under the name that the test client uses."""
    mounted = mount(app, "/instar", make_host=made, allow_hosts=[NAME], **more)
    after.callback(mounted.runtime.stop, HANG_GUARD_S)
    return mounted


async def theirs(request: TheirRequest) -> PlainTextResponse:
    """The application's own page."""
    return PlainTextResponse(f"theirs {request.url.path}")


def plain() -> Starlette:
    """An application that answers everything."""
    return Starlette(routes=[Route("/{path:path}", theirs)])


def test_below_the_prefix_is_ours_and_the_rest_is_theirs(
    made: Callable[[], HostContext], after: ExitStack
) -> None:
    """Neither notices the other."""
    with TestClient(embed(plain(), made, after)) as client:
        assert client.get("/health").text == "theirs /health"
        assert client.get("/instarling/x").text == "theirs /instarling/x"
        assert client.get("/instar/health").json() == {"status": "ok"}
        echo = client.get("/instar/probe/echo", headers=BEARER).json()
        assert echo["path"] == "/probe/echo"
        item = client.get("/instar/probe/item/a%2Fb", headers=BEARER)
        assert item.json() == {"id": "a/b"}


def test_the_page_works_below_a_prefix(made: Callable[[], HostContext], after: ExitStack) -> None:
    """Its addresses are relative; without the slash it sends the browser one further."""
    with TestClient(embed(plain(), made, after)) as client:
        answer = client.get("/instar?tab=x", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (308, "instar/?tab=x")
        page = client.get("/instar/")
        assert 'src="static/shell.js"' in page.text
        assert client.get("/instar/static/shell.js").status_code == 200


def test_the_guard_stands_here_too(made: Callable[[], HostContext], after: ExitStack) -> None:
    """Section 7, point 8: token, host, origin and headers as in our own server."""
    with TestClient(embed(plain(), made, after)) as client:
        assert client.get("/instar/plugins").status_code == 401
        evil = {**BEARER, "host": "evil.example"}
        assert client.get("/instar/plugins", headers=evil).status_code == 403
        cross = {**BEARER, "sec-fetch-site": "cross-site"}
        assert client.get("/instar/plugins", headers=cross).status_code == 403
        headers = client.get("/instar/plugins").headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "content-security-policy" not in client.get("/").headers


def test_it_starts_and_stops_with_the_applications_lifespan(
    made: Callable[[], HostContext], after: ExitStack
) -> None:
    """Around the application's own, which it still gets."""
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> Any:
        told.append("up")
        yield
        told.append("down")

    mounted = embed(Starlette(lifespan=lifespan), made, after)
    with TestClient(mounted):
        assert mounted.runtime.wait_ready(HANG_GUARD_S)
    assert told == ["up", "down"]
    assert mounted.runtime.state == "stopped"


async def no_lifespan(scope: Scope, _receive: Receive, send: Send) -> None:
    """An application that knows HTTP only, and says so the usual way."""
    assert scope["type"] == "http"
    await PlainTextResponse("theirs")(scope, _receive, send)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that ignores what it does not know."""
    if scope["type"] == "http":
        await PlainTextResponse("theirs")(scope, receive, send)


@pytest.mark.parametrize("app", [no_lifespan, silent])
def test_an_application_without_a_lifespan_gets_one(
    app: ASGIApp, made: Callable[[], HostContext], after: ExitStack
) -> None:
    """The server's start and stop reach us all the same."""
    mounted = embed(app, made, after)
    with TestClient(mounted) as client:
        assert mounted.runtime.wait_ready(HANG_GUARD_S)
        assert client.get("/").text == "theirs"
    assert mounted.runtime.state == "stopped"


def test_without_any_lifespan_the_first_request_starts_it(
    made: Callable[[], HostContext], after: ExitStack
) -> None:
    """And a request to somebody else's page does not."""
    mounted = embed(plain(), made, after)
    client = TestClient(mounted)
    client.get("/")
    assert mounted.runtime.state == "stopped"
    assert client.get("/instar/health").status_code in (200, 503)
    assert mounted.runtime.wait_ready(HANG_GUARD_S)
    assert client.get("/instar/probe/echo", headers=BEARER).status_code == 200


def test_a_host_that_cannot_be_made_is_a_503_and_never_the_applications_trouble(
    made: Callable[[], HostContext], after: ExitStack
) -> None:
    """Rule 6: and it is tried again, so nothing latches."""
    faults = [InstarError("/home/me/config.json is broken")]

    def make() -> HostContext:
        if faults:
            raise faults.pop()
        return made()

    embedded = Embedded(make, allow_hosts=[NAME])
    after.callback(embedded.runtime.stop, HANG_GUARD_S)
    with TestClient(Mounted(plain(), "/instar", embedded)) as client:
        with pytest.raises(InstarError):
            embedded.runtime.wait_ready(HANG_GUARD_S)
        answer = client.get("/instar/plugins", headers=BEARER)
        assert (answer.status_code, answer.json()) == (503, {"error": "The host is not ready"})
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/").status_code == 200
        embedded.runtime.stop(HANG_GUARD_S)
        embedded.runtime.start()
        assert embedded.runtime.wait_ready(HANG_GUARD_S)
        assert client.get("/instar/plugins", headers=BEARER).status_code == 200


@pytest.mark.parametrize(("verdict", "status"), [(True, 200), (False, 403), (None, 401)])
def test_the_application_may_decide(
    made: Callable[[], HostContext], after: ExitStack, verdict: bool | None, status: int
) -> None:
    """One hook: yes lets in, no refuses, None asks for the token."""
    with TestClient(embed(plain(), made, after, authorize=lambda _scope: verdict)) as client:
        assert client.get("/instar/plugins").status_code == status
        assert client.get("/instar/health").status_code == 200


def test_the_applications_yes_does_not_open_the_door_to_other_sites(
    made: Callable[[], HostContext], after: ExitStack
) -> None:
    """A cookie is sent by any page; the origin is looked at first."""
    with TestClient(embed(plain(), made, after, authorize=lambda _scope: True)) as client:
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "same-site"}):
            for method in ("GET", "PATCH"):
                answer = client.request(method, "/instar/probe/item/1", headers=headers)
                assert answer.status_code == 403


@pytest.mark.parametrize("prefix", ["instar", "/instar/", "/", "", "//x"])
def test_a_prefix_is_a_prefix(prefix: str) -> None:
    """Refused where it is given, not at the first request."""
    with pytest.raises(ValueError, match="prefix"):
        mount(plain(), prefix)


def test_a_framework_may_mount_it_itself(made: Callable[[], HostContext], after: ExitStack) -> None:
    """Under whatever path; there is no lifespan then, so the first request starts it."""
    embedded = Embedded(made, allow_hosts=[NAME])
    after.callback(embedded.runtime.stop, HANG_GUARD_S)
    client = TestClient(Starlette(routes=[Mount("/a/b", app=embedded)]))
    client.get("/a/b/health")
    assert embedded.runtime.wait_ready(HANG_GUARD_S)
    answer = client.get("/a/b/probe/item/x%2Fy", headers=BEARER)
    assert answer.json() == {"id": "x/y"}
    assert client.get("/a/b/").status_code == 200


@pytest.mark.parametrize("keeps_root", [True, False])
def test_a_proxy_may_serve_it_below_a_root_path(
    made: Callable[[], HostContext], after: ExitStack, *, keeps_root: bool
) -> None:
    """Servers differ in whether `path` still has the root path in it; both work."""
    mounted = embed(plain(), made, after)
    mounted.runtime.start()
    assert mounted.runtime.wait_ready(HANG_GUARD_S)

    async def proxied(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            root = "/proxy" if keeps_root else ""
            raw = root.encode() + scope["raw_path"]
            more = {"root_path": "/proxy", "path": root + scope["path"], "raw_path": raw}
            scope = {**scope, **more}
        await mounted(scope, receive, send)

    client = TestClient(proxied)
    assert client.get("/instar/probe/item/x%2Fy", headers=BEARER).json() == {"id": "x/y"}
    assert client.get("/instar/").status_code == 200


@pytest.fixture
def live(made: Callable[[], HostContext], after: ExitStack) -> tuple[Mounted, str]:
    """A mounted application in a real server with a loop of its own."""
    mounted = embed(plain(), made, after)
    sock = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(mounted, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
    thread.start()
    after.callback(thread.join)
    after.callback(lambda: setattr(server, "should_exit", True))
    assert mounted.runtime.wait_ready(HANG_GUARD_S) or True
    return mounted, address_of(sock)


def test_streams_and_async_endpoints_cross_from_our_loop_to_theirs(
    live: tuple[Mounted, str], probe: Probe
) -> None:
    """Rule 4: what is async runs on the host's loop even when another loop serves it."""
    mounted, address = live
    with httpx.Client(base_url=address, headers=BEARER, trust_env=False) as client:
        while client.get("/instar/health").json() != {"status": "ok"}:
            pass
        assert client.get("/instar/probe/async").json() == "instar-host"
        with client.stream("GET", "/instar/probe/events") as answer:
            chunks = answer.iter_raw()
            assert next(chunks).startswith(b":")
            probe.events.publish({"n": 1}, "count")
            assert b'"n":1' in next(chunks)
            assert mounted.runtime.stop(HANG_GUARD_S)
            assert list(chunks) in ([], [b""])
        assert probe.streams_closed.wait(HANG_GUARD_S)


def test_other_processes_learn_where_it_answers(live: tuple[Mounted, str]) -> None:
    """Rule 5: commands ask the holder over HTTP, so its address stands in the lease."""
    mounted, address = live
    with httpx.Client(base_url=address, headers=BEARER, trust_env=False) as client:
        while mounted.runtime.lease_status().address is None:
            client.get("/instar/health")
    assert mounted.runtime.lease_status().address == f"{address}/instar"


def test_behind_a_proxy_that_ends_tls_the_address_is_what_the_server_speaks(
    live: tuple[Mounted, str],
) -> None:
    """The server says https then; commands on this machine could not ask at such an address."""
    mounted, address = live
    forwarded = {**BEARER, "x-forwarded-proto": "https"}
    with httpx.Client(base_url=address, headers=forwarded, trust_env=False) as client:
        while mounted.runtime.lease_status().address is None:
            client.get("/instar/health")
    assert mounted.runtime.lease_status().address == f"{address}/instar"


def test_the_fastapi_example_works(made: Callable[[], HostContext], after: ExitStack) -> None:
    """Its session lets in; without it the token is asked for."""
    app = create(make_host=made, allow_hosts=[NAME])
    after.callback(app.runtime.stop, HANG_GUARD_S)
    with TestClient(app) as client:
        assert app.runtime.wait_ready(HANG_GUARD_S)
        assert client.get("/").json() == {"dashboard": "/instar/"}
        assert client.get("/instar/plugins").status_code == 401
        assert client.get("/instar/plugins", headers=BEARER).status_code == 200
        session = {"cookie": f"session={SESSION}"}
        assert client.get("/instar/plugins", headers=session).status_code == 200
        wrong = {"cookie": "session=other"}
        assert client.get("/instar/plugins", headers=wrong).status_code == 401


def test_a_first_request_in_a_crowd_is_answered_like_any_other(
    made: Callable[[], HostContext], after: ExitStack
) -> None:
    """While so much waits that nobody can be told the address, requests are answered, and the
    address is told later.
    """
    mounted, free = embed(plain(), made, after), threading.Event()
    after.callback(free.set)
    with TestClient(mounted) as client:
        workers, busy = mounted.runtime.file_workers, threading.Barrier(3)
        for _ in range(2):
            workers.submit(lambda: (busy.wait(HANG_GUARD_S), free.wait()))
        busy.wait(HANG_GUARD_S)
        with contextlib.suppress(WorkersBusy):
            while True:
                workers.submit(free.wait)
        assert client.get("/instar/probe/async", headers=BEARER).status_code == 200
        free.set()
        while mounted.runtime.lease_status().address is None:
            assert client.get("/instar/health").status_code == 200
