"""Counters, ids and names that no agent ever wrote: they must not stop anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from instar_host.testing import FakeClock
from instar_tokenledger import retention
from instar_tokenledger.batch import Batch
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.opening import open_ledger
from instar_tokenledger.queries import Queries
from instar_tokenledger.schema import DAY_MS
from instar_tokenledger.session_queries import SessionQueries
from instar_tokenledger.usage import MAX_COUNT, Counters, Decoded, UsageRow
from instar_tokenledger.windows import END_OF_TIME, Window

SOURCE = "claude-code"
EVER = Window(0, END_OF_TIME)


def forged(number: int) -> UsageRow:
    most = Counters(MAX_COUNT, MAX_COUNT, MAX_COUNT, MAX_COUNT)
    return UsageRow(
        session="s", at_ms=1_000_000, offset=number, counters=most, message_id=f"m{number}",
        request_id=f"q{number}", has_stop=True,
    )  # fmt: skip


def test_sums_beyond_every_integer_neither_stop_a_commit_nor_an_answer(
    state_dir: Path, clock: FakeClock
) -> None:
    """A transcript of forged counters is bounded, and what others say is still taken in."""
    connection, _ = open_ledger(state_dir, clock)
    ledger = Ledger(connection)
    for start in (0, 3_000):
        batch = Batch()
        rows = [forged(n) for n in range(start, start + 3_000)]
        batch.add(SOURCE, b"/t/a.jsonl", Decoded(rows=rows))
        ledger.commit(batch)

    summary = Queries(connection).summary(EVER)
    sessions = SessionQueries(connection).page(Window(0, 1_000_001), 10).sessions

    assert summary["eventCount"] == 6_000
    assert summary["totalTokens"] >= 2**60
    assert sessions[0]["eventCount"] == 6_000
    assert msgspec.json.decode(msgspec.json.encode([summary, sessions]))
    ledger.close()


def commit(ledger: Ledger, *rows: UsageRow) -> None:
    batch = Batch()
    batch.add(SOURCE, b"/t/a.jsonl", Decoded(rows=rows))
    ledger.commit(batch)


def test_sums_beyond_every_integer_can_be_let_go_of(ledger: Ledger) -> None:
    """Retention bounds what it keeps of a quarter as the totals are bounded, at any step."""
    later = UsageRow(
        session="s", at_ms=90 * DAY_MS, offset=0, counters=Counters(1), message_id="later"
    )
    for start in (0, 3_000):
        commit(ledger, *(forged(n) for n in range(start, start + 3_000)))
    commit(ledger, later)
    assert not retention.prune(ledger.connection, 30, 90 * DAY_MS)
    rows: list[Any] = ledger.connection.execute("SELECT requests, tokens FROM pruned").fetchall()
    assert rows == [(6_000, 2**60)]


def test_an_id_made_of_nothing_is_an_id(ledger: Ledger) -> None:
    """I1: a request whose message id is a NUL counts once, however often it is read."""
    nul = UsageRow(session="s", at_ms=1, offset=0, counters=Counters(1), message_id="\0")
    for _ in range(3):
        commit(ledger, nul)
    assert Queries(ledger.connection).summary(EVER)["eventCount"] == 1


def test_more_names_than_a_statement_takes_parameters(ledger: Ledger) -> None:
    """D18: 33,000 projects and models are put in order and paged as three are."""
    rows = [
        UsageRow(
            session="s", at_ms=1_000_000 + n, offset=n, counters=Counters(1), message_id=f"m{n}",
            project=f"/p/{n:05}", model=f"model-{n:05}",
        )
        for n in range(33_000)
    ]  # fmt: skip
    commit(ledger, *rows)
    queries = Queries(ledger.connection)
    assert queries.by_project(EVER, 1, 32_999)[0]["projectPath"] == "/p/32999"
    assert queries.by_model(EVER, 1, 32_999)[0]["model"] == "model-32999"
