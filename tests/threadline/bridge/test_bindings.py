"""The bindings file of the original: read once, written whole, never overwritten when it is
broken.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from instar_threadline.bridge import bindings
from instar_threadline.bridge.bindings import BindingsFileError
from instar_threadline.bridge.topics import Binding

NOW = 1_777_629_600_000
ENTRY = {
    "threadId": "t42",
    "topicId": 101,
    "remoteAgent": "fp-x",
    "topicName": "echo↔Dawn — gates",
    "createdAt": "2026-05-01T10:00:00.000Z",
    "lastMessageAt": "2026-05-01T10:00:00.000Z",
}


def binding(**changes: Any) -> Binding:
    fields: dict[str, Any] = {
        "target": "telegram",
        "thread_id": "t42",
        "state": "open",
        "topic_id": 101,
        "name": "echo↔Dawn — gates",
        "agent": "fp-x",
        "created_at_ms": NOW,
        "last_message_at_ms": NOW,
        **changes,
    }
    return Binding(**fields)


def test_d2_11_and_12_the_format_is_the_originals(tmp_path: Path) -> None:
    """D2-11, D2-12: version 1, the six members, pretty JSON, readable by the owner only."""
    path = tmp_path / "threadline" / "telegram-bridge-bindings.json"
    bindings.write(path, [binding()])
    assert json.loads(path.read_text()) == {"version": 1, "bindings": [ENTRY]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Export and import are each other's inverse for open threads; others are not exported."""
    path = tmp_path / "b.json"
    bindings.write(path, [binding(), binding(thread_id="t2", state="hub", topic_id=None)])
    assert bindings.read(path, "telegram", 0) == [binding()]


def test_entries_without_thread_or_topic_are_left_out(tmp_path: Path) -> None:
    """BR-01: an entry needs a thread id and a numeric topic id; bad times do not matter."""
    path = tmp_path / "b.json"
    rows = [{**ENTRY, "threadId": ""}, {**ENTRY, "topicId": "7"}, None, {**ENTRY, "createdAt": "x"}]
    path.write_text(json.dumps({"version": 1, "bindings": rows}))
    (read,) = bindings.read(path, "telegram", 5)
    assert (read.topic_id, read.created_at_ms) == (101, 5)


@pytest.mark.parametrize("content", ["", "{", '{"version":1,"bindings":[{"thr', "[]", "null", "7"])
def test_c_50_a_broken_file_is_never_overwritten(tmp_path: Path, content: str) -> None:
    """C-50: a truncated file is reported and left as it is, by reading and by writing."""
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(BindingsFileError, match="mend it or move it away"):
        bindings.read(path, "telegram", 0)
    with pytest.raises(BindingsFileError):
        bindings.write(path, [binding()])
    assert path.read_text() == content


@pytest.mark.parametrize(
    "odd",
    [
        '"threadId": "t\\ud800", "topicId": 7',
        '"threadId": "t1", "topicId": 18446744073709551616',
        '"threadId": "t1", "topicId": -7',
        '"threadId": "t1", "topicId": 7, "topicName": "\\udfff"',
    ],
)
def test_an_entry_that_no_database_takes_is_left_out(tmp_path: Path, odd: str) -> None:
    """Half a character, and a number that is no topic's: the bridge opens in spite of them."""
    path = tmp_path / "bindings.json"
    path.write_text(f'{{"bindings": [{{{odd}}}, {{"threadId": "t2", "topicId": 8}}]}}')
    assert [b.thread_id for b in bindings.read(path, "telegram", 0)] == ["t2"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_date_outside_of_the_calendar_is_none(tmp_path: Path, at: str) -> None:
    """What is read can be written again."""
    path = tmp_path / "bindings.json"
    entry = {"threadId": "t1", "topicId": 7, "createdAt": at}
    path.write_text(json.dumps({"bindings": [entry]}))
    read = bindings.read(path, "telegram", 5)
    assert [b.created_at_ms for b in read] == [5]
    bindings.write(path, read)
