"""Damaged lines and any bytes at all: rows and counted reasons come out, never an exception."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus import build, emit_lines, random_rows
from instar_host.store.tail import Lines
from instar_tokenledger.accounting import Request, request_of, unite
from instar_tokenledger.sources.claude_lines import decode
from instar_tokenledger.sources.claude_salvage import COUNTS, FLAGS, OBJECTS, TEXTS
from instar_tokenledger.usage import UsageRow
from tests.tokenledger.arrangements import together
from tests.tokenledger.homes import said
from tests.tokenledger.sources.decoding import decoded

REASONS = {
    "malformed", "not-object", "too-deep", "no-usage", "synthetic", "no-session-id",
    "no-timestamp", "bad-timestamp", "bad-number", "no-identity",
}  # fmt: skip


def damaged(line: bytes, rng: random.Random) -> bytes:
    """The line with a few bytes changed, cut out, repeated or put in."""
    data = bytearray(line)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                del data[at : at + rng.randint(1, 40)]
            case 2:
                data[at:at] = data[at : at + rng.randint(1, 60)]
            case 3:
                data[at:at] = rng.choice([b"{", b"}", b"[", b'"', b"\\", b"\0", b"\\ud83d", b"-"])
            case 4:
                data[at:at] = rng.choice([b"9" * 400, b"null", b"true", b'"type":"', b"1e999"])
        if not data:
            data = bytearray(line)
    return bytes(data).replace(b"\n", b" ")


def real_lines(folder: Path) -> Iterator[bytes]:
    """Lines of a corpus, those of damaged scenarios too."""
    corpus = build(folder, seed=1, sessions=40, scale="small")
    for path in corpus.files:
        for line in Path(os.fsdecode(path)).read_bytes().split(b"\n"):
            if 0 < len(line) < 20_000:
                yield line


def assert_settled(data: bytes, *, terminated: bool = True) -> None:
    """No exception; each line is a row, a counted skip, or neither; offsets lie in the data."""
    found = decode(Lines(data=data, offset=0, terminated=terminated), b"")
    assert set(found.skips) <= REASONS
    assert len(found.rows) + sum(found.skips.values()) <= data.count(b"\n") + 1
    for row in found.rows:
        assert 0 <= row.offset < len(data)
        assert row.session
        assert min(row.counters) >= 0
        json.dumps([row.project, row.model, row.session]).encode("ascii")
        row.project.encode()


def test_no_damage_to_a_real_line_gets_an_exception_out(tmp_path: Path) -> None:
    """L1: thousands of damaged real lines, alone and between good ones, give rows and reasons."""
    rng = random.Random(1)
    lines = list(real_lines(tmp_path))
    for _ in range(6_000):
        bad = damaged(rng.choice(lines), rng)
        assert_settled(bad, terminated=rng.random() < 0.5)
    for _ in range(200):
        between = damaged(rng.choice(lines), rng)
        found = decoded(said("first", "r1"), between, said("last", "r2"))
        assert {"first", "last"} <= {row.message_id for row in found.rows}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_get_an_exception_out(data: bytes) -> None:
    """L1: any bytes at all give rows and reasons."""
    assert_settled(data)
    assert_settled(b'{"type":"assistant",' + data)
    assert_settled(said()[:-30] + data + said()[-30:])


NUMBERS = (
    "0", "-1", "1.5", "1e3", "1e999", "-1e999", "NaN", "Infinity", "9007199254740993",
    "1" + "0" * 30, "1" + "0" * 400, "-1" + "0" * 400, "1" + "0" * 5_000,
)  # fmt: skip
MEMBERS = sorted(COUNTS | FLAGS | OBJECTS | TEXTS | {"costUSD", "iterations", "content", "input"})
KINDS = ("assistant", "progress", "cost-state", "agent_progress", "tool_use", "advisor_message")
TYPES = [f'"type":"{kind}"' for kind in KINDS]


def objects(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects of the members that are read, each with anything at all."""
    members = st.tuples(st.sampled_from(MEMBERS), inside).map(lambda one: f'"{one[0]}":{one[1]}')
    one_or_other = st.one_of(members, st.sampled_from(TYPES))
    return st.lists(one_or_other, max_size=6).map(lambda all_: "{" + ",".join(all_) + "}")


VALUES = st.recursive(
    st.one_of(
        st.sampled_from(NUMBERS),
        st.sampled_from(("null", "true", '""', '"x"', '"\\ud83d"', '"2026-01-01T00:00:00Z"')),
    ),
    lambda inside: st.one_of(
        objects(inside), st.lists(inside, max_size=3).map(lambda all_: f"[{','.join(all_)}]")
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MEMBERS), VALUES, st.sampled_from(KINDS))
def test_no_value_of_any_member_gets_an_exception_out(member: str, value: str, kind: str) -> None:
    """L1: whatever a member holds, in a line of any type, there are rows and reasons."""
    extra = f'{{"{member}":{value},'.encode()
    assert_settled(f'{{"type":"{kind}","{member}":{value},"sessionId":"s"}}'.encode())
    assert_settled(said().replace(b"{", extra, 1))
    assert_settled(said().replace(b'"usage":{', b'"usage":' + extra))


@pytest.mark.parametrize("number", NUMBERS)
def test_no_cost_gets_an_exception_out(number: str) -> None:
    """L1: a cost of hundreds of digits is a bad number, and the lines around it count."""
    line = b'{"type":"cost-state","sessionId":"s","modelUsage":{"m":{"costUSD":@}}}'
    line = line.replace(b"@", number.encode())
    found = decoded(said("first", "r1"), line, said("last", "r2"))
    assert [row.message_id for row in found.rows] == ["first", "last"]
    assert len(found.cost_states) + sum(found.skips.values()) == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_lines_are_decoded_alike_alone_and_together(seed: int, count: int) -> None:
    """T7: however a file is cut into blocks of whole lines, the requests are the same."""
    rng = random.Random(seed)
    lines = emit_lines(random_rows(rng, count, ids=2))
    lines = [line for line in lines for _ in range(rng.choice((1, 1, 3)))]
    offset = 0
    alone: list[UsageRow] = []
    for line in lines:
        alone += decoded(line, offset=offset).rows
        offset += len(line) + 1
    assert requests_in(alone) == requests_in(decoded(*lines).rows)


def requests_in(rows: Sequence[UsageRow]) -> list[Request]:
    """What the rows of one file say, whatever rows it takes to say it."""
    groups = unite([request_of(row, b"/a") for row in rows])
    return sorted(map(together, groups), key=lambda request: request.origin)


@pytest.mark.parametrize("piece", [b'{"type":"', b'\\"', b'"usage"', b'{"a":', b'"type":"user"'])
def test_twice_the_bytes_take_about_twice_the_time(piece: bytes) -> None:
    """L15: no input makes the filter before the decoder quadratic."""

    def work(times: int) -> float:
        data = b'{"x":"' + piece * times
        began = time.process_time()
        assert_settled(data)
        return time.process_time() - began

    small = min(work(20_000) for _ in range(3))
    large = min(work(160_000) for _ in range(3))
    assert large < 40 * small + 0.05  # eight times the bytes; quadratic would be 64 times
