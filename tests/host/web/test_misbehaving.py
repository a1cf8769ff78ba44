"""Endpoints of a third party that do what no endpoint should: each costs one answer, named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from instar_host import Request, Response, Route, hookimpl
from instar_host.endpoints import HttpError
from instar_host.testing_web import RunHost, RunningHost
from instar_host.web.limits import Limits
from tests.host.web.probe import await_true


class Odd:
    """One route, `/odd`, that does what the test says."""

    def __init__(self, endpoint: Callable[[Request], Any]) -> None:
        self.endpoint = endpoint

    @hookimpl
    def instar_routes(self) -> list[Route]:
        """The route."""
        return [Route(method="GET", path="/odd", endpoint=self.endpoint)]


def raising(exc: BaseException) -> Callable[[Request], Response]:
    """A sync endpoint that raises."""

    def endpoint(_request: Request) -> Response:
        raise exc

    return endpoint


def raising_later(exc: BaseException) -> Callable[[Request], Awaitable[Response]]:
    """An async endpoint that raises."""

    async def endpoint(_request: Request) -> Response:
        raise exc

    return endpoint


def answering(**fields: Any) -> Callable[[Request], Response]:
    """An endpoint that answers with these fields."""
    return lambda _request: Response(**fields)


async def chunks(*given: Any) -> AsyncIterator[Any]:
    """What is given, one after the other; an exception is raised."""
    for one in given:
        if isinstance(one, BaseException):
            raise one
        yield one


def streaming(*given: Any) -> Callable[[Request], Response]:
    """An endpoint that streams `given`."""
    return lambda _request: Response(body=chunks(*given))


def error_of(served: RunningHost) -> str:
    """What stands in the status of the plugin."""
    assert served.stranger.get("/health").status_code == 200
    [status] = served.client.get("/plugins").json()["plugins"]
    return str(status["error"])


class Odder(BaseException):
    """What a library may derive from the wrong class."""


@pytest.mark.parametrize("how", [raising, raising_later])
@pytest.mark.parametrize(
    "exc", [SystemExit(3), KeyboardInterrupt(), Odder("x"), asyncio.CancelledError()]
)
def test_an_endpoint_that_raises_anything_is_a_500_like_any_other(
    run_host: RunHost, how: Callable[[BaseException], Any], exc: BaseException
) -> None:
    """With our headers, with a number, and named in the plugin's status."""
    served = run_host([Odd(how(exc))])
    answer = served.client.get("/odd")
    assert (answer.status_code, answer.json()["error"]) == (500, "Internal server error")
    assert "content-security-policy" in answer.headers
    assert type(exc).__name__ in error_of(served)


def test_a_stop_iteration_is_answered_at_once(run_host: RunHost) -> None:
    """`next` of nothing in an endpoint: a loop cannot take it out of a future, and waited 30 s."""
    served = run_host([Odd(raising(StopIteration()))])
    assert served.client.get("/odd").status_code == 500
    assert "StopIteration" in error_of(served)


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (answering(status=99), "a status is a whole number from 200 to 599, not 99"),
        (answering(status="200"), "a status is a whole number"),
        (answering(status=204, body=b"x"), "an answer 204 has no body"),
        (answering(body="text"), "a body is bytes or an async iterator, not str"),
        (answering(headers={"a b": "c"}), "is no name of a header"),
        (answering(headers={"a\r\nset-cookie": "c"}), "is no name of a header"),
        (answering(headers={"a": "\x01"}), "the header a holds what no header can"),
        (answering(headers=[("a", "b")]), "AttributeError"),
        (raising(HttpError(404, "no \ud800")), "UnicodeEncodeError"),
        (raising(HttpError(1000, "no")), "a status is a whole number"),
        (raising(HttpError(404, "no", more=object())), "TypeError"),
        (streaming("text"), "a stream yields bytes, not str"),
        (streaming(SystemExit(3)), "SystemExit: 3"),
    ],
)
def test_an_answer_that_cannot_be_sent_is_a_500_and_named(
    run_host: RunHost, endpoint: Callable[[Request], Any], words: str
) -> None:
    """Not a line without headers, not a broken connection, and nothing slips into the head."""
    served = run_host([Odd(endpoint)])
    answer = served.client.get("/odd")
    assert (answer.status_code, answer.json()["error"]) == (500, "Internal server error")
    assert "set-cookie" not in answer.headers
    assert words in error_of(served)


def test_a_stream_may_refuse_before_it_begins(run_host: RunHost) -> None:
    """With a status of its own: too many views were a 500, and the plugin's failure."""
    served = run_host([Odd(streaming(HttpError(503, "Too many", more=1)))])
    answer = served.client.get("/odd")
    assert (answer.status_code, answer.json()) == (503, {"error": "Too many", "more": 1})
    assert error_of(served) == "None"


def test_how_a_body_is_framed_is_the_servers_to_say(run_host: RunHost) -> None:
    """A wrong length or another connection's word for it would break the answer off."""
    headers = {"Content-Length": "999", "Transfer-Encoding": "chunked", "X-Own": " kept "}
    served = run_host([Odd(answering(headers=headers, body=b"x"))])
    answer = served.client.get("/odd")
    assert (answer.text, answer.headers["content-length"]) == ("x", "1")
    assert answer.headers["x-own"] == "kept"


@pytest.mark.parametrize("last", [ValueError("mid"), "text", SystemExit(4), KeyboardInterrupt()])
def test_a_stream_that_breaks_off_takes_nothing_along(run_host: RunHost, last: object) -> None:
    """SystemExit in a stream ended the host's own loop, and with it everything."""
    served = run_host([Odd(streaming(b"first", last))])
    with pytest.raises(httpx.RemoteProtocolError):
        served.client.get("/odd")
    assert "GET /odd: " in error_of(served)


def test_a_stream_that_will_not_end_does_not_keep_its_place(run_host: RunHost) -> None:
    """Its reader has gone and it swallows the cancellation: the next one is let in all the same."""
    let_go = asyncio.Event()

    async def stubborn() -> AsyncIterator[bytes]:
        yield b"first"
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()

    def endpoint(_request: Request) -> Response:
        return Response(body=stubborn())

    served = run_host([Odd(endpoint)], limits=Limits(max_streams=1, stream_close_s=0.01))
    for _reader in range(2):
        await_true(lambda: _first_of(served) == (200, b"first"), "a place")
    served.runtime.loop.call_soon_threadsafe(let_go.set)


def _first_of(served: RunningHost) -> tuple[int, bytes]:
    with served.client.stream("GET", "/odd") as answer:
        return answer.status_code, next(answer.iter_raw())
