"""A log that was put back to an older copy, while the index remembers the newer one."""

from __future__ import annotations

import shutil
from pathlib import Path

from instar_threadline.record import schema
from instar_threadline.record.index import FILE_NAME
from tests.threadline.logs import Seen, open_log, received


def _put_back(state_dir: Path, *, kept: int, lost: int) -> Seen:
    """A log of `kept` messages again, that had `lost` more when it was indexed."""
    copy = state_dir / "copy"
    open_log(state_dir).record([received(f"kept {i}", id=f"k{i}") for i in range(kept)])
    shutil.copytree(state_dir / "threadline", copy)
    open_log(state_dir).record([received(f"lost {i}", id=f"l{i}") for i in range(lost)])
    seen = Seen(state_dir)
    shutil.rmtree(state_dir / "threadline")
    copy.rename(state_dir / "threadline")
    return seen


def test_what_only_the_index_remembers_is_recorded_again(tmp_path: Path) -> None:
    """A message that is not in the log any more is no duplicate, whatever the index knows."""
    seen = _put_back(tmp_path, kept=3, lost=5)
    log = open_log(tmp_path, known=seen.readers)

    first = log.record([received("lost 4", id="l4")])[0]
    log.record([received(f"new {i}", id=f"n{i}") for i in range(10)])  # past what is indexed
    second = log.record([received("lost 2", id="l2")])[0]
    again = log.record([received("kept 1", id="k1"), received("new 7", id="n7")])

    assert [first.status, second.status] == ["recorded", "recorded"]
    assert [answer.status for answer in again] == ["duplicate", "duplicate"]


def test_a_damaged_index_stops_no_recording(tmp_path: Path) -> None:
    """What the index cannot say the log itself says: the index may be thrown away at any time."""
    messages = [received(f"m{i}", id=f"i{i}") for i in range(300)]
    open_log(tmp_path).record(messages)
    seen = Seen(tmp_path)
    with seen.readers.connection() as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'by_identity'"
        page = schema.rows(connection, query)[0][0]
    seen.close()
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)

    log = open_log(tmp_path, known=seen.readers)
    answers = log.record([messages[7], received("new", id="new")])

    assert [answer.status for answer in answers] == ["duplicate", "recorded"]


def test_what_stands_in_a_file_that_was_put_away_is_not_recorded_again(tmp_path: Path) -> None:
    """Whoever moves a rotated file elsewhere loses no identity that the index knows."""
    log = open_log(tmp_path, rotate_bytes=1)
    log.record([received("one", id="1")])
    log.record([received("two", id="2")])
    seen = Seen(tmp_path)
    (tmp_path / "threadline/inbox.jsonl.000001").unlink()

    answer = open_log(tmp_path, known=seen.readers).record([received("one", id="1")])[0]

    assert answer.status == "duplicate"
