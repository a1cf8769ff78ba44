"""The edge cases that readers of these transcripts are known to get wrong, one tiny tree each."""

from __future__ import annotations

import json

import pytest

from benchmarks.corpus import START_MS, Counters, Iteration
from tests.tokenledger.homes import SESSION, LedgerHome, said, with_message

FOLDER = "projects/-home-dev-app"
AGENT = f"{FOLDER}/session-1/subagents/agent-a1.jsonl"
WORKFLOW = f"{FOLDER}/session-1/subagents/workflows/w1/agent-a2.jsonl"


def later(line_number: int) -> int:
    """An instant some seconds on, as real lines have."""
    return START_MS + 1000 * line_number


def test_a_request_that_grows_counts_its_last_output(home: LedgerHome) -> None:
    """C-15: rows of 1, 1 and 900 tokens of one request are 900, and its input is counted once."""
    home.write(SESSION, *(said(output=n, ts=later(i)) for i, n in enumerate((1, 1, 900))))
    home.scan()
    assert home.tokens() == (10, 900)


def test_a_final_row_that_comes_first_still_wins(home: LedgerHome) -> None:
    """C-15: a smaller row read later takes nothing back."""
    home.write(SESSION, said(output=900, stop=True), said(output=1, ts=later(1)))
    home.scan()
    assert home.tokens() == (10, 900)


def test_rows_without_a_request_id_are_one_by_message_id(home: LedgerHome) -> None:
    """C-30: three rows of one message, with no request id and other instants, are one request."""
    rows = [said("m", None, output=n, ts=later(i)) for i, n in enumerate((1, 1, 900))]
    home.write(SESSION, *rows)
    home.scan()
    assert home.tokens() == (10, 900)


def test_rows_without_a_message_id_are_one_by_request_id(home: LedgerHome) -> None:
    """C-30: two rows of one request id and no message id are one request."""
    home.write(SESSION, said(None, "r", output=1), said(None, "r", output=900, ts=later(1)))
    home.scan()
    assert home.tokens() == (10, 900)


def test_rows_with_neither_are_one_by_their_own_id(home: LedgerHome) -> None:
    """C-30: without ids of message and request, a row copied into a fork is still one."""
    row = said(None, None, uuid="u-1")
    home.write(SESSION, row, said(None, None, uuid="u-2"))
    home.write(f"{FOLDER}/fork.jsonl", row)
    home.scan()
    assert home.tokens() == (20, 1800)


def test_a_side_question_that_replays_history_counts_only_what_is_new(home: LedgerHome) -> None:
    """A `/btw` file repeats messages under another request id, as a sidechain: they are one."""
    home.write(SESSION, said("m1", "r1"))
    home.write(
        f"{FOLDER}/session-1/subagents/agent-aside_question-1.jsonl",
        said("m1", "r9", sidechain=True),
        said("m2", "r10", input=5, output=50, sidechain=True),
    )
    home.scan()
    assert home.tokens() == (15, 950)


def test_one_message_id_under_two_request_ids_is_two_requests(home: LedgerHome) -> None:
    """With both ids on every row and no sidechain, each request id is its own request."""
    home.write(SESSION, said("m1", "r1"), said("m1", "r2"))
    home.scan()
    assert home.tokens() == (20, 1800)


def test_a_row_without_a_request_id_joins_all_of_its_message(home: LedgerHome) -> None:
    """As soon as one row of a message lacks a request id, the whole message is one request."""
    home.write(SESSION, said("m1", "r1"), said("m1", "r2"), said("m1", None, output=1))
    home.scan()
    assert home.tokens() == (10, 900)


def test_a_fork_counts_what_it_copied_once(home: LedgerHome) -> None:
    """T5: history copied into another session's file is the same requests."""
    first, second = said("m1", "r1"), said("m2", "r2")
    home.write(SESSION, first, second)
    copy = [said("m1", "r1", session="fork"), said("m3", "r3", session="fork")]
    home.write(f"{FOLDER}/fork.jsonl", *copy)
    home.scan()
    assert home.tokens() == (30, 2700)


def test_a_fork_cut_in_mid_stream_loses_nothing(home: LedgerHome) -> None:
    """A copy that ends before the final row takes nothing from the original that has it."""
    home.write(f"{FOLDER}/a-fork.jsonl", said(output=1, session="fork"))
    home.write(SESSION, said(output=1), said(output=900, ts=later(1)))
    home.scan()
    assert home.tokens() == (10, 900)


