"""Threadline over HTTP: with and without the token, the reference's routes and their edges."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instar_host.lease import Lease
from instar_host.testing_web import RunHost, RunningHost
from instar_threadline.plugin import ThreadlinePlugin
from instar_threadline.record.index import Index
from tests.threadline.logs import (
    DAWN,
    GAIL,
    keyring,
    open_log,
    original_line,
    received,
    write_original,
)
from tests.threadline.test_settings import DEFAULTS

CONFIG = "/threadline/telegram-bridge/config"
THREADS = "/threadline/observability/threads"
SEARCH = "/threadline/observability/search"
PROBLEMS = "/threadline/observability/problems"
MESSAGES = "/threadline/messages"
HANG_S = 20.0

INBOUND = {"direction": "in", "from": DAWN, "senderName": "Dawn", "threadId": "t-1",
           "text": "the ground truth", "id": "m-1", "trustLevel": "trusted"}  # fmt: skip
OUTBOUND = {"direction": "out", "to": DAWN, "recipientName": "Dawn", "threadId": "t-1",
            "text": "understood", "id": "o-1", "outcome": "relay-sent"}  # fmt: skip


@pytest.fixture
def app(run_host: RunHost) -> RunningHost:
    """A host with threadline, serving."""
    return run_host([ThreadlinePlugin()], {"projectName": "echo"})


def until(question: Callable[[], Any]) -> Any:
    """The first answer that is true; a hang guard, not a timing assertion."""
    deadline = time.monotonic() + HANG_S
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return answer


def threads(app: RunningHost, count: int = 1) -> list[Any]:
    def ask() -> Any:
        answer = app.client.get(THREADS)
        return answer.status_code == 200 and answer.json()["count"] >= count and answer.json()

    return list(until(ask)["threads"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", THREADS), ("GET", THREADS + "/t-1"), ("GET", "/threadline/observability/thread"),
        ("GET", SEARCH), ("GET", "/threadline/observability/stats"), ("POST", MESSAGES),
        ("GET", PROBLEMS),
        ("GET", "/threadline/observability/events"), ("GET", CONFIG), ("PATCH", CONFIG),
    ],
)  # fmt: skip
def test_nothing_is_open(app: RunningHost, method: str, path: str) -> None:
    """C-01: without the token every path of threadline is a 401, with a wrong one a 403."""
    headers = {"content-type": "application/json"}
    assert app.stranger.request(method, path, headers=headers).status_code == 401
    headers["authorization"] = "Bearer wrong"
    assert app.stranger.request(method, path, headers=headers).status_code == 403


def test_a_message_is_recorded_once(app: RunningHost) -> None:
    """201, 200, 409: recorded, there already, there with other content."""
    first = app.client.post(MESSAGES, json=INBOUND)
    assert (first.status_code, first.json()["message"]["verified"]) == (201, True)
    assert app.client.post(MESSAGES, json=INBOUND).status_code == 200
    changed = {**INBOUND, "text": "something else"}
    assert app.client.post(MESSAGES, json=changed).status_code == 409
    assert app.client.post(MESSAGES, json={**changed, "from": GAIL}).status_code == 201
    assert app.client.post(MESSAGES, json=OUTBOUND).status_code == 201


@pytest.mark.parametrize(
    "change",
    [
        {"from": ""}, {"direction": "up"}, {"text": 5}, {"threadId": None}, {"hmac": "00"},
        {"timestamp": "soon"}, {"id": "x" * 5000},
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_a_400(app: RunningHost, change: dict[str, Any]) -> None:
    """The sentence says what; the log stays empty."""
    answer = app.client.post(MESSAGES, json={**INBOUND, **change})
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert threads(app, 0) == []


def test_the_list_has_the_keys_of_the_reference(app: RunningHost) -> None:
    """OB-02, OB-R1: every key is there under its name, and the count."""
    app.client.post(MESSAGES, json=INBOUND)
    app.client.post(MESSAGES, json=OUTBOUND)
    thread = until(lambda: (found := threads(app))[0]["messageCount"] == 2 and found)[0]
    assert {
        "threadId", "remoteAgent", "remoteAgentName", "messageCount", "inboundCount",
        "outboundCount", "firstSeen", "lastSeen", "avgResponseLatencyMs", "bridge",
        "hasSpawnedSession",
    } <= set(thread)  # fmt: skip
    assert (thread["threadId"], thread["remoteAgent"], thread["bridge"]) == ("t-1", DAWN, None)


def test_a_thread_has_the_keys_of_the_reference(app: RunningHost) -> None:
    """OB-06, OB-R2: summary and messages; an unknown thread is a 404 with the reference's words."""
    app.client.post(MESSAGES, json=INBOUND)
    threads(app)
    detail = app.client.get(THREADS + "/t-1").json()
    assert detail["messageCount"] == 1
    assert {
        "direction", "id", "timestamp", "threadId", "remoteAgent", "remoteAgentName", "text",
        "trustLevel",
    } <= set(detail["messages"][0])  # fmt: skip
    missing = app.client.get(THREADS + "/nope")
    assert (missing.status_code, missing.json()) == (404, {"error": "Thread not found"})


