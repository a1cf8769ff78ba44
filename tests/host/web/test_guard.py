"""The guard over real HTTP: what a stranger, a browser and a drip-feeder get."""

from __future__ import annotations

import json

import pytest

from instar_host.testing_web import RunHost, RunningHost
from tests.host.web.probe import Probe, wire

OPEN = ("/", "/health", "/static/shell.js", "/static/shell.css", "/probe/open")
CLOSED = ("/plugins", "/panels", "/openapi.json", "/probe/echo", "/threadline/x", "/nothing")


@pytest.fixture
def probe() -> Probe:
    """The plugin under every test here."""
    return Probe()


@pytest.fixture
def served(run_host: RunHost, probe: Probe) -> RunningHost:
    """A host with the probe and a name."""
    return run_host([probe], {"projectName": "me"})


@pytest.mark.parametrize("path", CLOSED)
def test_everything_but_the_shell_and_health_needs_the_token(
    served: RunningHost, path: str
) -> None:
    """C-01: no path is exempt by its prefix, and one that does not exist looks the same."""
    assert served.stranger.get(path).status_code == 401
    assert served.client.get(path).status_code in (200, 404)


@pytest.mark.parametrize("path", OPEN)
def test_the_shell_and_health_are_open(served: RunningHost, path: str) -> None:
    """They hold no data, so they ask for nothing."""
    assert served.stranger.get(path).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/threadline/telegram-bridge/config", "/probe/item/1"])
def test_nobody_changes_anything_without_the_token(
    served: RunningHost, method: str, path: str
) -> None:
    """C-01: the original let anyone enable its bridge."""
    assert served.stranger.request(method, path, json={"enabled": True}).status_code == 401