@pytest.mark.parametrize("path", [AGENT, WORKFLOW, f"{FOLDER}/agent-a1.jsonl"])
def test_subagents_count_wherever_they_lie(home: LedgerHome, path: str) -> None:
    """C-16: nested, workflow-nested and older subagent files belong to their session."""
    home.write(SESSION, said("m1", "r1"))
    home.write(path, said("m2", "r2", input=3, output=30, sidechain=True, agent_id="a1"))
    home.scan()
    assert home.tokens() == (13, 930)
    assert len(home.requests()) == 2


@pytest.mark.parametrize(
    "path",
    [
        f"{FOLDER}/journal.jsonl",
        f"{FOLDER}/session-1/subagents/agent-a1.meta.json",
        f"{FOLDER}/session-1/subagents/workflows/w1/journal.jsonl",
        f"{FOLDER}/session-1/tool-results/agent-x.jsonl",
        f"{FOLDER}/session-1/other.jsonl",
        f"{FOLDER}/memory/notes.jsonl",
        "projects/loose.jsonl",
        f"{FOLDER}/session.jsonl.bak",
        "todos/session-1.jsonl",
    ],
)
def test_what_is_no_transcript_is_not_read(home: LedgerHome, path: str) -> None:
    """C-16: journals, notes, tool results and strays beside transcripts are left alone."""
    home.write(path, said())
    home.write(SESSION, said("m2", "r2", input=1, output=2))
    assert home.scan().files_seen == 1
    assert home.tokens() == (1, 2)


def test_usage_quoted_in_progress_lines_counts(home: LedgerHome) -> None:
    """A subagent's usage that only `agent_progress` quotes is counted."""
    quote = said("m2", "r2", input=3, output=30, quoted=True, agent_id="a1")
    home.write(SESSION, said("m1", "r1"), quote)
    home.scan()
    assert home.tokens() == (13, 930)


def test_a_quote_and_the_file_it_quotes_are_one(home: LedgerHome) -> None:
    """The quote and the subagent's own line share their ids and count once."""
    home.write(SESSION, said("m2", "r2", quoted=True, agent_id="a1"))
    home.write(AGENT, said("m2", "r2", sidechain=True, agent_id="a1"))
    home.scan()
    assert home.tokens() == (10, 900)


def test_usage_in_a_tool_result_does_not_count(home: LedgerHome) -> None:
    """`toolUseResult.usage` repeats what the subagent's own file says."""
    result = {"type": "user", "sessionId": "s", "toolUseResult": {"usage": {"output_tokens": 7}}}
    home.write(SESSION, said(), json.dumps(result).encode())
    home.scan()
    assert home.tokens() == (10, 900)


def test_windows_line_ends(home: LedgerHome) -> None:
    """CR LF changes nothing."""
    home.write(SESSION, said("m1", "r1") + b"\r", said("m2", "r2") + b"\r")
    home.scan()
    assert (home.tokens(), home.skips()) == ((20, 1800), {})


def test_a_crash_that_left_nul_and_half_a_line(home: LedgerHome) -> None:
    """NUL before a line is passed over; a line cut in the middle is one malformed line."""
    cut = said("m0", "r0")[:90]
    home.write(SESSION, said("m1", "r1"), cut, b"\0" * 300 + said("m2", "r2"))
    home.scan()
    assert (home.tokens(), home.skips()) == ((20, 1800), {"malformed": 1})


def test_local_errors_are_not_requests(home: LedgerHome) -> None:
    """`<synthetic>` rows never reached a model: they are skipped by reason, not counted."""
    home.write(SESSION, said(), said("m2", None, model="<synthetic>", input=0, output=0))
    home.scan()
    assert home.summary()["eventCount"] == 1
    assert home.skips() == {"synthetic": 1}


def test_a_last_line_without_a_newline_counts(home: LedgerHome) -> None:
    """C-36: sessions end without a final newline; the object that is whole is counted."""
    home.write(SESSION, said("m1", "r1"), said("m2", "r2"), end=b"")
    home.scan()
    assert home.tokens() == (20, 1800)


def test_an_advisor_is_an_entry_of_its_own(home: LedgerHome) -> None:
    """What an advisor used is billed, is not in the top level, and counts for its own model."""
    advisor = Iteration(
        type="advisor_message", model="claude-big", counters=Counters(input=100_000, output=1_000)
    )
    home.write(SESSION, said(stop=True, rich=True, iterations=(advisor,)))
    home.scan()
    assert home.tokens() == (100_010, 1_900)
    assert home.summary()["eventCount"] == 1
    models = {row["model"]: row["totalTokens"] for row in home.answers()["models"]}
    assert models == {"claude-big": 101_000, "claude-opus-4-5": 910}


