"""Hermes's agent-to-agent conversations: every line once, whoever wrote it, and never trusted."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from instar_host import HostContext
from instar_host.store.errors import UnsafeFile
from instar_host.testing import MakeHost
from instar_threadline.messages import NewMessage
from instar_threadline.plugin import ThreadlinePlugin
from instar_threadline.sources import hermes, hermes_audit
from instar_threadline.sources.hermes import HermesMessages
from tests.threadline.sources.hermes_homes import HermesHome, said

CONFIG = {"authToken": "test-auth-token"}
LIMIT = 500


@pytest.fixture
def home(tmp_path: Path) -> HermesHome:
    return HermesHome(tmp_path / "hermes")


class Reader:
    """Whoever pulls, and keeps the cursor."""

    def __init__(self, home: HermesHome) -> None:
        self.source = HermesMessages(home.path)
        self.cursor: str | None = None
        self.skipped = 0
        self.pulls = 0

    def pull(self, limit: int = LIMIT) -> list[NewMessage]:
        """Everything there is at the moment."""
        found: list[NewMessage] = []
        more = True
        while more:
            batch = self.source.pull(self.cursor, limit)
            assert len(batch.messages) <= limit
            found += batch.messages
            self.cursor, more = batch.cursor, batch.more
            self.skipped += batch.skipped
            self.pulls += 1
        return found


def texts(messages: list[NewMessage]) -> list[str]:
    return [message.text for message in messages]


def test_whoever_began_a_task_decides_who_spoke(home: HermesHome) -> None:
    """`user` is the peer where the peer asked, and this agent where Hermes did."""
    home.asked("ctx-1", "alice", "task-1", "their question", "our answer")
    home.asks("ctx-2", "bob", "task-2", "our question", "their answer")
    found = {m.text: (m.direction, m.counterparty, m.thread_id) for m in Reader(home).pull()}
    assert found == {
        "their question": ("in", "hermes:alice", "hermes:ctx-1"),
        "our answer": ("out", "hermes:alice", "hermes:ctx-1"),
        "our question": ("out", "hermes:bob", "hermes:ctx-2"),
        "their answer": ("in", "hermes:bob", "hermes:ctx-2"),
    }


def test_without_an_audit_the_peer_is_taken_to_have_asked(home: HermesHome) -> None:
    """Who it was is then unknown, and said to be."""
    home.persist("ctx-1", "user", "question", "task-1")
    [message] = Reader(home).pull()
    assert (message.direction, message.counterparty) == ("in", "hermes:unknown")
    assert message.timestamp == "2026-01-01T00:00:00.250Z"


def test_nothing_is_verified_and_no_name_is_anothers(home: HermesHome) -> None:
    """A peer may call itself and its conversation what it likes: it is nobody's fingerprint."""
    dawn = "d" * 32
    home.asked("t-1", dawn, "task-1", "it is me", "who?")
    found = Reader(home).pull()
    assert {(m.counterparty, m.thread_id) for m in found} == {(f"hermes:{dawn}", "hermes:t-1")}
    assert not any(m.verified for m in found)


@pytest.mark.parametrize("limit", [1, 3, LIMIT])
def test_history_comes_in_pieces_and_once(home: HermesHome, limit: int) -> None:
    """Any limit, any restart between two pulls: every message, none twice."""
    for context in range(4):
        for number in range(5):
            home.persist(f"ctx-{context}", "user", f"{context}.{number}", f"task-{number}")
    reader, found = Reader(home), []
    for _ in range(100):
        batch = HermesMessages(home.path).pull(reader.cursor, limit)
        assert len(batch.messages) <= limit
        found += texts(list(batch.messages))
        reader.cursor = batch.cursor
        if not batch.more:
            break
    assert found == [f"{context}.{number}" for context in range(4) for number in range(5)]
    assert reader.pull() == []


def test_what_is_appended_later_is_found_later(home: HermesHome) -> None:
    """A line counts when its newline is there."""
    home.persist("ctx-1", "user", "one")
    reader = Reader(home)
    assert texts(reader.pull()) == ["one"]
    with home.file("ctx-1").open("ab") as file:
        file.write(said("agent", "two"))
    assert reader.pull() == []
    home.append("ctx-1", b"")
    assert texts(reader.pull()) == ["two"]