@pytest.mark.parametrize("path", [*OPEN, *CLOSED])
def test_a_rebound_name_is_refused_everywhere(served: RunningHost, path: str) -> None:
    """C-02: a page whose name was pointed at us carries that name in Host, even to open paths."""
    answer = served.client.get(path, headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert "evil" not in answer.text


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /health\r\n\r\n",
    ],
)
def test_heads_that_are_not_quite_http_get_400_and_our_headers(
    served: RunningHost, head: bytes
) -> None:
    """W1, W7: no Host, two, an empty one, an absolute target, or no HTTP at all."""
    with wire(served.port) as peer:
        peer.send(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = peer.read_all()
    assert answer.split(b" ")[1] == b"400"
    assert b"content-security-policy: default-src 'none'" in answer
    assert b"evil" not in answer


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_another_site_is_refused_even_with_the_token(
    served: RunningHost, method: str, headers: dict[str, str]
) -> None:
    """W2: reading data and changing it, both."""
    answer = served.client.request(method, "/probe/item/1", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_a_link_from_another_site_may_open_the_page(served: RunningHost) -> None:
    """W2: following a link to the shell is a cross-site request and harmless."""
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert served.stranger.get("/?tab=tokens", headers=headers).status_code == 200


def test_our_own_page_may_change_things(served: RunningHost) -> None:
    """W2: same-origin requests pass."""
    headers = {"origin": served.address, "sec-fetch-site": "same-origin"}
    assert served.client.patch("/probe/item/1", json={}, headers=headers).status_code == 200


def test_a_preflight_gets_no_permission(served: RunningHost) -> None:
    """D8 inverted: there is no CORS, for localhost neither."""
    headers = {"origin": "http://localhost:3000", "access-control-request-method": "PATCH"}
    answer = served.stranger.options("/probe/item/1", headers=headers)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_token_counts_in_one_place_only(served: RunningHost) -> None:
    """W3: not in the address and not in a cookie."""
    there = f"/probe/echo?token={served.token}"
    assert served.client.get(there).status_code == 400
    cookie = {"cookie": f"token={served.token}; Authorization=Bearer {served.token}"}
    assert served.stranger.get("/probe/echo", headers=cookie).status_code == 401


def test_a_token_of_a_megabyte_is_an_error_of_the_caller(served: RunningHost) -> None:
    """W3: never a 500, whatever the length."""
    with wire(served.port) as peer:
        head = b"GET /plugins HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
        try:
            peer.send(head + b"x" * 1_000_000 + b"\r\n\r\n")
            assert peer.read_status() in (400, 403, 431)
        except ConnectionError:
            pass  # it hung up while we were still talking, which is an answer too


def test_another_agents_name_is_answered_with_ours(served: RunningHost) -> None:
    """D8: the shape of the reference, before the token is looked at."""
    headers = {"x-instar-agentid": "other", "authorization": "Bearer wrong"}
    answer = served.stranger.get("/plugins", headers=headers)
    assert answer.status_code == 403
    assert answer.json() == {"error": "agent_id_mismatch", "expected": "me"}
    assert served.client.get("/plugins", headers={"x-instar-agentid": "me"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/static/shell.js", 200),
        ("/static/nothing.js", 404),
        ("/plugins", 200),
        ("/probe/headers", 200),
        ("/probe/crash", 500),
        ("/probe/refuse", 409),
        ("/nothing", 404),
    ],
)
def test_every_answer_wears_the_security_headers(
    served: RunningHost, path: str, status: int
) -> None:
    """W7: errors too, and no plugin can take them off."""
    answer = served.client.get(path)
    assert answer.status_code == status
    assert answer.headers.get_list("content-security-policy")[0].startswith("default-src 'none'")
    assert len(answer.headers.get_list("content-security-policy")) == 1
    assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    for absent in ("set-cookie", "access-control-allow-origin", "server"):
        assert absent not in answer.headers


def test_data_is_not_stored_and_files_are_asked_for_again(served: RunningHost) -> None:
    """W7: no-store on data; the shell and its scripts are never of two versions."""
    assert served.client.get("/plugins").headers["cache-control"] == "no-store"
    shell = served.stranger.get("/static/shell.js")
    assert shell.headers["cache-control"] == "no-cache"
    known = {"if-none-match": shell.headers["etag"]}
    assert served.stranger.get("/static/shell.js", headers=known).status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/..\\app.py",
        "/static/..%5capp.py",
        "/static/shell.js%00",
        "/static/%00",
        "/static//etc/passwd",
        "/static/",
        "/static/.hidden.js",
        "/static/panels",
        "/static/panels/",
        "/static/panels/probe",
        "/static/panels/probe/",
        "/static/panels/probe/%2e%2e/secret.js",
        "/static/panels/probe/../secret.js",
        "/static/panels/probe/link.js",
        "/static/panels/probe/plugin.py",
        "/static/panels/nobody/tab.js",
    ],
)
def test_static_paths_lead_nowhere_else(
    run_host: RunHost, probe: Probe, tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    """W9: dots, encoded or not, NUL, backslash, links and other kinds of file."""
    outside = tmp_path_factory.mktemp("outside")
    folder = outside / "panel"
    folder.mkdir()
    for name in ("panel/tab.js", "panel/plugin.py", "secret.js"):
        (outside / name).write_text("content", encoding="utf-8")
    (folder / "link.js").symlink_to(outside / "secret.js")
    probe.panel = folder / "tab.js"
    served = run_host([probe])
    assert served.stranger.get("/static/panels/probe/tab.js").text == "content"
    with wire(served.port) as peer:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        peer.send(head.encode())
        answer = peer.read_all()
    assert answer.split(b" ")[1] == b"404"
    assert b"content\n" not in answer
    assert not answer.endswith(b"content")


def test_health_says_one_word(served: RunningHost) -> None:
    """W14: no count, no name, no path to whoever asks without the token."""
    answer = served.stranger.get("/health")
    assert answer.json() == {"status": "ok"}


def test_health_degrades_when_a_plugin_does_not_run(run_host: RunHost, probe: Probe) -> None:
    """W14: one word is enough to know that /plugins is worth a look."""
    served = run_host([probe], {"plugins": {"enabled": ["absent"]}})
    assert json.loads(served.stranger.get("/health").text) == {"status": "degraded"}
