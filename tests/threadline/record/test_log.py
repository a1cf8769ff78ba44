"""The append funnel: the format, identity, duplicates and conflicts, repairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instar_threadline.errors import KeyringError
from instar_threadline.record import recent
from instar_threadline.record.signing import derive_key, verifies
from tests.threadline.logs import DAWN, GAIL, TOKEN, StillClock, keyring, open_log, received, sent

KEY = derive_key(TOKEN)


def lines(state_dir: Path, name: str = "inbox.jsonl.active") -> list[dict[str, Any]]:
    text = (state_dir / "threadline" / name).read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def test_an_inbound_line_is_what_the_format_says(tmp_path: Path) -> None:
    """D7-16 to D7-21, IO-02: path, members in order, given id, MAC, mode 0600, order of appends."""
    log = open_log(tmp_path)
    log.record([received("one", id="m-1")])
    log.record([received("two"), received("three")])
    path = tmp_path / "threadline" / "inbox.jsonl.active"
    assert [line["text"] for line in lines(tmp_path)] == ["one", "two", "three"]
    first = lines(tmp_path)[0]
    assert list(first) == [
        "id", "timestamp", "from", "senderName", "trustLevel", "threadId", "text", "hmac",
    ]  # fmt: skip
    assert (first["id"], first["timestamp"]) == ("m-1", "2026-05-01T10:00:00.000Z")
    assert (first["from"], first["senderName"], first["trustLevel"]) == (DAWN, "Dawn", "trusted")
    assert all(verifies(line, KEY) for line in path.read_bytes().splitlines())
    assert {p.stat().st_mode & 0o777 for p in path.parent.iterdir()} == {0o600}


def test_an_outbound_line_is_what_the_format_says(tmp_path: Path) -> None:
    """IO-03: `self`, to, recipientName, outcome only where there is one, inReplyTo after it."""
    log = open_log(tmp_path)
    log.record([sent("a", id="o-1", in_reply_to="m-1"), sent("b", outcome=None)])
    first, second = lines(tmp_path, "outbox.jsonl.active")
    assert list(first)[7:] == ["to", "recipientName", "outcome", "inReplyTo", "hmac"]
    assert (first["from"], first["trustLevel"], first["to"]) == ("echo", "self", DAWN)
    assert "outcome" not in second


def test_a_message_is_the_same_by_direction_peer_thread_and_id(tmp_path: Path) -> None:
    """C-69, and no peer suppresses another's: only all four parts together are an identity."""
    log = open_log(tmp_path)
    one = received("hello", id="m-1")
    assert [r.status for r in log.record([one, one])] == ["recorded", "duplicate"]
    others = [
        received("other", id="m-1", counterparty=GAIL),
        received("other", id="m-1", thread_id="t-2"),
        sent("other", id="m-1"),
        received("other", id="m-2"),
    ]
    assert {r.status for r in log.record(others)} == {"recorded"}
    assert log.record([received("changed", id="m-1")])[0].status == "conflict"
    assert log.record([one])[0].status == "duplicate"


def test_a_conflict_from_a_source_is_kept_and_flagged(tmp_path: Path) -> None:
    """What cannot be told to anybody is not dropped; pulled again it is a duplicate."""
    log = open_log(tmp_path)
    log.record([received("first", id="m-1")])
    for status in ("recorded", "duplicate"):
        answer = log.record([received("second", id="m-1")], keep_conflicts=True)[0]
        assert answer.status == status
        assert answer.message is not None
        assert answer.message.conflict
    assert lines(tmp_path)[1]["conflict"] is True


def test_an_unverified_message_never_stands_in_the_way_of_a_verified_one(tmp_path: Path) -> None:
    """Whoever can only claim to be Dawn cannot make Dawn's own message a conflict or a
    duplicate."""
    log = open_log(tmp_path)
    claimed = log.record([received("evil", id="m-1", verified=False)])[0]
    assert claimed.message is not None
    assert not claimed.message.verified
    real = log.record([received("real", id="m-1")])[0]
    assert real.status == "recorded"
    assert real.message is not None
    assert real.message.verified


