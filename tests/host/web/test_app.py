"""The route table over real HTTP: one request, one answer, one shape."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from instar_host import Response, Route, hookimpl
from instar_host.endpoints import json_response
from instar_host.testing_web import RunHost, RunningHost
from instar_host.web.limits import Limits
from tests.host.web.probe import Probe, wire


@pytest.fixture
def probe() -> Probe:
    """The plugin under every test here."""
    return Probe()


@pytest.fixture
def served(run_host: RunHost, probe: Probe) -> RunningHost:
    """A host with the probe."""
    return run_host([probe])


def patch_head(token: str, framing: str) -> bytes:
    """The head of a PATCH whose body is still to come."""
    lines = (
        "PATCH /probe/item/a HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Authorization: Bearer {token}",
        framing,
    )
    return "\r\n".join([*lines, "", ""]).encode()


def test_an_endpoint_is_told_what_was_asked_and_never_the_token(served: RunningHost) -> None:
    """Query values in order, lower-case headers, no authorization and no cookie."""
    answer = served.client.get("/probe/echo?a=1&b=&a=2&c=%C3%A4", headers={"cookie": "x=y"})
    told = answer.json()
    assert told["query"] == {"a": ["1", "2"], "b": [""], "c": ["ä"]}
    assert "authorization" not in told["headers"]
    assert "cookie" not in told["headers"]


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/probe/item/a", {"id": "a"}),
        ("/probe/item/a%2Fb", {"id": "a/b"}),
        ("/probe/item/%C3%A4%20%3F", {"id": "ä ?"}),
        ("/probe/item/fixed", "fixed"),
    ],
)
def test_a_name_in_a_path_is_one_segment_decoded(
    served: RunningHost, path: str, answer: object
) -> None:
    """An encoded slash stays inside its segment, and a fixed segment wins over a name."""
    assert served.client.get(path).json() == answer


@pytest.mark.parametrize(
    "path",
    ["/probe/item/", "/probe/item", "/probe/item/a/b", "/probe/item/%FF", "/probe/item/a%00", "//"],
)
def test_paths_that_mean_nothing_are_404(served: RunningHost, path: str) -> None:
    """W9: no trailing slash, no empty name, no invalid text, no NUL."""
    with wire(served.port) as peer:
        peer.send(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        assert peer.read_status() == 404


def test_sync_endpoints_run_in_the_pool_and_async_ones_on_the_hosts_loop(
    served: RunningHost, probe: Probe
) -> None:
    """Rule 4: nothing of a plugin's blocks the loop, and what is async meets ours."""
    served.client.get("/probe/echo")
    assert probe.threads[0].startswith("instar-endpoint")
    assert served.client.get("/probe/async").json() == "instar-host"


def test_a_wrong_method_names_the_right_ones(served: RunningHost) -> None:
    """405 with Allow; HEAD and OPTIONS come with GET."""
    answer = served.client.delete("/probe/item/a")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, PATCH"
    assert answer.json() == {"error": "Method not allowed"}
    assert served.client.options("/probe/item/a").status_code == 204


