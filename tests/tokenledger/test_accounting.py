"""The pure rules: joining is order-free and never splits, and agrees with the plain oracle."""

from __future__ import annotations

import copy
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus import Row, random_rows, truth_of
from benchmarks.corpus import Truth as CorpusTruth
from instar_tokenledger.accounting import (
    Request,
    absorb,
    absorb_row,
    estimated_missing,
    request_of,
    unite,
)
from instar_tokenledger.usage import Iteration
from tests.tokenledger.arrangements import Arrangement, arranged, requests_of, together

seeds = st.integers(0, 2**32)
law = settings(max_examples=150, deadline=None)


def singles(arrangement: Arrangement) -> list[Request]:
    """One request a row."""
    return [
        request_of(row, piece.path) for piece in arrangement.pieces for row in piece.decoded().rows
    ]


def some_rows(seed: int, count: int, ids: int = 3) -> tuple[Arrangement, random.Random]:
    rng = random.Random(seed)
    return arranged(random_rows(rng, count, ids=ids), rng), rng


def same_request(seed: int) -> list[Request]:
    """Three requests that bear one message id, so that they may be joined."""
    rng = random.Random(seed)
    rows = [row for row in random_rows(rng, 60) if row.message_id == "msg_0"][:6]
    parts = singles(arranged(rows, rng))
    groups = [parts[i::3] for i in range(3)]
    return [together(group) for group in groups if group]


def joined(*requests: Request) -> Request:
    """The union, leaving its parts as they are."""
    return together([copy.deepcopy(request) for request in requests])


def said_by(request: Request) -> tuple[object, ...]:
    """What an oracle's request can be held against."""
    model = request.description.model
    entries = tuple(
        sorted(
            (kind, index, own or model, *counters)
            for (kind, index), (own, counters) in request.iterations.items()
        )
    )
    missing = estimated_missing(request.contents, request.counters.output)
    origin = request.origin
    return (
        (origin.at_ms, origin.session, origin.path, origin.offset, origin.project, origin.agent),
        tuple(request.counters),
        (model, request.description.tier, request.description.speed),
        entries,
        request.partial,
        missing if request.partial else 0,
    )


def said_by_oracle(truth: CorpusTruth) -> list[tuple[object, ...]]:
    def counters(found: object) -> tuple[int, ...]:
        names = (
            "input", "output", "cache_create", "cache_read", "cache_5m", "cache_1h", "web_search",
            "web_fetch", "thinking",
        )  # fmt: skip
        return tuple(getattr(found, name) for name in names)

    def place(row: Row) -> tuple[object, ...]:
        return (row.ts, row.session, row.path, row.offset, row.cwd or "", row.agent_id or "")

    return [
        (
            place(r.origin),
            counters(r.counters),
            (r.model or "", r.tier or "", r.speed or ""),
            tuple((e.kind, e.index, e.model or "", *counters(e.counters)) for e in r.entries),
            r.partial,
            r.missing_output,
        )
        for r in truth.requests
    ]


@law
@given(seeds, st.integers(1, 40), st.integers(1, 5))
def test_the_rules_agree_with_the_oracle_about_every_request(
    seed: int, count: int, ids: int
) -> None:
    """Each request is the oracle's in time, place, counters, model, iterations and estimate."""
    arrangement, _ = some_rows(seed, count, ids)
    ours = sorted(said_by(request) for request in requests_of(arrangement))
    assert ours == sorted(said_by_oracle(truth_of(arrangement.rows)))


@law
@given(seeds)
def test_absorb_is_commutative_associative_and_idempotent(seed: int) -> None:
    """Joining in any order, any grouping and any number of times gives one request."""
    parts = same_request(seed)
    a, b, c = (parts * 3)[:3]
    assert joined(a, b) == joined(b, a)
    assert joined(joined(a, b), c) == joined(a, joined(b, c))
    assert joined(a, a) == a
    assert joined(a, b, b, a) == joined(a, b)


@law
@given(seeds)
def test_a_row_absorbed_is_a_request_absorbed(seed: int) -> None:
    """`absorb_row` is `absorb` of the request that the row alone would be."""
    rng = random.Random(seed)
    row = next(r for r in random_rows(rng, 60) if r.message_id)
    rows = [r for r in random_rows(rng, 80) if r.message_id == row.message_id]
    same = [r for r in rows if r.request_id == row.request_id][:5] or [row]
    arrangement = arranged(same, rng)
    decoded = [(p.path, r) for p in arrangement.pieces for r in p.decoded().rows]
    by_row = request_of(decoded[0][1], decoded[0][0])
    for path, each in decoded[1:]:
        absorb_row(by_row, each, path)
    assert by_row == together(singles(arrangement))


@law
@given(seeds, st.integers(2, 30))
def test_uniting_in_two_steps_is_uniting_at_once(seed: int, count: int) -> None:
    """`unite(unite(A) + B)` has the requests of `unite(A + B)`: nothing depends on the batch."""
    arrangement, rng = some_rows(seed, count)
    cut = rng.randrange(count + 1)
    at_once = [together(group) for group in unite(singles(arrangement))]
    requests = singles(arrangement)
    first = [together(group) for group in unite(requests[:cut])]
    in_steps = [together(group) for group in unite([*first, *requests[cut:]])]
    assert sorted(in_steps, key=said_by) == sorted(at_once, key=said_by)


@law
@given(seeds, st.integers(2, 30))
def test_uniting_in_any_order_gives_the_same_groups(seed: int, count: int) -> None:
    """The order in which rows are met never changes which of them are one request."""
    arrangement, rng = some_rows(seed, count)
    requests = singles(arrangement)
    shuffled = rng.sample(requests, len(requests))

    def groups(found: list[list[Request]]) -> set[frozenset[int]]:
        return {frozenset(id(request) for request in group) for group in found}

    assert groups(unite(requests)) == groups(unite(shuffled))


@pytest.mark.parametrize(
    ("chars", "output", "missing"),
    [({}, 3, 0), ({(b"a", 1): 248}, 3, 97), ({(b"a", 1): 31}, 0, 12), ({(b"a", 1): 2}, 10, 0)],
)
def test_the_estimate_is_what_the_content_is_longer_than_what_was_logged(
    chars: dict[tuple[bytes, int], int], output: int, missing: int
) -> None:
    """Missing output is content over 2.48, rounded to even, less what was logged, at least 0."""
    assert estimated_missing(chars, output) == missing


def test_the_largest_file_gives_the_estimate() -> None:
    """A copy of the content in another file is not content twice."""
    assert estimated_missing({(b"a", 1): 124, (b"a", 2): 124, (b"b", 1): 150}, 0) == 100


def test_iterations_are_joined_by_kind_and_place() -> None:
    """The same entry told twice is one entry with the greater of each counter."""
    one, other = (random_rows(random.Random(1), 1) for _ in range(2))
    left, right = (requests_of(arranged(r, random.Random(2)))[0] for r in (one, other))
    entry = Iteration("advisor", 0, "m", left.counters)
    left.iterations = {("advisor", 0): ("", entry.counters._replace(input=5, output=9))}
    right.iterations = {("advisor", 0): ("m", entry.counters._replace(input=7, output=1))}
    absorb(left, right)
    ((model, counters),) = left.iterations.values()
    assert (model, counters.input, counters.output) == ("m", 7, 9)
