"""Files of the host that nobody signed: whatever stands in them can be shown."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from instar_threadline.sources.statefiles import StateFiles


@pytest.mark.parametrize("half", [b"\\ud800", b"\\uDFFF"])
def test_half_a_character_in_a_name_is_replaced(tmp_path: Path, half: bytes) -> None:
    """A peer may be called by half a character, which no answer can carry: every list of threads
    was an error then.
    """
    (tmp_path / "known-agents.json").write_bytes(
        b'{"agents": [{"fingerprint": "f1", "name": "Da' + half + b'wn \\ud83d\\ude00"}]}'
    )
    (tmp_path / "telegram-bridge-bindings.json").write_bytes(
        b'{"bindings": [{"threadId": "t1", "topicId": 7, "topicName": "' + half + b'"}]}'
    )
    known = StateFiles(str(tmp_path)).known()
    assert msgspec.json.encode([known.name_of("f1"), known.bindings["t1"]])
    assert known.name_of("f1") == "Da?wn 😀"


def test_what_is_not_utf_8_is_said_and_left_out(tmp_path: Path) -> None:
    """Half a character in bytes is no text at all."""
    (tmp_path / "known-agents.json").write_bytes(b'[{"fingerprint": "f1", "name": "\xed\xa0\x80"}]')
    known = StateFiles(str(tmp_path)).known()
    assert known.names == {}
    assert known.problems == ("known-agents.json is not JSON.",)
