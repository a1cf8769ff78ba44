"""What the text index offers: everything that may match, newest first, whatever came when."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instar_threadline.record import schema
from instar_threadline.record.candidates import Candidates
from tests.threadline.logs import Seen, open_log, received


@settings(max_examples=25, deadline=None)
@given(
    seconds=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=8), max_size=5),
    limit=st.integers(1, 5),
    bounds=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
def test_pages_give_every_message_once_newest_first(
    tmp_path_factory: pytest.TempPathFactory,
    seconds: list[list[int]],
    limit: int,
    bounds: tuple[int, int],
) -> None:
    """In turn or late, in pages of any size: all ids between the bounds, in descending order."""
    folder = tmp_path_factory.mktemp("candidates")
    log, seen = open_log(folder), Seen(folder)
    for batch in seconds:
        log.record([received("word", timestamp=f"2026-05-01T10:00:{at:02d}Z") for at in batch])
        seen.refresh()
    begin_ms = 1_777_629_600_000
    low, high = (schema.IDS_A_MS * (begin_ms + at * 1000) for at in bounds)
    with seen.readers.connection() as connection:
        ids = [row[0] for row in schema.rows(connection, "SELECT id FROM messages ORDER BY id")]
        candidates, found = Candidates(connection, "word", low, high), list[int]()
        while page := candidates.next(limit):
            found += page
    assert found == [id_ for id_ in reversed(ids) if low <= id_ <= high]
    seen.close()


def test_messages_in_turn_are_numbered_without_gaps(tmp_path: Path) -> None:
    """Only a message that is older than one already there takes a row of its own kind."""
    log, seen = open_log(tmp_path), Seen(tmp_path)
    for at in (10, 20, 15, 30):
        log.record([received("word", timestamp=f"2026-05-01T10:00:{at}Z")])
        seen.refresh()
    with seen.readers.connection() as connection:
        places = schema.rows(connection, "SELECT place FROM places ORDER BY place")
        late = schema.rows(connection, "SELECT count(*) FROM late")
    assert (places, late) == ([(1,), (2,), (3,)], [(1,)])
    seen.close()
