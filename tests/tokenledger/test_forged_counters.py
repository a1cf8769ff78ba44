"""Counters that no agent ever had: they may be wrong, but they must not stop anything."""

from __future__ import annotations

from pathlib import Path

import msgspec

from instar_host.testing import FakeClock
from instar_tokenledger.batch import Batch
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.opening import open_ledger
from instar_tokenledger.queries import Queries
from instar_tokenledger.session_queries import SessionQueries
from instar_tokenledger.usage import MAX_COUNT, Counters, Decoded, UsageRow
from instar_tokenledger.windows import END_OF_TIME, Window

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
        batch.add("claude-code", b"/t/a.jsonl", Decoded(rows=rows))
        ledger.commit(batch)

    summary = Queries(connection).summary(EVER)
    sessions = SessionQueries(connection).page(Window(0, 1_000_001), 10).sessions

    assert summary["eventCount"] == 6_000
    assert summary["totalTokens"] >= 2**60
    assert sessions[0]["eventCount"] == 6_000
    assert msgspec.json.decode(msgspec.json.encode([summary, sessions]))
    ledger.close()
