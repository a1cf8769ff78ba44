"""The index: the same whatever the steps were, disposable, and a witness of what it has seen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instar_threadline.record import index as index_module
from instar_threadline.record import schema
from instar_threadline.record.index import FILE_NAME, WORDS_FILE_NAME, Index
from instar_threadline.record.rows import Slots, latency
from instar_threadline.record.threadtable import ThreadTable
from instar_threadline.record.verify import verify
from tests.threadline.logs import DAWN, GAIL, Seen, keyring, open_log, received, sent

TABLES = ("messages", "threads", "peers", "unreadable", "findings")


def content(state_dir: Path) -> dict[str, list[Any]]:
    """Everything that the index says, without what depends on its steps."""
    seen = Seen(state_dir)
    try:
        threads = seen.views.threads(limit=1000).threads
        pages = [seen.views.thread(t.thread_id, limit=1000) for t in threads]
        messages = [
            [(m.id, m.text, m.direction, m.verified, m.status, m.conflict) for m in page.messages]
            for page in pages
            if page is not None
        ]
        return {"threads": list(threads), "messages": messages, "hits": seen.hits("wor")}
    finally:
        seen.close()


MESSAGE = st.tuples(
    st.sampled_from(["in", "out"]),
    st.integers(0, 2),  # thread
    st.integers(0, 40),  # second
    st.integers(0, 6),  # id
    st.sampled_from([DAWN, GAIL]),
    st.sampled_from(["word", "other words"]),
)


FIRST_SEEN_LAST = [
    ("in", 0, 1, 0, DAWN, "word"), ("in", 1, 0, 1, DAWN, "word"), ("in", 1, 1, 2, DAWN, "word")
]  # fmt: skip
"""Two threads that end at one instant: which is listed first must not depend on the steps."""


@settings(max_examples=25, deadline=None)
@example(messages=FIRST_SEEN_LAST, cuts={0}, chunk=20_000)
@given(
    messages=st.lists(MESSAGE, max_size=25),
    cuts=st.sets(st.integers(0, 25), max_size=6),
    chunk=st.sampled_from([1, 3, 20_000]),
)
def test_the_steps_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Any], cuts: set[int], chunk: int
) -> None:
    """S9: indexed while it grows, in any steps and chunks of a step, across restarts, is indexed
    at once."""
    live, once = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("once")
    log = open_log(live)
    for i, (direction, thread, second, number, peer, text) in enumerate(messages):
        make = received if direction == "in" else sent
        at = f"2026-05-01T10:00:{second:02d}Z"
        log.record(
            [make(text, thread_id=f"t-{thread}", id=str(number), counterparty=peer, timestamp=at)],
            keep_conflicts=True,
        )
        if i in cuts:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(index_module, "CHUNK_LINES", chunk)
                patch.setattr(index_module, "STEP_BYTES", 1)
                index = Index(live, keyring(live), lambda: 0)
                index.catch_up()
                index.close()
    shutil.copytree(live / "threadline", once / "threadline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "CHUNK_LINES", chunk)
        patch.setattr(index_module, "STEP_BYTES", 1)
        in_chunks = content(live)
    assert in_chunks == content(once)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
    ],
    ids=["deleted", "empty", "foreign bytes", "truncated"],
)
@pytest.mark.parametrize("name", [FILE_NAME, WORDS_FILE_NAME], ids=["index", "words"])
def test_a_damaged_index_is_filled_anew(
    tmp_path: Path, harm: Callable[[Path], Any], name: str
) -> None:
    """S9: whatever becomes of either database, the next start has everything again."""
    open_log(tmp_path).record([received("word"), sent("words")])
    before = content(tmp_path)
    for extra in ("-wal", "-shm"):
        (tmp_path / (name + extra)).unlink(missing_ok=True)
    harm(tmp_path / name)
    assert content(tmp_path) == before


def test_tables_of_another_shape_are_filled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stale: another generation of the tables means starting again."""
    open_log(tmp_path).record([received("word")])
    before = content(tmp_path)
    monkeypatch.setattr(schema, "GENERATION", schema.GENERATION + 1)
    assert content(tmp_path) == before


def test_rotation_leaves_no_gap(tmp_path: Path) -> None:
    """A file that is rotated while it is read is read on under its number."""
    log = open_log(tmp_path, rotate_bytes=1500)
    seen = Seen(tmp_path)
    for i in range(40):
        log.record([received(f"word {i}")])
        if i % 3 == 0:
            seen.refresh()
    seen.refresh()
    assert seen.views.stats().messages == 40
    assert seen.views.integrity().ok
    assert len(seen.hits("word", limit=100)) == 40
    seen.close()


