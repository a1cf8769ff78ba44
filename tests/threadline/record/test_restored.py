"""A log that was put back to an older copy, while the index remembers the newer one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from instar_threadline.record import schema
from instar_threadline.record.index import FILE_NAME
from instar_threadline.record.problems import Problems
from instar_threadline.record.verify import verify
from tests.threadline.logs import Seen, keyring, open_log, received, sent


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


@pytest.mark.parametrize("regrown", [0, 1, 4, 5, 6, 20])
def test_an_index_knows_that_the_log_was_put_back_however_far_it_grew_since(
    tmp_path: Path, regrown: int
) -> None:
    """S9: once, for good, across a rebuild of the index; `verify` learns it from the index."""
    seen = _put_back(tmp_path, kept=3, lost=5)
    log = open_log(tmp_path)
    for i in range(regrown):
        log.record([received(f"new {i}", id=f"n{i}")])
        if i % 2:
            seen.refresh()
    seen.refresh()
    witnessed = verify(tmp_path, keyring(tmp_path), seen.readers.remembered())
    log.record([received("last")])
    seen.refresh()
    seen.index.reset()
    again = Seen(tmp_path)

    assert [found.kind for found in witnessed.streams[0].findings] == ["rolled-back"]
    assert [p.kind for p in Problems(seen.readers, tmp_path).page().problems] == ["rolled-back"]
    assert again.views.integrity().completeness == "short"


def test_what_was_true_of_the_end_is_not_kept_when_it_is_said_for_good(tmp_path: Path) -> None:
    """Lines cut off, or a head taken away, are counted once, however often the index looked."""
    log = open_log(tmp_path)
    log.record([received("one")])
    seen = Seen(tmp_path)
    log.record([received(f"m{i}") for i in range(5)])
    log.close()
    path = tmp_path / "threadline/inbox.jsonl.active"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    seen.refresh()
    between = seen.views.integrity()
    log.record([received("after"), sent("a"), sent("b")])
    (tmp_path / "threadline/outbox.head").unlink()
    seen.refresh()
    log.close()
    log.record([sent("c")])
    seen.refresh()

    assert between.streams[0].missing == 3
    assert seen.views.integrity() == verify(tmp_path, keyring(tmp_path))
    assert Problems(seen.readers, tmp_path).page().total == 2