def test_duplicates_are_found_after_a_restart_and_across_processes(tmp_path: Path) -> None:
    """A second log object, as another process has it, knows what the first one wrote."""
    one, two = open_log(tmp_path), open_log(tmp_path)
    one.record([received(id="m-1")])
    assert two.record([received(id="m-1")])[0].status == "duplicate"
    two.record([received(id="m-2")])
    assert one.record([received(id="m-2")])[0].status == "duplicate"
    assert len(lines(tmp_path)) == 2


def test_a_torn_line_swallows_nothing(tmp_path: Path) -> None:
    """C-65: an unfinished last line is moved aside whole, and the next append stands alone."""
    open_log(tmp_path).record([received("one")])
    path = tmp_path / "threadline" / "inbox.jsonl.active"
    with path.open("ab") as file:
        file.write(b'{"id":"torn","te')
    open_log(tmp_path).record([received("two")])
    assert [line["text"] for line in lines(tmp_path)] == ["one", "two"]
    aside = list((tmp_path / "threadline" / "torn").iterdir())
    assert [file.read_bytes() for file in aside] == [b'{"id":"torn","te']
    assert aside[0].stat().st_mode & 0o777 == 0o600


def test_a_whole_line_without_its_newline_is_kept(tmp_path: Path) -> None:
    """A line that verifies lacks only its newline: it gets one."""
    open_log(tmp_path).record([received("one"), received("two")])
    path = tmp_path / "threadline" / "inbox.jsonl.active"
    path.write_bytes(path.read_bytes()[:-1])
    open_log(tmp_path).record([received("three")])
    assert [line["text"] for line in lines(tmp_path)] == ["one", "two", "three"]


def test_an_inbox_that_others_may_read_is_tightened(tmp_path: Path) -> None:
    """C-68: whoever created the file, after our append it is 0600."""
    folder = tmp_path / "threadline"
    folder.mkdir()
    (folder / "inbox.jsonl.active").write_bytes(b"")
    (folder / "inbox.jsonl.active").chmod(0o644)
    open_log(tmp_path).record([received()])
    assert (folder / "inbox.jsonl.active").stat().st_mode & 0o777 == 0o600


def test_an_empty_token_signs_nothing(tmp_path: Path) -> None:
    """C-66: the key of the empty token is known to everybody, so it is refused with a sentence."""
    with pytest.raises(KeyringError, match="INSTAR_AUTH_TOKEN"):
        open_log(tmp_path, token="")


def test_a_changed_token_orphans_nothing(tmp_path: Path) -> None:
    """C-66: lines of the old token verify from the keyring, which holds keys and no token."""
    open_log(tmp_path, token="old").record([received("one", id="m-1")])
    answer = open_log(tmp_path, token="new").record([received("one", id="m-1")])[0]
    assert answer.message is not None
    assert answer.message.verified
    stored = (tmp_path / "threadline" / "keyring.json").read_text()
    assert '"old"' not in stored
    assert '"new"' not in stored


@pytest.mark.parametrize("harm", ["mode", "truncated", "replaced", "symlink", "garbage"])
def test_a_keyring_that_cannot_be_trusted_is_refused(tmp_path: Path, harm: str) -> None:
    """S7: wrong mode, damage, a link: nothing is signed, and the sentence names the file."""
    keyring(tmp_path)
    path = tmp_path / "threadline" / "keyring.json"
    good = path.read_bytes()
    if harm == "mode":
        path.chmod(0o640)
    elif harm == "symlink":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    else:
        bad = {"truncated": good[:-30], "replaced": good.replace(b'"key": "', b'"key": "00', 1)}
        path.write_bytes(bad.get(harm, b"\x00\xff"))
    with pytest.raises(KeyringError, match=r"keyring\.json"):
        keyring(tmp_path)