def test_a_search_has_the_keys_of_the_reference(app: RunningHost) -> None:
    """OB-07, OB-R3: hits with message and snippet, newest first; blank finds nothing."""
    app.client.post(MESSAGES, json=INBOUND)
    threads(app)
    ask = {"q": "GROUND"}
    found = until(lambda: (got := app.client.get(SEARCH, params=ask).json())["hits"] and got)
    assert found["count"] == 1
    assert found["hits"][0]["snippet"] == "the «ground» truth"
    assert found["hits"][0]["message"]["id"] == "m-1"
    assert app.client.get(SEARCH, params={"q": "  "}).json()["hits"] == []


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (THREADS, {"hasTopic": "maybe"}), (THREADS, {"since": "x"}), (THREADS, {"limit": "0"}),
        (THREADS, {"cursor": "no"}), (SEARCH, {"q": "abc", "limit": "10abc"}),
        (SEARCH, {"q": "abc", "limit": "201"}), (SEARCH, {"q": "x" * 501}),
        ("/threadline/observability/thread", {}), (PROBLEMS, {"limit": "501"}),
        (PROBLEMS, {"cursor": "next"}), (SEARCH, {"q": "abc", "cursor": "1_0"}),
        (SEARCH, {"q": "abc", "cursor": ""}),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_a_400(app: RunningHost, path: str, params: dict[str, str]) -> None:
    """C-11: never ignored, never clamped, always named."""
    threads(app, 0)
    assert app.client.get(path, params=params).status_code == 400


@pytest.mark.parametrize("thread_id", ["../../etc", "a/b", "x?y#z", "a b", "%00", "é\u202e«»"])
def test_hostile_thread_ids_are_reached(app: RunningHost, thread_id: str) -> None:
    """S10: any id is reached by the query form of the route."""
    app.client.post(MESSAGES, json={**INBOUND, "threadId": thread_id})
    threads(app)
    path = "/threadline/observability/thread"
    answer = app.client.get(path, params={"threadId": thread_id})
    assert answer.json()["threadId"] == thread_id


def test_the_files_of_the_original_are_shown(run_host: RunHost, state_dir: Path) -> None:
    """A state directory that the original wrote shows and verifies with ours."""
    write_original(
        state_dir,
        [original_line("in", "a-token-for-tests")],
        [original_line("out", "a-token-for-tests", id="o-1", timestamp="2026-05-01T10:00:05Z")],
    )
    app = run_host([ThreadlinePlugin()])
    thread = threads(app)[0]
    assert (thread["messageCount"], thread["avgResponseLatencyMs"]) == (2, 5000)
    stats = app.client.get("/threadline/observability/stats").json()
    integrity = stats["integrity"]
    assert (integrity["integrity"], integrity["completeness"]) == ("ok", "unknown")


def test_bad_records_are_listed_over_http(run_host: RunHost, state_dir: Path) -> None:
    """Each with its place and its bytes; what cannot be decoded is replaced, nothing is markup."""
    write_original(state_dir, [original_line("in", "a-token-for-tests"), b"<b>\xff\n", b"{}\n"])
    app = run_host([ThreadlinePlugin()])
    threads(app)
    answer = app.client.get(PROBLEMS, params={"limit": "1"}).json()
    assert (answer["count"], answer["total"], answer["nextCursor"]) == (1, 2, "1")
    first = answer["problems"][0]
    assert (first["kind"], first["file"]) == ("unreadable", "inbox.jsonl.active")
    assert first["excerpt"] == "<b>\ufffd"
    rest = app.client.get(PROBLEMS, params={"cursor": "1"}).json()
    assert [one["excerpt"] for one in rest["problems"]] == ["{}"]
    assert rest["nextCursor"] is None