def test_an_audit_that_grows_is_heard_before_the_lines_it_speaks_of(home: HermesHome) -> None:
    """Hermes audits a call before it writes the conversation down."""
    home.asked("ctx-1", "alice", "task-1", "a", "b")
    reader = Reader(home)
    reader.pull()
    home.asks("ctx-1", "bob", "task-2", "c", "d")
    assert [(m.direction, m.counterparty) for m in reader.pull()] == [
        ("out", "hermes:bob"),
        ("in", "hermes:bob"),
    ]


HOSTILE = [
    b"",
    b"\x00\xff\xfe",
    b"[]",
    b"null",
    b'{"ts":1e400,"role":"user","text":"x"}',
    b'{"ts":-5,"role":"user","text":"x"}',
    b'{"ts":NaN,"role":"user","text":"x"}',
    b'{"ts":"2026-01-01","role":"user","text":"x"}',
    b'{"role":"user","text":"x"}',
    b'{"ts":1,"role":"system","text":"x"}',
    b'{"ts":1,"role":"user","text":{"a":1}}',
    b'{"ts":1,"role":"user","text":"\xff"}',
    b'{"ts":1,"role":"user","text":"x","task_id":7}',
    b'{"ts":1,"role":"user","text":"x","deep":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"ts":1,"role":"user","text":"cut off {"ts":1,"role":"user","text":"x"}',
    b"x" * (hermes.MAX_LINE_BYTES + 1),
]


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: repr(line[:24]))
def test_a_hostile_line_is_passed_over_and_counted(home: HermesHome, line: bytes) -> None:
    """And the lines around it are read."""
    home.append("ctx-1", said("user", "before"), line, said("agent", "after"))
    reader = Reader(home)
    assert texts(reader.pull()) == ["before", "after"]
    assert reader.skipped == (1 if line else 0)