def test_the_log_rotates_by_size_without_a_gap(tmp_path: Path) -> None:
    """Every line is in exactly one file, in order; a duplicate is found across files."""
    log = open_log(tmp_path, rotate_bytes=1000)
    for i in range(20):
        log.record([received(f"text {i}", id=f"m-{i}")])
    folder = tmp_path / "threadline"
    files = [*sorted(folder.glob("inbox.jsonl.0*")), folder / "inbox.jsonl.active"]
    texts = [json.loads(line)["text"] for file in files for line in file.read_bytes().splitlines()]
    assert texts == [f"text {i}" for i in range(20)]
    assert len(files) > 3
    again = open_log(tmp_path, rotate_bytes=1000).record([received("text 0", id="m-0")])
    assert again[0].status == "duplicate"


def test_what_cannot_be_recorded_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """No peer, an endless text, a time that is none: a reason, and nothing in the log."""
    bad = [
        received(counterparty=""),
        received("x" * (1 << 20) + "y"),
        received(timestamp="yesterday"),
        received(thread_id="t" * 5000),
    ]
    answers = open_log(tmp_path).record(bad)
    assert [a.status for a in answers] == ["refused"] * 4
    assert all(a.reason for a in answers)
    assert lines(tmp_path) == []


@pytest.mark.parametrize("thread_id", ["../../etc/passwd", "a\x00b", "t" * 4096, "", "T-1", "t-1"])
def test_a_thread_id_is_never_part_of_a_path(tmp_path: Path, thread_id: str) -> None:
    """S10: whatever a peer calls its thread, the files of the log are the same few."""
    open_log(tmp_path).record([received(thread_id=thread_id)])
    names = {path.name for path in (tmp_path / "threadline").iterdir()}
    assert names == {
        "inbox.jsonl.active", "inbox.chain.active", "inbox.head", "inbox.lock", "keyring.json",
        "keyring.lock",
    }  # fmt: skip
    assert lines(tmp_path)[0]["threadId"] == thread_id


def test_a_lone_surrogate_is_replaced_before_signing(tmp_path: Path) -> None:
    """C-56, E-01: what we write every reader can decode."""
    open_log(tmp_path).record([received("cut \ud83d")])
    assert lines(tmp_path)[0]["text"] == "cut \ufffd"


def test_a_clock_that_jumps_changes_no_order(tmp_path: Path) -> None:
    """S6: lines stand in the order of their appends, whatever the clock said."""
    clock = StillClock()
    log = open_log(tmp_path, clock)
    for ms in (2000, 1000, 1000, 3000):
        clock.ms = ms
        log.record([received(str(ms))])
    assert [line["text"] for line in lines(tmp_path)] == ["2000", "1000", "1000", "3000"]


def test_what_is_known_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Appending to a log without an index costs the new lines, however many stand in it."""
    monkeypatch.setattr(recent, "MAX_KEPT", 10)
    log = open_log(tmp_path)
    reads: list[int] = []
    whole_lines = recent._whole_lines

    def counted(descriptor: int, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
        for line in whole_lines(descriptor, start, stop):
            reads.append(line[0])
            yield line

    monkeypatch.setattr(recent, "_whole_lines", counted)
    for i in range(100):
        log.record([received(str(i), id=f"m-{i}")])
    assert len(reads) < 100
    assert log.record([received("0", id="m-0")])[0].status == "duplicate"


def test_half_a_character_does_not_make_a_message_another(tmp_path: Path) -> None:
    """What is asked for again is a duplicate, also where lone surrogates had to be replaced."""
    log = open_log(tmp_path)
    one = received("a\ud800", id="m-\udfff", thread_id="t\ud800", in_reply_to="r\ud800")
    answers = [log.record([one], keep_conflicts=True)[0] for _ in range(2)]
    assert [answer.status for answer in answers] == ["recorded", "duplicate"]


@pytest.mark.parametrize(
    "members",
    [{"sender": "x" * 5000}, {"timestamp": "2026-05-01T10:00:00." + "0" * 5000 + "Z"}],
    ids=["sender", "timestamp"],
)
def test_every_member_is_bounded(tmp_path: Path, members: dict[str, str]) -> None:
    """A line that no reader would take is never written and called recorded."""
    answer = open_log(tmp_path).record([sent("text", **members)])[0]
    assert (answer.status, "at most 4096" in answer.reason) == ("refused", True)