def test_head_is_get_without_a_body(served: RunningHost) -> None:
    """The same headers, length included; a stream is not begun."""
    answer = served.client.head("/probe/echo")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 0
    assert served.client.head("/probe/events").status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"{", b"nope", b"{'a': 1}", b"\xff\xfe", b'{"a":1,"a":2}', b"NaN", b"[" * 60_000, b"{}{}"],
)
def test_malformed_json_is_the_callers_error(served: RunningHost, body: bytes) -> None:
    """C-10: the original answered 500; repeated keys and bottomless nesting count as malformed."""
    headers = {"content-type": "application/json"}
    answer = served.client.patch("/probe/item/a", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("The body is not valid JSON")


@pytest.mark.parametrize(("path", "cap"), [("/probe/item/a", 65_536), ("/probe/large", 1_048_576)])
def test_a_body_may_fill_its_cap_and_not_one_byte_more(
    served: RunningHost, path: str, cap: int
) -> None:
    """C-10, W5: 64 KiB by default, a route's own cap otherwise; beyond it 413, not 500."""
    method = "PATCH" if "item" in path else "POST"
    headers = {"content-type": "application/json"}
    fits = b'"' + b"x" * (cap - 2) + b'"'
    assert served.client.request(method, path, content=fits, headers=headers).json() == {
        "bytes": cap
    }
    answer = served.client.request(method, path, content=fits + b" ", headers=headers)
    assert answer.status_code == 413


def test_a_body_without_a_length_is_counted_while_it_arrives(served: RunningHost) -> None:
    """W5: chunks are refused at the cap, not when the sender has finished."""
    with wire(served.port) as peer:
        peer.send(patch_head(served.token, "Transfer-Encoding: chunked"))
        for _ in range(17):
            peer.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        assert peer.read_status() == 413


def test_a_body_that_drips_is_given_up(run_host: RunHost, probe: Probe) -> None:
    """W5: 408 after the deadline, however little is missing."""
    served = run_host([probe], limits=Limits(body_deadline_s=0.05))
    with wire(served.port) as peer:
        peer.send(patch_head(served.token, "Content-Length: 10") + b"{")
        assert peer.read_status() == 408


def test_a_compressed_body_is_not_opened(served: RunningHost) -> None:
    """W5: no decompression, so no bomb."""
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = served.client.patch("/probe/item/a", content=b"\x1f\x8b", headers=headers)
    assert answer.status_code == 415


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_bodies_are_read(served: RunningHost, kind: str) -> None:
    """W4: what a plain form of another site could send is refused by its type."""
    headers = {"content-type": kind} if kind else {}
    answer = served.client.patch("/probe/item/a", content=b"{}", headers=headers)
    assert answer.status_code == 415


@pytest.mark.parametrize("said", ["501", "0", "-1", "10abc", "1e2", "", "٣", "1.0", " 5"])
def test_a_parameter_is_exact_or_an_error(served: RunningHost, said: str) -> None:
    """C-11: never a silent default, never a prefix that happens to parse."""
    answer = served.client.get("/probe/limit", params={"limit": said})
    assert answer.status_code == 400
    assert "limit" in answer.json()["error"]
    assert served.client.get("/probe/limit?limit=500").json() == 500


def test_a_parameter_given_twice_is_an_error(served: RunningHost) -> None:
    """C-11: which of two counts is nobody's guess."""
    assert served.client.get("/probe/limit?limit=1&limit=2").status_code == 400


@pytest.mark.parametrize("path", ["/probe/crash", "/probe/nonsense", "/probe/broken-events"])
def test_what_goes_wrong_in_a_plugin_is_a_number_to_look_up(
    served: RunningHost, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """D8: a generic 500, no words of the exception; the log has them under the same number."""
    with caplog.at_level(logging.ERROR, logger="instar.web"):
        answer = served.client.get(path)
    assert answer.status_code == 500
    assert answer.json()["error"] == "Internal server error"
    assert set(answer.json()) == {"error", "timestamp"}
    assert answer.headers["x-instar-error-id"] in caplog.text
    assert served.stranger.get("/health").status_code == 200


def test_an_endpoint_cannot_end_the_process(served: RunningHost) -> None:
    """SystemExit in a plugin is one answer's trouble."""
    assert served.client.get("/probe/exit").status_code == 500
    assert served.client.get("/probe/echo").status_code == 200


def test_a_failing_endpoint_shows_in_its_plugins_status(served: RunningHost) -> None:
    """H1: named where one looks for it."""
    served.client.get("/probe/crash")
    [status] = served.client.get("/plugins").json()["plugins"]
    assert status["errors"] == 1
    assert "/probe/crash" in status["error"]


def test_an_endpoint_may_refuse_in_the_one_shape(served: RunningHost) -> None:
    """`HttpError` is an answer, not a failure."""
    answer = served.client.get("/probe/refuse")
    assert answer.status_code == 409
    assert answer.json() == {"error": "Not like this", "hint": "try another way"}


def test_a_slow_endpoint_is_answered_for(run_host: RunHost, probe: Probe) -> None:
    """D8: 408 with the limit in milliseconds, as the reference says it."""
    served = run_host([probe], limits=Limits(request_timeout_s=0.05))
    answer = served.client.get("/probe/wait")
    probe.release.set()
    assert answer.status_code == 408
    assert answer.json() == {"error": "Request timeout", "timeoutMs": 50}


def test_health_answers_while_every_worker_is_busy(served: RunningHost, probe: Probe) -> None:
    """Slow endpoints wait for each other, and nobody waits for them to learn that we live."""
    waiting = [threading.Thread(target=lambda: served.client.get("/probe/wait")) for _ in range(12)]
    for one in waiting:
        one.start()
    assert probe.entered.wait(20)
    assert served.stranger.get("/health").json() == {"status": "ok"}
    assert served.stranger.get("/").status_code == 200
    probe.release.set()
    for one in waiting:
        one.join()


class Greedy:
    """Claims a path of the host."""

    def __init__(self, path: str) -> None:
        self.path = path

    @hookimpl
    def instar_routes(self) -> list[Route]:
        """One route too many."""
        return [Route(method="GET", path=self.path, endpoint=lambda _request: Response())]


@pytest.mark.parametrize("name", ["my plugin", "acme/tokens", "zähler", "100%", ".."])
def test_a_plugin_may_be_called_anything(
    run_host: RunHost, probe: Probe, tmp_path: Path, name: str
) -> None:
    """An entry point's name may be; the module of its tab is where `/panels` says."""
    (tmp_path / "tab.js").write_text("content", encoding="utf-8")
    probe.panel = tmp_path / "tab.js"
    served = run_host({name: probe})
    [panel] = served.client.get("/panels").json()["panels"]
    with wire(served.port) as peer:
        peer.send(f"GET /{panel['module']} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode("ascii"))
        assert peer.read_all().endswith(b"content")


class Neighbour:
    """Another method of a path of the probe, with a name of its own in it."""

    @hookimpl
    def instar_routes(self) -> list[Route]:
        """One route."""
        return [
            Route(
                method="DELETE",
                path="/probe/item/{thing}",
                endpoint=lambda request: json_response(request.params),
            )
        ]


def test_two_methods_of_a_path_name_its_parts_each_for_itself(
    run_host: RunHost, probe: Probe
) -> None:
    """Two plugins share a path by its method; neither is told the other's names."""
    served = run_host([probe, Neighbour])
    assert served.client.get("/probe/item/a").json() == {"id": "a"}
    assert served.client.delete("/probe/item/a").json() == {"thing": "a"}


@pytest.mark.parametrize(
    "path", ["/health", "/", "/plugins", "/static/x", "no-slash", "/a//b", "/a/{b", "/{a}/{a}"]
)
def test_a_route_that_cannot_be_served_costs_its_plugin_everything(
    run_host: RunHost, probe: Probe, path: str
) -> None:
    """Rule 2: refused with the reason, and the others go on."""
    served = run_host({"probe": probe, "greedy": Greedy(path)})
    statuses = {s["name"]: s for s in served.client.get("/plugins").json()["plugins"]}
    assert statuses["greedy"]["state"] == "refused"
    assert statuses["greedy"]["error"]
    assert served.client.get("/probe/echo").status_code == 200


def _endless() -> dict[str, object]:
    schema: dict[str, object] = {}
    schema["items"] = schema
    return schema


@pytest.mark.parametrize("schema", [{"x": Path("/")}, {"x": "\ud800"}, _endless()])
def test_a_schema_that_is_no_json_costs_its_plugin(
    run_host: RunHost, probe: Probe, schema: dict[str, object]
) -> None:
    """The description of the API is everybody's, and was an error for everybody."""

    class Schemed:
        @hookimpl
        def instar_routes(self) -> list[Route]:
            """One route."""
            answer = Response()
            return [Route(method="POST", path="/s", endpoint=lambda _r: answer, body_schema=schema)]

    served = run_host([probe, Schemed])
    assert served.client.get("/openapi.json").status_code == 200
    statuses = {s["name"]: s for s in served.client.get("/plugins").json()["plugins"]}
    assert statuses["schemed"]["state"] in {"refused", "loaded"}
    assert statuses["schemed"]["error"]


def test_the_description_has_every_route_and_its_lock(served: RunningHost) -> None:
    """OpenAPI is generated from the table that is served."""
    described = served.client.get("/openapi.json").json()
    assert described["paths"]["/health"]["get"]["security"] == []
    item = described["paths"]["/probe/item/{id}"]
    assert item["get"]["security"] == [{"token": []}]
    assert item["get"]["parameters"][0]["name"] == "id"
    assert "requestBody" in item["patch"]
    assert "413" in item["patch"]["responses"]