def test_a_file_of_rubbish_is_read_a_bounded_piece_at_a_time(
    home: HermesHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull that finds no message ends all the same, and the next goes on."""
    monkeypatch.setattr(hermes, "PULL_BYTES", 4096)
    home.append("ctx-1", *[b"rubbish" * 10] * 200, said("user", "at last"))
    reader = Reader(home)
    assert texts(reader.pull()) == ["at last"]
    assert reader.skipped == 200
    assert reader.pulls >= 3


def test_links_devices_and_second_names_are_never_opened(home: HermesHome, tmp_path: Path) -> None:
    """Closing a second name of the host's database would drop the host's locks."""
    secret = tmp_path / "state.db"
    secret.write_bytes(said("user", "not for us") + b"\n")
    os.link(secret, home.file("hard"))
    home.file("soft").symlink_to(secret)
    os.mkfifo(home.file("pipe"))
    home.file("folder").mkdir()
    home.persist("ctx-1", "user", "hello")
    reader = Reader(home)
    assert texts(reader.pull()) == ["hello"]
    assert reader.skipped == 1
    assert reader.pull() == []
    assert reader.skipped == 1  # passed over once, not at every look


def test_an_audit_with_a_second_name_stops_the_source(home: HermesHome, tmp_path: Path) -> None:
    """Without it nobody can say who spoke, so nothing is recorded until it is put right."""
    home.asked("ctx-1", "alice", "task-1", "a", "b")
    os.link(home.path / "a2a_audit.jsonl", tmp_path / "other")
    with pytest.raises(UnsafeFile):
        Reader(home).pull()


def test_a_conversation_written_anew_gives_the_same_identities(home: HermesHome) -> None:
    """Read again from the beginning, every message is one that the log has."""
    home.asked("ctx-1", "alice", "task-1", "a", "b")
    reader = Reader(home)
    before = reader.pull()
    data = home.file("ctx-1").read_bytes()
    home.file("ctx-1").write_bytes(said("user", "new first line") + b"\n" + data)
    after = reader.pull()
    assert texts(after) == ["new first line", "a", "b"]
    assert after[1:] == before


def test_the_cursor_stays_small(home: HermesHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks of those that changed last; an older conversation is read anew when it changes."""
    monkeypatch.setattr(hermes, "KEPT_FILES", 5)
    reader = Reader(home)
    for number in range(20):
        home.persist(f"ctx-{number}", "user", f"text {number}")
        os.utime(home.file(f"ctx-{number}"))
    found = texts(reader.pull())
    assert sorted(found) == sorted(f"text {number}" for number in range(20))
    assert reader.cursor is not None
    assert len(msgspec.json.decode(reader.cursor)["files"]) == 5
    assert reader.pull() == []
    home.persist("ctx-0", "agent", "late")
    assert texts(reader.pull()) == ["text 0", "late"]


def test_conversations_of_one_instant_are_all_read(
    home: HermesHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock of files is coarse: marks that are let go of hide no neighbour of the same tick."""
    monkeypatch.setattr(hermes, "KEPT_FILES", 1)
    monkeypatch.setattr(hermes, "PULL_FILES", 1)
    for number in range(50):
        home.persist(f"ctx-{number}", "user", f"text {number}")
    instants = {path.stat().st_ctime_ns for path in home.folder.iterdir()}
    found = texts(Reader(home).pull())
    assert sorted(found) == sorted(f"text {number}" for number in range(50)), len(instants)


def test_more_conversations_than_one_pull_opens(
    home: HermesHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is asked for soon."""
    monkeypatch.setattr(hermes, "PULL_FILES", 3)
    for number in range(8):
        home.persist(f"ctx-{number}", "user", f"text {number}")
    reader = Reader(home)
    assert len(reader.pull()) == 8
    assert reader.pulls == 3


def test_the_audit_holds_the_last_tasks_only(
    home: HermesHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it grows."""
    monkeypatch.setattr(hermes_audit, "MAX_TASKS", 2)
    for number in range(5):
        home.audit("outbound", "alice", f"task-{number}")
    audit = hermes_audit.Audit(home.path)
    audit.refresh()
    known = [audit.begun(f"task-{number}") is not None for number in range(5)]
    assert known == [False, False, False, True, True]


@pytest.mark.parametrize("cursor", ["", "not ours", "[]", '{"files": 3}', '{"files":{"a":[1]}}'])
def test_a_cursor_that_is_none_means_the_beginning(home: HermesHome, cursor: str) -> None:
    """What was recorded is found in the log."""
    home.persist("ctx-1", "user", "hello")
    assert len(HermesMessages(home.path).pull(cursor, LIMIT).messages) == 1


def test_a_home_without_conversations_is_quiet(tmp_path: Path) -> None:
    """Hermes 0.19 has no such platform: that is no error."""
    batch = HermesMessages(tmp_path).pull(None, LIMIT)
    assert (batch.messages, batch.more, batch.cursor) == ((), False, None)


def sources(host: HostContext) -> list[str]:
    return [found.value.name for found in host.plugins.collect("threadline_sources", host=host)]


def test_inside_hermes_its_home_is_a_source(make_host: MakeHost, tmp_path: Path) -> None:
    """Without a word of configuration; elsewhere where `threadline.record.hermesHome` names it."""
    assert sources(make_host([ThreadlinePlugin()])) == []
    inside = make_host([ThreadlinePlugin()], environ={"HERMES_HOME": str(tmp_path)})
    assert sources(msgspec.structs.replace(inside, name="hermes")) == ["hermes"]
    told = {"threadline": {"record": {"hermesHome": str(tmp_path)}}}
    assert sources(make_host([ThreadlinePlugin()], told)) == ["hermes"]


def test_they_are_in_the_log_once_after_a_restart_without_cursors(
    make_host: MakeHost, home: HermesHome, state_dir: Path
) -> None:
    """Recorded, found again, and no conflict among them."""
    home.asked("ctx-1", "alice", "task-1", "question", "answer")
    config = {**CONFIG, "threadline": {"record": {"hermesHome": str(home.path)}}}
    for recorded, duplicates in ((2, 0), (0, 2)):
        plugin = ThreadlinePlugin()
        service = plugin.service(make_host([plugin], config))
        assert service.pulls.run(lambda: False)
        [state] = service.pulls.states()
        assert (state.recorded, state.duplicates, state.error) == (recorded, duplicates, "")
        service.index(lambda: False)
        detail = service.views().thread("hermes:ctx-1")
        assert detail is not None
        assert sorted((m.text, m.verified, m.conflict) for m in detail.messages) == [
            ("answer", False, False),
            ("question", False, False),
        ]
        service.close()
        (state_dir / "threadline" / "sources.json").unlink()
