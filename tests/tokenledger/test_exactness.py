"""The ledger against the truth, to the token: whole corpora, any window, any way of reading."""

from __future__ import annotations

import random

import pytest

from benchmarks.corpus import Corpus, Truth, build, reveal, sizes_of, slices
from instar_tokenledger.ingest import Budget
from instar_tokenledger.windows import Window
from tests.tokenledger.homes import (
    EVER,
    ZONES,
    LedgerHome,
    said,
    true_answers,
)
from tests.tokenledger.recounting import recounted, rollups_of

SESSIONS = 36
QUARTER_MS = 900_000


def built(home: LedgerHome, seed: int) -> Corpus:
    """A corpus of every hard case in the home."""
    return build(home.claude, seed=seed, sessions=SESSIONS, scale="small")


def windows(truth: Truth, rng: random.Random, count: int) -> list[Window]:
    """Windows that begin and end on, just before and just after requests, and anywhere."""
    instants = sorted(request.ts for request in truth.requests)
    first, last = instants[0], instants[-1]

    def instant() -> int:
        near = rng.choice(instants) + rng.choice((-1, 0, 1))
        whole = rng.choice(instants) // QUARTER_MS * QUARTER_MS
        return rng.choice((near, whole, rng.randrange(first - 10, last + 10)))

    found = [Window(*sorted((instant(), instant()))) for _ in range(count)]
    return [*found, Window(first, first + 1), Window(last, last), Window(last + 1, last + 2)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_cold_scan_gives_the_truth_in_every_view_and_zone(home: LedgerHome, seed: int) -> None:
    """A first scan answers every view as the oracle does, series in zones with and without DST."""
    corpus = built(home, seed)
    home.scan()
    truth = corpus.truth()
    assert home.answers(EVER, ZONES) == true_answers(truth, EVER, ZONES)
    assert home.skips() == dict(truth.skips)


def test_both_oracles_agree_about_the_tree(home: LedgerHome) -> None:
    """What the generator says it wrote is what a second reading of the disk finds."""
    corpus = built(home, 4)
    home.scan()
    home.assert_true()
    assert true_answers(corpus.truth(), EVER) == home.answers()


@pytest.mark.parametrize("seed", [5, 6])
def test_any_window_is_exact_to_the_millisecond(home: LedgerHome, seed: int) -> None:
    """`since` is inclusive and `until` exclusive, wherever they fall in hours and days."""
    truth = built(home, seed).truth()
    home.scan()
    for window in windows(truth, random.Random(seed), 25):
        assert home.answers(window, ZONES) == true_answers(truth, window, ZONES), window


@pytest.mark.parametrize("seed", [7, 8])
def test_random_slices_and_restarts_give_the_same(home: LedgerHome, seed: int) -> None:
    """Reading a few bytes, rows or files at a time, with restarts between, ends in the truth."""
    truth = built(home, seed).truth()
    rng = random.Random(seed)
    steps = 1
    while not home.scan(
        Budget(
            bytes=rng.randrange(1, 60_000),
            rows=rng.choice((None, rng.randrange(1, 40))),
            files=rng.choice((None, rng.randrange(1, 4))),
        )
    ).caught_up:
        steps += 1
        if rng.random() < 0.1:
            home.restart()
    assert steps > 20
    assert home.answers() == true_answers(truth, EVER)
    assert home.skips() == dict(truth.skips)
    assert rollups_of(home) == recounted(home)


@pytest.mark.parametrize("seed", [9, 10])
def test_files_that_grow_under_the_scan_end_in_the_truth(home: LedgerHome, seed: int) -> None:
    """Every moment of a growing tree is the truth of that moment, whole tails included."""
    rng = random.Random(seed)
    source = home.claude.with_name("source")
    corpus = build(source, seed=seed, sessions=20, scale="small")
    for moment in slices(sizes_of(source, corpus.files), rng, 6):
        reveal(source, home.claude, moment)
        home.scan()
        home.assert_true()
    assert rollups_of(home) == recounted(home)


def test_a_rebuild_changes_nothing(home: LedgerHome) -> None:
    """Reading everything again into a ledger that has it all leaves every answer as it was."""
    truth = built(home, 11).truth()
    home.scan()
    home.service.forget_marks()
    assert home.scan().files_read > 0
    assert home.answers() == true_answers(truth, EVER)
    assert home.skips() == dict(truth.skips)
    assert rollups_of(home) == recounted(home)


@pytest.mark.parametrize("seed", [12, 13])
def test_the_totals_are_the_sums_of_their_rows(home: LedgerHome, seed: int) -> None:
    """Each stored total equals the same sum counted again from the requests in plain SQL."""
    built(home, seed)
    home.scan()
    assert rollups_of(home) == recounted(home)


def test_the_agents_own_totals_are_kept_beside_ours(home: LedgerHome) -> None:
    """`cost-state` figures are the greatest seen per session and model, and are never added."""
    truth = built(home, 14).truth()
    home.scan()
    assert truth.cost_states
    for (session, model), figures in truth.cost_states.items():
        with home.reading() as reading:
            one = reading.sessions.one(session)
        if one is None:
            continue
        (ours,) = [c for c in one["agentsOwnTotals"] if c["model"] == model]
        assert ours["input"] == figures["inputTokens"]
        assert ours["output"] == figures["outputTokens"]
        assert ours["costUSD"] == pytest.approx(figures["costUSD"], abs=1e-6)


def test_the_project_of_a_session_is_that_of_its_first_request(home: LedgerHome) -> None:
    """C-32: after a change of directory a session keeps its first project, in every window."""
    home.write(
        "projects/a/session-1.jsonl",
        said("m1", "r1", ts=2_000_000_000_000, cwd="/second"),
        said("m2", "r2", ts=1_900_000_000_000, cwd="/first"),
    )
    home.scan()
    for window in (EVER, Window(1_950_000_000_000, 2_100_000_000_000)):
        assert home.answers(window)["sessions"][0]["projectPath"] == "/first"