def test_an_advisor_repeated_on_every_row_counts_once(home: LedgerHome) -> None:
    """Iterations are united by kind and place, as rows of one request are."""
    advisor = Iteration(type="advisor_message", model="big", counters=Counters(input=5))
    rows = [said(rich=True, iterations=(advisor,), ts=later(i)) for i in range(3)]
    home.write(SESSION, *rows)
    home.scan()
    assert home.summary()["kinds"]["advisor"]["requests"] == 1
    assert home.tokens() == (15, 900)


def test_fallback_attempts_are_listed_and_not_summed(home: LedgerHome) -> None:
    """The top level is the serving attempt; the one before it is kept apart."""
    attempts = tuple(
        Iteration(type="fallback_message", model=f"m{i}", counters=Counters(input=10, output=n))
        for i, n in enumerate((40, 900))
    )
    home.write(SESSION, said(rich=True, iterations=attempts))
    home.scan()
    summary = home.summary()
    assert (summary["totalOutput"], summary["totalTokens"]) == (900, 910)
    assert summary["kinds"]["fallback"]["output"] == 40


def test_a_lone_surrogate_loses_no_request(home: LedgerHome) -> None:
    """Text cut inside an emoji, as JavaScript writes it, leaves the usage readable."""
    line = with_message(said(), content=[{"type": "text", "text": "@"}])
    home.write(SESSION, line.replace(b'"@"', b'"cut \\ud83d"'))
    home.scan()
    assert (home.tokens(), home.skips()) == ((10, 900), {})


def test_what_prices_need_is_kept_apart(home: LedgerHome) -> None:
    """5-minute and 1-hour writes, searches, thinking, tier and speed come from the richest row."""
    rich = Counters(
        input=10, output=900, cache_create=70, cache_5m=50, cache_1h=20, web_search=100, thinking=5
    )
    poor = Counters(input=10, output=4, cache_create=70, cache_5m=50, cache_1h=20)
    home.write(
        SESSION,
        said(counters=poor, tier="standard"),
        said(counters=rich, tier="priority", speed="fast", stop=True, ts=later(1)),
    )
    home.scan()
    (request,) = home.requests()
    kept = ("cache5m", "cache1h", "webSearches", "thinking", "serviceTier", "speed")
    assert [request[key] for key in kept] == [50, 20, 100, 5, "priority", "fast"]


def test_a_request_whose_output_was_never_logged_says_so(home: LedgerHome) -> None:
    """A placeholder is labelled, and what its content is worth is told apart from the total."""
    rows = [said(output=3, uuid=f"u{i}", chars=248, ts=later(i)) for i in range(2)]
    home.write(SESSION, *rows, said("m2", "r2", stop=True))
    home.write(f"{FOLDER}/fork.jsonl", rows[0])
    home.scan()
    assert home.summary()["partial"] == {"requests": 1, "share": 0.5, "estimatedOutput": 197}
    assert home.tokens() == (20, 903)
    assert [request["partial"] for request in home.requests()] == [True, False]


def test_a_placeholder_that_ends_is_one_no_more(home: LedgerHome) -> None:
    """The final row, however late, takes label and estimate away."""
    home.write(SESSION, said(output=3, chars=500))
    home.scan()
    assert home.summary()["partial"]["requests"] == 1
    home.append(SESSION, said(output=200, stop=True, ts=later(9)))
    home.scan()
    assert home.summary()["partial"] == {"requests": 0, "share": 0, "estimatedOutput": 0}


def test_time_and_place_are_those_of_the_earliest_row(home: LedgerHome) -> None:
    """C-31: a request copied elsewhere is credited to its origin, whichever file is read first."""
    home.write(f"{FOLDER}/a.jsonl", said(session="copy", ts=later(5), cwd="/copy"))
    home.write(f"{FOLDER}/z.jsonl", said(session="origin", ts=later(1), cwd="/origin"))
    home.scan()
    (row,) = home.answers()["sessions"]
    assert (row["sessionId"], row["projectPath"]) == ("origin", "/origin")
    assert home.requests("origin")[0]["file"].endswith("/z.jsonl")
