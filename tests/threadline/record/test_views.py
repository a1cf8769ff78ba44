"""Threads, details, figures: the reference's cases, and the defects that they did not see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.threadline.logs import (
    DAWN,
    GAIL,
    Seen,
    open_log,
    original_line,
    received,
    sent,
    write_original,
)

See = Callable[[], Seen]


@pytest.fixture
def see(tmp_path: Path) -> Iterator[See]:
    """Index the state directory and look at it."""
    made: list[Seen] = []

    def look() -> Seen:
        made.append(Seen(tmp_path))
        return made[-1]

    yield look
    for one in made:
        one.close()


def line(direction: str, at: str, **members: Any) -> bytes:
    return original_line(direction, timestamp=f"2026-05-01T{at}Z", **members)


def write_json(tmp_path: Path, name: str, value: Any) -> None:
    (tmp_path / "threadline" / name).write_text(json.dumps(value))


def test_nothing_there(see: See) -> None:
    """D5-1, D5-9, D5-11: no files, no threads, no thread, no hits."""
    seen = see()
    assert seen.threads() == []
    assert seen.views.thread("t-1") is None
    assert seen.hits("") == []
    assert seen.hits("anything") == []


def test_two_inbound_messages(tmp_path: Path, see: See) -> None:
    """D5-2: counts, first and last, peer and name, no bridge, no session."""
    write_original(tmp_path, [line("in", "10:00:00.000"), line("in", "10:05:00.000", id="m-2")])
    thread = see().views.threads().threads[0]
    assert (thread.message_count, thread.inbound_count, thread.outbound_count) == (2, 2, 0)
    assert thread.first_seen == "2026-05-01T10:00:00.000Z"
    assert thread.last_seen == "2026-05-01T10:05:00.000Z"
    assert (thread.remote_agent, thread.remote_agent_name) == (DAWN, "Dawn")
    assert thread.bridge is None
    assert not thread.has_spawned_session


def test_latency_of_a_reply(tmp_path: Path, see: See) -> None:
    """D5-3: one question, one answer ninety seconds later."""
    write_original(tmp_path, [line("in", "10:00:00")], [line("out", "10:01:30")])
    thread = see().views.threads().threads[0]
    assert (thread.message_count, thread.avg_response_latency_ms) == (2, 90_000)


def test_every_waiting_message_counts_for_latency(tmp_path: Path, see: See) -> None:
    """C-75: three questions and one reply wait 5, 3 and 1 s: 3 s on average, not 5."""
    questions = [line("in", f"10:00:0{s}", id=f"m-{s}") for s in (0, 2, 4)]
    write_original(tmp_path, questions, [line("out", "10:00:05")])
    assert see().views.threads().threads[0].avg_response_latency_ms == 3000


def test_bindings_and_sessions_are_joined(tmp_path: Path, see: See) -> None:
    """D5-4, D5-5, B-26: topic of the bindings file, sessions in all three shapes of the map."""
    write_original(tmp_path, [line("in", "10:00:00")])
    binding = {"threadId": "t-1", "topicId": 9876, "remoteAgent": DAWN, "topicName": "a↔b"}
    write_json(tmp_path, "telegram-bridge-bindings.json", {"version": 1, "bindings": [binding]})
    for name, value in (
        ("thread-resume-map.json", {"threads": {"t-1": {"uuid": "u"}}}),
        ("thread-resume-map.json", {"t-1": {"uuid": "u"}}),
        ("conversations.json", {"conversations": {"t-1": {"sessionUuid": "u"}}}),
    ):
        write_json(tmp_path, name, value)
        thread = see().views.threads().threads[0]
        assert thread.bridge is not None
        assert (thread.bridge.topic_id, thread.bridge.topic_name) == (9876, "a↔b")
        assert thread.has_spawned_session
        (tmp_path / "threadline" / name).unlink()


def test_thread_ids_are_keys_and_never_members(tmp_path: Path, see: See) -> None:
    """C-73: a thread called `constructor`, or `threads`, has a session only if the map says so."""
    write_original(
        tmp_path,
        [line("in", "10:00:00", threadId=t, id=t) for t in ("constructor", "threads", "t-9")],
    )
    write_json(tmp_path, "thread-resume-map.json", {"threads": {"sessionUuid": "u"}, "t-9": {}})
    found = {t.thread_id: t.has_spawned_session for t in see().views.threads().threads}
    assert found == {"constructor": False, "threads": True, "t-9": True}


def test_filters_and_order(tmp_path: Path, see: See) -> None:
    """D5-6 to D5-8: newest first; by agent's id or name in any case; with and without a topic."""
    write_original(
        tmp_path,
        [
            original_line("in", timestamp="2026-05-01T10:00:00Z", threadId="old"),
            original_line("in", timestamp="2026-05-02T10:00:00Z", threadId="new", id="m-2",
                          senderName="Gail", **{"from": GAIL}),
        ],
    )  # fmt: skip
    bindings = [
        {"threadId": "old", "topicId": 1},
        None,
        {"threadId": "", "topicId": 2},
        {"threadId": "new", "topicId": "x"},
    ]
    write_json(tmp_path, "telegram-bridge-bindings.json", {"bindings": bindings})
    seen = see()
    assert seen.threads() == ["new", "old"]
    assert seen.threads(remote_agent="dAwN") == ["old"]
    assert seen.threads(remote_agent=GAIL[:10]) == ["new"]
    assert seen.threads(has_topic="yes") == ["old"]
    assert seen.threads(has_topic="no") == ["new"]
    noon = 1_777_636_800_000
    assert seen.threads(since_ms=noon) == ["new"]
    assert seen.threads(until_ms=noon) == ["old"]