def test_a_cut_log_is_found_and_shown(tmp_path: Path) -> None:
    """S1: lines cut off behind the index, with their chain and head: the index remembers."""
    log = open_log(tmp_path)
    log.record([received(str(i)) for i in range(3)])
    folder = tmp_path / "threadline"
    names = ("inbox.jsonl.active", "inbox.chain.active", "inbox.head")
    old = {name: (folder / name).read_bytes() for name in names}
    log.record([received(str(i)) for i in range(3, 6)])
    log.close()
    seen = Seen(tmp_path)
    assert seen.views.integrity().ok
    for name, data in old.items():
        (folder / name).write_bytes(data)
    seen.refresh()
    verdict = seen.views.integrity()
    assert (verdict.ok, verdict.completeness) == (False, "short")
    first = verdict.streams[0].first_bad
    assert first is not None
    assert (first.kind, first.lines) == ("rolled-back", 3)
    assert seen.views.stats().messages == 3
    assert verify(tmp_path, keyring(tmp_path)).ok
    assert not verify(tmp_path, keyring(tmp_path), seen.readers.remembered()).ok
    seen.close()


def test_a_failed_step_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle of a step leaves the index as it was, and the next step complete."""
    open_log(tmp_path).record([received(str(i)) for i in range(10)])
    index = Index(tmp_path, keyring(tmp_path), lambda: 0)

    def broken(*_: Any) -> None:
        raise apsw.FullError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(ThreadTable, "save", broken)
        with pytest.raises(apsw.FullError):
            index.catch_up()
    index.catch_up()
    index.close()
    seen = Seen(tmp_path)
    assert seen.views.stats().messages == 10
    seen.close()


def test_the_index_spares_the_log_reading_itself(tmp_path: Path) -> None:
    """Duplicates are found through the index, and past its end through the log."""
    open_log(tmp_path).record([received("a", id="m-1"), received("b", id="m-2")])
    seen = Seen(tmp_path)
    log = open_log(tmp_path, known=seen.readers)
    log.record([received("c", id="m-3")])
    again = [received("a", id="m-1"), received("c", id="m-3"), received("changed", id="m-2")]
    assert [r.status for r in log.record(again)] == ["duplicate", "duplicate", "conflict"]
    seen.close()


def test_ids_follow_time_even_when_a_millisecond_is_full() -> None:
    """More messages in one instant than it has ids: the rest go near it, each id once."""
    taken: set[int] = set()

    def last_in(low: int, high: int) -> int | None:
        return max((i for i in taken if low <= i <= high), default=None)

    slots = Slots(last_in, newest=0)
    for _ in range(1000):
        new = slots.take(5000, "in")
        assert new not in taken
        taken.add(new)
    assert min(taken) == 5000 * schema.IDS_A_MS
    assert max(taken) < 7100 * schema.IDS_A_MS


@given(st.lists(st.tuples(st.sampled_from(["in", "out"]), st.integers(0, 20))))
def test_latency_is_what_its_definition_says(rows: list[tuple[str, int]]) -> None:
    """C-75: each inbound waits for the first outbound strictly later; those without still wait."""
    rows.sort(key=lambda row: row[1])
    waits, waiting = [], 0
    for direction, at in rows:
        if direction == "in":
            later = [t for d, t in rows if d == "out" and t > at]
            if later:
                waits.append(min(later) - at)
            else:
                waiting += 1
    found = latency(rows)
    assert (found[0], found[2], found[3]) == (waiting, len(waits), sum(waits))


@pytest.mark.parametrize("token", ["test-auth-token", "newer"])
def test_a_keyring_that_came_back_is_believed_by_the_index(tmp_path: Path, token: str) -> None:
    """What was read while a key was away says `unknown` no longer than it is; others stay."""
    log = open_log(tmp_path)
    log.record([received("one")])
    log.close()
    open_log(tmp_path, token="newer").record([received("two")])
    path = tmp_path / "threadline/keyring.json"
    whole = path.read_bytes()
    path.unlink()
    without = Index(tmp_path, keyring(tmp_path, token), lambda: 0)
    without.catch_up()
    without.close()
    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    path.chmod(0o600)
    seen = Seen(tmp_path)
    assert seen.views.integrity() == verify(tmp_path, keyring(tmp_path))
    assert seen.views.stats().unverified == 0
    seen.close()