def test_a_process_that_only_reads_tells_of_news_too(run_host: RunHost, state_dir: Path) -> None:
    """Whoever looks at a host without the lease is told that another process added something."""
    lease = Lease(state_dir)
    assert lease.try_acquire()
    log = open_log(state_dir, token="a-token-for-tests")
    log.record([received("before", id="m-1")])
    index = Index(state_dir, keyring(state_dir, "a-token-for-tests"), lambda: 0)
    index.catch_up()
    app = run_host([ThreadlinePlugin()])
    assert threads(app)
    health = app.client.get("/threadline/observability/stats").json()["health"]
    assert health["writes"] is False
    with app.client.stream("GET", "/threadline/observability/events") as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: changed"
        log.record([received("later", id="m-2")])
        index.catch_up()
        assert next(line for line in lines if line.startswith("event:")) == "event: changed"
    index.close()
    lease.release()


def test_settings_on_a_fresh_agent(app: RunningHost) -> None:
    """D6-1: the documented defaults."""
    answer = app.client.get(CONFIG)
    assert (answer.status_code, answer.json()) == (200, DEFAULTS)


def test_settings_are_changed_and_read_back(app: RunningHost) -> None:
    """D6-3, D6-6: what was given is so, the rest is as it was."""
    change = {"enabled": True, "autoCreateTopics": True, "allowList": ["dawn", "ada"]}
    answer = app.client.patch(CONFIG, json=change)
    assert (answer.status_code, answer.json()) == (200, {**DEFAULTS, **change})
    assert app.client.get(CONFIG).json() == {**DEFAULTS, **change}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"enabled":"yes"}', "enabled must be boolean"),
        ('{"allowList":"dawn"}', "allowList must be string[]"),
        ('{"enabled":true,"colour":1}', "colour"),
        ("[]", ""),
        ("{", ""),
    ],
)
def test_a_bad_change_is_a_400(app: RunningHost, body: str, says: str) -> None:
    """D6-4, D6-5, D6-8 turned round (an unknown key is refused), C-10: malformed JSON is a 400."""
    headers = {"content-type": "application/json"}
    answer = app.client.patch(CONFIG, content=body, headers=headers)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert app.client.get(CONFIG).json() == DEFAULTS


def test_settings_that_cannot_be_read_are_a_503(app: RunningHost, state_dir: Path) -> None:
    """D6-2, D6-7, C-38: a broken file is said to be broken, and stays as it is."""
    (state_dir / "config.json").write_text("{broken")
    assert app.client.get(CONFIG).status_code == 503
    assert app.client.patch(CONFIG, json={"enabled": True}).status_code == 503
    assert (state_dir / "config.json").read_text() == "{broken"


def test_if_match(app: RunningHost) -> None:
    """The ETag of an answer guards the next change; a stale one is a 412."""
    tag = app.client.get(CONFIG).headers["etag"]
    ok = app.client.patch(CONFIG, json={"enabled": True}, headers={"if-match": tag})
    stale = app.client.patch(CONFIG, json={"enabled": False}, headers={"if-match": tag})
    assert (ok.status_code, stale.status_code) == (200, 412)
    assert app.client.get(CONFIG).json()["enabled"] is True


def test_a_new_message_is_told_to_those_who_listen(app: RunningHost) -> None:
    """The stream says which thread has something new, and nothing of its text."""
    threads(app, 0)
    with app.client.stream("GET", "/threadline/observability/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry:")
        app.client.post(MESSAGES, json=INBOUND)
        event = next(line for line in lines if line.startswith("event: message"))
        data = next(lines)
    assert event
    assert '"threadId":"t-1"' in data
    assert "ground" not in data


def test_search_pages_go_on_at_either_end_of_time(app: RunningHost) -> None:
    """The cursor of a message without an instant, of 1970, of before it or of the year 9999 is one:
    each message once, and an end."""
    instants = ["0001-01-01", "1969-12-31", "1970-01-01", "2026-05-01", "9999-12-31"]
    for i, day in enumerate(instants):
        said = {"direction": "in", "threadId": f"t{i}", "text": "some words", "from": DAWN}
        app.client.post(MESSAGES, json={**said, "id": str(i), "timestamp": f"{day}T00:00:00Z"})
    threads(app, len(instants))
    # Texts are indexed beside the messages.
    until(
        lambda: len(app.client.get(SEARCH, params={"q": "words"}).json()["hits"]) == len(instants)
    )
    found, cursor = [], dict[str, str]()
    for _ in range(len(instants) + 1):
        answer = app.client.get(SEARCH, params={"q": "words", "limit": "1", **cursor})
        assert answer.status_code == 200
        found += [hit["message"]["id"] for hit in answer.json()["hits"]]
        if answer.json()["nextCursor"] is None:
            break
        cursor = {"cursor": answer.json()["nextCursor"]}
    assert found == ["4", "3", "2", "1", "0"]
