"""The law through the store: any permutation, partition, batch and repetition, one answer."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus import random_rows
from instar_host.store.tail import Mark
from instar_tokenledger.batch import Batch
from instar_tokenledger.sources.claude_code import NAME
from instar_tokenledger.usage import CostState, Counters, Decoded
from instar_tokenledger.windows import Window
from tests.tokenledger.arrangements import Piece, answers_in, arranged, empty_ledger, ledger_of
from tests.tokenledger.homes import said

seeds = st.integers(0, 2**32)


def piece(*lines: bytes, path: bytes = b"/home/a.jsonl", offset: int = 0) -> Piece:
    return Piece(path, offset, b"".join(line + b"\n" for line in lines))


def batch_of(*pieces: Piece) -> Batch:
    batch = Batch()
    for each in pieces:
        batch.add(NAME, each.path, each.decoded())
    return batch


def mark(offset: int) -> Mark:
    return Mark(offset=offset, dev=1, inode=2, size=offset, ctime_ns=3, skipping=False, guard=b"g")


def without_estimate(answers: dict[str, Any]) -> dict[str, Any]:
    """The answers without the one number that a partition into files may change."""
    partial = {**answers["summary"]["partial"], "estimatedOutput": 0}
    return {**answers, "summary": {**answers["summary"], "partial": partial}}


@settings(max_examples=120, deadline=None)
@given(seeds, st.integers(1, 40), st.integers(1, 5), st.integers(1, 4))
def test_any_way_of_meeting_the_rows_gives_the_truth(
    seed: int, count: int, ids: int, files: int
) -> None:
    """L11: rows in any order, files, batches and commits, some met twice: the oracle's answers."""
    rng = random.Random(seed)
    arrangement = arranged(random_rows(rng, count, ids=ids), rng, files=files)
    ledger = ledger_of(arrangement.pieces, rng)
    assert answers_in(ledger) == arrangement.truth()
    ledger.close()


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(2, 30))
def test_two_ways_of_meeting_the_rows_agree(seed: int, count: int) -> None:
    """Where no two rows share an instant, even another partition into files changes no answer."""
    rng = random.Random(seed)
    rows = [replace(row, ts=row.ts + 10_000 * i) for i, row in enumerate(random_rows(rng, count))]
    ledgers = [
        ledger_of(arranged(rows, rng, files=files).pieces, rng) for files in (1, rng.randint(2, 5))
    ]
    one, other = (without_estimate(answers_in(ledger)) for ledger in ledgers)
    assert one == other
    for ledger in ledgers:
        ledger.close()


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 25), st.integers(0, 2**18), st.integers(0, 2**28))
def test_any_window_over_any_rows_is_exact(seed: int, count: int, begin: int, length: int) -> None:
    """A window that cuts through requests of random rows gives the oracle's answers for it."""
    rng = random.Random(seed)
    arrangement = arranged(random_rows(rng, count), rng)
    since = min(row.ts for row in arrangement.rows) - 1000 + begin % 3000
    window = Window(since, since + length)
    ledger = ledger_of(arrangement.pieces, rng)
    assert answers_in(ledger, window) == arrangement.truth(window)
    ledger.close()


def test_a_late_row_merges_requests_that_were_stored_apart() -> None:
    """Two requests of one message id become one when a sidechain row of it turns up."""
    ledger = empty_ledger()
    ledger.commit(batch_of(piece(said("m1", "r1", output=900))))
    ledger.commit(batch_of(piece(said("m1", "r2", output=950), path=b"/home/b.jsonl")))
    assert answers_in(ledger)["summary"]["eventCount"] == 2
    btw = piece(said("m1", "r3", output=1, sidechain=True), path=b"/home/c.jsonl")
    ledger.commit(batch_of(btw))
    summary = answers_in(ledger)["summary"]
    assert (summary["eventCount"], summary["totalOutput"]) == (1, 950)


def test_a_row_known_by_request_id_alone_merges_into_the_request_that_bears_it() -> None:
    """Whichever of the two comes first, a request id without a message id finds its request."""
    full, alone = piece(said("m1", "r1")), piece(said(None, "r1", output=70), path=b"/home/b.jsonl")
    for first, second in ((full, alone), (alone, full)):
        ledger = empty_ledger()
        ledger.commit(batch_of(first))
        ledger.commit(batch_of(second))
        summary = answers_in(ledger)["summary"]
        assert (summary["eventCount"], summary["totalOutput"]) == (1, 900)


