"""The connections that read the index: what becomes of them when something is wrong."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from instar_threadline.errors import IndexUnavailable
from instar_threadline.record.index import WORDS_FILE_NAME
from instar_threadline.record.readers import Readers
from tests.threadline.logs import Seen, open_log, received


def test_a_text_index_that_cannot_be_attached_leaves_no_connection_open(tmp_path: Path) -> None:
    """The reader of the messages is closed with the attempt, not when its error is forgotten."""
    log = open_log(tmp_path)
    log.record([received("a text", id="m-1")])
    log.close()
    Seen(tmp_path).close()
    for words in tmp_path.rglob(f"{Path(WORDS_FILE_NAME).name}*"):
        words.write_bytes(b"dear diary\n" * 500)
    readers = Readers(tmp_path)
    before = set(apsw.connections())

    with pytest.raises(IndexUnavailable) as refused, readers.connection():
        pass

    assert isinstance(refused.value.__cause__, apsw.Error)
    assert set(apsw.connections()) == before


def test_an_index_that_was_replaced_is_read_at_the_next_question(tmp_path: Path) -> None:
    """S9: a reader that stays open never answers from the file that was thrown away."""
    log = open_log(tmp_path)
    log.record([received("one", id="m-1")])
    Seen(tmp_path).close()
    readers = Readers(tmp_path)
    before = readers.covered("in")
    for path in (tmp_path / "server-data").iterdir():
        path.unlink()
    gone = readers.covered("in")
    log.record([received("two", id="m-2")])
    seen = Seen(tmp_path)

    assert gone == (0, 0) < before < readers.covered("in") == seen.readers.covered("in")