def test_a_conversation_in_order(tmp_path: Path, see: See) -> None:
    """D5-10: both directions, by their times."""
    write_original(
        tmp_path,
        [line("in", "10:00:00", id="i1"), line("in", "10:02:00", id="i2")],
        [line("out", "10:01:00", id="o1", outcome="relay-sent")],
    )
    detail = see().views.thread("t-1")
    assert detail is not None
    assert [(m.id, m.direction) for m in detail.messages] == [
        ("i1", "in"), ("o1", "out"), ("i2", "in"),
    ]  # fmt: skip
    assert detail.summary.message_count == 3
    assert detail.messages[1].outcome == "relay-sent"


def test_instants_are_compared_as_instants(tmp_path: Path, see: See) -> None:
    """C-71: whole seconds, zones and fractions order by what they mean, not by their letters."""
    times = ["2026-05-01T12:00:01+02:00", "2026-05-01T10:00:00Z", "2026-05-01T10:00:00.500Z"]
    write_original(
        tmp_path, [original_line("in", id=str(i), timestamp=t) for i, t in enumerate(times)]
    )
    detail = see().views.thread("t-1")
    assert detail is not None
    assert [m.id for m in detail.messages] == ["1", "2", "0"]
    assert detail.messages[2].timestamp == times[0]
    assert detail.messages[2].at == "2026-05-01T10:00:01.000Z"


def test_a_bad_record_breaks_nothing(tmp_path: Path, see: See) -> None:
    """C-64, C-07: null, arrays, rubbish, missing members, wrong types: the rest is all there."""
    bad = [
        b"null\n", b"[1]\n", b"rubbish\n", b"\n", b'{"threadId":5}\n', b"{}\n", b"\xff\xfe\n",
        b'{"threadId":"t-1"}\n', b'{"threadId":"t-1","text":null,"id":7,"timestamp":[]}\n',
        b"[" * 5000 + b"\n", b'{"threadId":"t-1","text":"cut \\ud83d","id":"s"}\n',
    ]  # fmt: skip
    write_original(tmp_path, [line("in", "10:00:00"), *bad, line("in", "10:00:05", id="m-2")])
    seen = see()
    detail = seen.views.thread("t-1")
    assert detail is not None
    assert [m.id for m in detail.messages if m.verified] == ["m-1", "m-2"]
    assert detail.summary.integrity.state == "broken"
    stats = seen.views.stats()
    assert (stats.unreadable, stats.bad) == (8, 3)
    assert seen.views.integrity().integrity == "broken"
    assert seen.hits("CUT") == ["«cut» \ufffd"]


def test_names_stand_beside_fingerprints(tmp_path: Path, see: See) -> None:
    """D5-15, C-53, C-74: a name of the message, else the known one by the whole id, else a hash."""
    names = {"said": "Dawn", "empty": "", "hash": DAWN[:8]}
    write_original(
        tmp_path,
        [line("in", "10:00:00", threadId=t, id=t, senderName=n) for t, n in names.items()]
        + [line("in", "10:00:00", threadId="short", id="s", senderName="", **{"from": "ddd"})],
    )
    agents = [{"publicKey": DAWN.upper() + "f" * 32, "name": "KnownDawn"}, {"name": 3}, None]
    write_json(tmp_path, "known-agents.json", {"agents": agents})
    found = {t.thread_id: t.remote_agent_name for t in see().views.threads().threads}
    assert found == {"said": "Dawn", "empty": "KnownDawn", "hash": "KnownDawn", "short": "ddd"}
    assert {t.remote_agent for t in see().views.threads().threads} == {DAWN, "ddd"}


def test_a_duplicate_counts_once_and_a_conflict_is_shown(tmp_path: Path, see: See) -> None:
    """C-69: the same message logged twice is one; other content under its identity is flagged."""
    write_original(
        tmp_path,
        [line("in", "10:00:00"), line("in", "10:00:09"), line("in", "10:00:10", text="changed")],
    )
    detail = see().views.thread("t-1")
    assert detail is not None
    assert [(m.text, m.conflict) for m in detail.messages] == [("hello", False), ("changed", True)]


