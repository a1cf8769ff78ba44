"""Streams and the server under them: until the reader goes, or the host stops, and not longer."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from instar_host import Response, Route, hookimpl
from instar_host.testing_web import RunHost, RunningHost
from instar_host.web.limits import Limits
from instar_host.web.server import PortBusy, listen
from tests.host.web.probe import HANG_GUARD_S, Probe, Wire, await_true, wire


@pytest.fixture
def probe() -> Probe:
    """The plugin under every test here."""
    return Probe()


@pytest.fixture
def served(run_host: RunHost, probe: Probe) -> RunningHost:
    """A host with the probe."""
    return run_host([probe])


def open_stream(peer: Wire, token: str, path: str = "/probe/events") -> int:
    """Ask for a stream; the status of the answer."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    peer.send(head.encode())
    return peer.read_status()


def test_a_stream_carries_what_is_published(served: RunningHost, probe: Probe) -> None:
    """From any thread to the reader, as it is said."""
    with served.client.stream("GET", "/probe/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        await_true(lambda: probe.events.subscribers == 1, "subscribed")
        probe.events.publish({"n": 1}, "count")
        lines = answer.iter_lines()
        assert "event: count" in (next(lines) for _ in range(4))


def test_a_stream_needs_the_token(served: RunningHost) -> None:
    """C-01: streams are data."""
    assert served.stranger.get("/probe/events").status_code == 401


def test_a_reader_that_goes_away_is_noticed(served: RunningHost, probe: Probe) -> None:
    """The iterator is closed, so its place is free again."""
    with wire(served.port) as peer:
        assert open_stream(peer, served.token) == 200
        await_true(lambda: probe.events.subscribers == 1, "subscribed")
    assert probe.streams_closed.wait(HANG_GUARD_S)
    await_true(lambda: probe.events.subscribers == 0, "unsubscribed")


def test_open_streams_end_when_the_host_stops(served: RunningHost, probe: Probe) -> None:
    """Rule of the contract: every stream ends, cleanly, when the host stops."""
    with served.client.stream("GET", "/probe/events") as answer:
        await_true(lambda: probe.events.subscribers == 1, "subscribed")
        stopping = threading.Thread(target=served.runtime.stop, args=(HANG_GUARD_S,))
        stopping.start()
        for _ in answer.iter_raw():
            pass
        stopping.join()
    assert served.runtime.state == "stopped"


def test_stopping_under_load_leaves_nothing(run_host: RunHost, probe: Probe) -> None:
    """H3: streams, requests and half-sent ones at once; threads and descriptors as before."""
    threads = threading.active_count()
    served = run_host([probe])
    load = threading.Event()

    def ask() -> None:
        while not load.is_set():
            try:
                with wire(served.port) as peer:
                    open_stream(peer, served.token, "/probe/echo")
            except OSError:
                return

    askers = [threading.Thread(target=ask) for _ in range(4)]
    with wire(served.port) as one, wire(served.port) as two, wire(served.port) as half:
        assert open_stream(one, served.token) == 200
        assert open_stream(two, served.token) == 200
        half.send(b"GET /probe/echo HTTP/1.1\r\nHost: loc")
        for asker in askers:
            asker.start()
        await_true(lambda: len(probe.threads) > 20, "load")
        publisher = threading.Thread(target=probe.chatter)
        publisher.start()
        assert served.runtime.stop(HANG_GUARD_S)
        publisher.join()
    load.set()
    for asker in askers:
        asker.join()
    assert threading.active_count() == threads


def test_a_reader_that_does_not_read_cannot_hold_up_the_stop(
    served: RunningHost, probe: Probe
) -> None:
    """H3: its connection is cut; nobody else waits for it."""
    with wire(served.port) as peer:
        assert open_stream(peer, served.token) == 200
        await_true(lambda: probe.events.subscribers == 1, "subscribed")
        for _ in range(100):
            probe.events.publish(b"data: " + b"x" * 1_000_000 + b"\n\n")
        assert served.runtime.stop(HANG_GUARD_S)


def test_there_is_a_cap_on_streams(run_host: RunHost, probe: Probe) -> None:
    """One more is told to come back, and routes go on."""
    served = run_host([probe], limits=Limits(max_streams=1))
    with wire(served.port) as peer:
        assert open_stream(peer, served.token) == 200
        with wire(served.port) as other:
            assert open_stream(other, served.token) == 503
        assert served.client.get("/probe/echo").status_code == 200


def test_a_crowd_of_silent_connections_leaves_room(run_host: RunHost) -> None:
    """W15: beyond the cap the longest idle one makes room; /health answers."""
    served = run_host(limits=Limits(max_connections=100))
    before = len(os.listdir("/proc/self/fd"))
    peers = [wire(served.port) for _ in range(400)]
    opened = [peer.__enter__() for peer in peers]
    assert len(opened) == 400
    assert served.stranger.get("/health").json() == {"status": "ok"}
    for peer in peers:
        peer.__exit__(None, None, None)
    await_true(lambda: len(os.listdir("/proc/self/fd")) <= before + 3, "descriptors given back")


def test_a_head_that_drips_is_cut_off(run_host: RunHost) -> None:
    """W15: a connection that never finishes its request does not stay."""
    served = run_host(limits=Limits(head_deadline_s=0.05))
    with wire(served.port) as peer:
        peer.send(b"GET /health HTTP/1.1\r\nHost: local")
        assert peer.read_all() == b""


def test_a_connection_is_used_again(served: RunningHost) -> None:
    """Keep-alive, also after a refusal with a body that nobody read."""
    with wire(served.port) as peer:
        head = b"PATCH /probe/item/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n"
        peer.send(head + b"x" * 70_000)
        assert peer.read_status() == 401
        peer.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in peer.read_all()


def test_small_answers_are_not_held_back() -> None:
    """asyncio turns Nagle's delay off only for sockets that name their protocol: 1 ms, not 42."""
    with listen("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP


def test_a_port_that_is_taken_says_so() -> None:
    """Before anything else of the host has started."""
    with listen("127.0.0.1", 0) as sock, pytest.raises(PortBusy, match="is taken"):
        listen("127.0.0.1", sock.getsockname()[1])


class Late:
    """A plugin whose start takes as long as the test wants."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    @hookimpl
    def instar_routes(self) -> list[Route]:
        """Waits."""
        assert self.go_on.wait(HANG_GUARD_S)
        return [Route(method="GET", path="/late", endpoint=lambda _request: Response(body=b"!"))]


def test_requests_are_answered_while_plugins_still_load(run_host: RunHost) -> None:
    """Rule 6: a slow plugin is a 503 that says to come back, and a word on /health."""
    late = Late()
    seen: list[tuple[int, str]] = []

    def ask_early(address: str) -> None:
        import httpx

        with httpx.Client(base_url=address, trust_env=False) as early:
            seen.append((early.get("/health").status_code, early.get("/health").text))
            bearer = {"authorization": "Bearer a-token-for-tests"}
            answer = early.get("/late", headers=bearer)
            seen.append((answer.status_code, answer.headers["retry-after"]))
        late.go_on.set()

    served = run_host([late], started=ask_early)
    assert seen == [(200, '{"status":"starting"}'), (503, "1")]
    assert served.client.get("/late").text == "!"


@pytest.mark.parametrize("value", ["\u20ac", "a\r\nset-cookie: b=c", "\0"])
def test_a_header_that_cannot_be_sent_is_an_error_and_no_broken_stream(
    served: RunningHost, value: str
) -> None:
    """The answer is a 500 like any other, and nothing of the stream was begun."""
    answer = served.client.get("/probe/odd-events", params={"value": value})
    assert answer.status_code == 500
    assert answer.json()["error"] == "Internal server error"
    assert "set-cookie" not in answer.headers