def test_ids_that_share_their_last_characters_are_not_confused() -> None:
    """The store finds ids by their ends, and still compares them whole."""
    ledger = empty_ledger()
    lines = [said(f"{name}_same_tail", f"{name}_same_tail") for name in ("a", "b", "c")]
    ledger.commit(batch_of(piece(*lines[:2])))
    ledger.commit(batch_of(piece(lines[2], path=b"/home/b.jsonl")))
    assert answers_in(ledger)["summary"]["eventCount"] == 3


def test_ids_of_two_sources_never_meet() -> None:
    """The source is part of every key."""
    ledger = empty_ledger()
    batch = batch_of(piece(said("m1", "r1")))
    batch.add("other-agent", b"/home/other", piece(said("m1", "r1")).decoded())
    ledger.commit(batch)
    assert answers_in(ledger)["summary"]["eventCount"] == 2


@pytest.mark.parametrize(
    "refused", ["INSERT INTO requests", "INSERT INTO marks", "INSERT INTO quarters"]
)
def test_a_commit_that_fails_leaves_nothing(refused: str) -> None:
    """C-20, C-25: rows, marks and totals go in together or not at all, and a retry is whole."""
    ledger = empty_ledger()
    table = refused.rpartition(" ")[2]
    batch = batch_of(piece(said("m1", "r1")))
    batch.reach(b"/home/a.jsonl", NAME, mark(100), b"", {"malformed": 1}, restarted=False)
    ledger.connection.execute(
        f"CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.{table}"
        " BEGIN SELECT raise(ABORT, 'refused'); END"
    )
    with pytest.raises(apsw.ConstraintError):
        ledger.commit(batch)
    assert answers_in(ledger)["summary"]["eventCount"] == 0
    assert ledger.known_mark(b"/home/a.jsonl") is None
    ledger.connection.execute("DROP TRIGGER refuse")
    again = batch_of(piece(said("m1", "r1")))
    again.reach(b"/home/a.jsonl", NAME, mark(100), b"", {"malformed": 1}, restarted=False)
    ledger.commit(again)
    assert answers_in(ledger)["summary"]["totalTokens"] == 910
    known = ledger.known_mark(b"/home/a.jsonl")
    assert known is not None
    assert known.mark == mark(100)


def test_what_a_commit_changed_is_told() -> None:
    """Observers learn how many requests are new, how many changed, and in which sessions."""
    ledger = empty_ledger()
    first = ledger.commit(batch_of(piece(said("m1", "r1", output=1), said("m2", "r2"))))
    assert (first.added, first.changed, first.sessions) == (2, 0, ("session-1",))
    again = batch_of(piece(said("m1", "r1", output=5), said("m2", "r2"), offset=5_000))
    second = ledger.commit(again)
    assert (second.added, second.changed) == (0, 1)
    assert ledger.commit(again).changed == 0


def test_the_agents_own_totals_take_their_greatest() -> None:
    """A `cost-state` read again, or read late, never lowers what was seen."""
    ledger = empty_ledger()
    for dollars, tokens in ((5, 10), (9, 7), (1, 12)):
        state = CostState(
            session="s", model="m", counters=Counters(input=tokens), cost_micro_usd=dollars
        )
        batch = Batch()
        batch.add(NAME, b"/a", Decoded(cost_states=[state]))
        ledger.commit(batch)
    rows = ledger.connection.execute("SELECT cost_micro_usd, input FROM cost_states").fetchall()
    assert rows == [(9, 12)]


def test_thousands_of_ids_fit_one_commit() -> None:
    """D18: a batch larger than SQLite's 32,766 parameters is one commit."""
    lines = [said(f"m{i}", f"r{i}", input=1, output=1) for i in range(33_000)]
    ledger = empty_ledger()
    whole = piece(*lines)
    assert ledger.commit(batch_of(whole)).added == 33_000
    assert answers_in(ledger)["summary"]["eventCount"] == 33_000