def test_local_messages_are_recorded_like_all_others(tmp_path: Path, see: See) -> None:
    """C-51, C-52: one funnel for every path; the thread of a reply is the one that was given."""
    log = open_log(tmp_path)
    log.record([received("from a local peer", trust_level="local"), sent("answer")])
    detail = see().views.thread("t-1")
    assert detail is not None
    assert [m.direction for m in detail.messages] == ["in", "out"]


def test_a_view_reads_no_file_of_the_log(tmp_path: Path, see: See) -> None:
    """C-70: what is shown comes from the index; the log itself may as well not be there."""
    log = open_log(tmp_path)
    log.record([received("a question", id="m-1"), sent("an answer", id="o-1")])
    seen = see()
    before = (seen.views.thread("t-1"), seen.views.threads(), seen.hits("question"))
    for path in (tmp_path / "threadline").glob("*box.*"):
        path.unlink()
    assert (seen.views.thread("t-1"), seen.views.threads(), seen.hits("question")) == before
    assert before[0] is not None
    assert len(before[0].messages) == 2


def test_pages_cover_everything_once(tmp_path: Path, see: See) -> None:
    """Threads and messages by pages of any size are all of them, in the same order, once."""
    log = open_log(tmp_path)
    for i in range(70):
        at = f"2026-05-01T10:00:{i % 60:02d}Z"
        log.record([received(str(i), thread_id=f"t-{i % 7}", timestamp=at)])
    views = see().views
    threads: list[str] = []
    cursor = None
    while True:
        page = views.threads(limit=2, cursor=cursor)
        threads += [thread.thread_id for thread in page.threads]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(threads) == len(set(threads)) == 7
    whole = views.thread("t-3")
    assert whole is not None
    texts: list[str] = []
    before = None
    while True:
        part = views.thread("t-3", limit=3, before=before)
        assert part is not None
        texts = [m.text for m in part.messages] + texts
        before = part.older_cursor
        if before is None:
            break
    assert texts == [m.text for m in whole.messages]
    assert len(texts) == 10


@pytest.mark.parametrize(
    "timestamp",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59-14:00"],
)
def test_no_instant_of_a_peer_breaks_a_view(tmp_path: Path, see: See, timestamp: str) -> None:
    """An instant beyond the years that can be written is none: the peer chose it, all would
    suffer."""
    far = original_line("in", id="m-2", text="b", timestamp=timestamp)
    write_original(tmp_path, [original_line("in", text="a"), far])
    assert open_log(tmp_path).record([received("c", timestamp=timestamp)])[0].status == "refused"
    seen = see()
    detail = seen.views.thread("t-1")
    assert detail is not None
    assert [m.at for m in detail.messages if m.text == "b"] == [""]
    assert len(seen.views.threads().threads) == 1
    assert seen.views.stats().messages == 2


def test_many_messages_of_one_instant(tmp_path: Path, see: See) -> None:
    """S6: equal times are no trouble: all are there, in the order of the log near enough."""
    open_log(tmp_path).record([received(f"m {i}") for i in range(500)])
    detail = see().views.thread("t-1", limit=1000)
    assert detail is not None
    assert sorted(int(m.text[2:]) for m in detail.messages) == list(range(500))


@pytest.mark.parametrize("thread_id", ["../../x", "a\x00b", "T-1", "t-1", "", "x" * 4000, "«»%2F/"])
def test_hostile_thread_ids_stay_apart(tmp_path: Path, see: See, thread_id: str) -> None:
    """S10: a thread is found by its very id, and by no other."""
    log = open_log(tmp_path)
    log.record([received("this", thread_id=thread_id), received("other", thread_id="another")])
    detail = see().views.thread(thread_id)
    assert detail is not None
    assert [m.text for m in detail.messages] == ["this"]


def test_an_unverified_message_is_shown_as_such(tmp_path: Path, see: See) -> None:
    """A sender that nobody authenticated is unverified for good, though the line is genuine."""
    open_log(tmp_path).record([received("claimed", verified=False), received("real")])
    detail = see().views.thread("t-1")
    assert detail is not None
    assert {m.text: m.verified for m in detail.messages} == {"claimed": False, "real": True}
    assert detail.summary.integrity.unverified == 1
    assert detail.summary.integrity.state == "ok"


def test_a_thread_that_lost_a_line_says_so(tmp_path: Path, see: See) -> None:
    """The chain tells which thread is short, by its tag; the others are complete."""
    open_log(tmp_path).record([received(str(i), thread_id=f"t-{i % 2}") for i in range(6)])
    path = tmp_path / "threadline" / "inbox.jsonl.active"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    seen = see()
    found = {t.thread_id: t.integrity for t in seen.views.threads().threads}
    assert (found["t-0"].completeness, found["t-0"].missing) == ("short", 1)
    assert found["t-1"].completeness == "complete"
    assert seen.views.integrity().completeness == "short"
