"""Bub's tapes: one request a `run` event, cached input kept apart."""

from __future__ import annotations

import json
from typing import Any

from instar_host.store.tail import Lines
from instar_tokenledger.sources.bub import bub, decode
from instar_tokenledger.usage import Counters

USAGE = {
    "prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234,
    "prompt_tokens_details": {"cached_tokens": 1000},
    "completion_tokens_details": {"reasoning_tokens": 4},
}  # fmt: skip


def entry(second: int, kind: str, payload: Any, run: str = "r1") -> bytes:
    said = {
        "id": second, "kind": kind, "payload": payload, "meta": {"run_id": run},
        "date": f"2026-01-01T10:00:{second:02}+00:00",
    }  # fmt: skip
    return json.dumps(said).encode() + b"\n"


def ran(second: int, usage: Any = None, **more: Any) -> bytes:
    data = {"status": "ok", "usage": usage or USAGE, "model": "openai:m", **more}
    return entry(second, "event", {"name": "run", "data": data})


START = entry(0, "anchor", {"name": "session/start", "state": {"owner": "human"}})


def test_a_call_is_a_request() -> None:
    """What was cached is not counted as fresh."""
    said = decode(Lines(data=START + ran(1), offset=0), b"")
    (row,) = said.rows
    assert row.counters == Counters(input=200, output=34, cache_read=1000, thinking=4)
    assert (row.model, row.session) == ("openai:m", "bub-2026-01-01T10:00:00+00:00")
    assert row.offset == len(START)
    assert not said.skips


def test_the_session_goes_on_in_the_next_stretch() -> None:
    """The state is what the first entry said."""
    first = decode(Lines(data=START, offset=0), b"")
    then = decode(Lines(data=ran(5), offset=len(START)), first.state)
    assert then.rows[0].session == "bub-2026-01-01T10:00:00+00:00"


def test_two_calls_of_one_run_are_two_requests() -> None:
    """A turn with tools calls the model several times under one run."""
    rows = decode(Lines(data=ran(1) + ran(2), offset=0), b"").rows
    assert len({row.request_id for row in rows}) == 2


def test_the_other_spelling_counts_too() -> None:
    """The Responses API says input and output."""
    usage = {"input_tokens": 10, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}}
    (row,) = decode(Lines(data=ran(1, usage), offset=0), b"").rows
    assert row.counters == Counters(input=6, output=3, cache_read=4)


def test_what_is_no_run_is_no_request_and_what_is_broken_is_counted() -> None:
    """A message may say "usage"; a line may be cut off."""
    message = entry(1, "message", {"role": "user", "content": '"usage"'})
    said = decode(Lines(data=START + message + b'{"usage": \n', offset=0), b"")
    assert (list(said.rows), sum(said.skips.values())) == ([], 1)


def test_only_tapes_are_read() -> None:
    """Nothing below the folder, and nothing but JSON lines."""
    source = bub(list)
    assert source.selects(b"a__b.jsonl")
    assert not source.selects(b"x/a.jsonl")
    assert not source.selects(b"a.db")
