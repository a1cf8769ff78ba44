"""The oracle against trees small enough to be counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.corpus import (
    Counters,
    Iteration,
    Row,
    Truth,
    emit_line,
    models,
    projects,
    read_tree,
    series,
    sessions,
    summary,
    truth_of,
    truth_of_tree,
)

T0 = 1_767_571_200_000
MAIN = "projects/-alpha/s1.jsonl"
ROW = Row(
    message_id="m1",
    request_id="r1",
    uuid="u1",
    session="s1",
    ts=T0,
    model="claude-opus-5",
    cwd="/alpha",
)


def row(output: int, *, input: int = 10, after_s: int = 0, **said: object) -> Row:  # noqa: A002
    """A row of the hand-written session with these tokens."""
    counters = Counters(input=input, output=output)
    changed: dict[str, object] = {"uuid": f"u{after_s}-{output}", **said}
    return replace(ROW, counters=counters, ts=T0 + after_s * 1000, **changed)  # type: ignore[arg-type]


class Tree:
    """A configuration folder written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, path: str, *lines: Row | bytes, end: bytes = b"\n") -> None:
        """Append lines to a file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as out:
            for line in lines:
                out.write((emit_line(line) if isinstance(line, Row) else line) + end)

    def totals(self) -> tuple[int, int]:
        """(input, output) as the disk oracle counts them."""
        return totals(truth_of_tree(self.root))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty configuration folder."""
    return Tree(tmp_path)


def totals(truth: Truth) -> tuple[int, int]:
    """(input, output) of the kinds that are summed."""
    said = summary(truth)
    return said["totalInput"], said["totalOutput"]


STREAM = (row(1), row(1, after_s=1), row(900, after_s=2))


def test_partial_rows_count_once_at_their_maximum(tree: Tree) -> None:
    """Rows of 1, 1 and 900 output tokens are one request of 10/900."""
    tree.add(MAIN, *STREAM)
    assert tree.totals() == (10, 900)


def test_a_final_row_may_come_first(tree: Tree) -> None:
    """A partial row after the final one takes nothing away."""
    tree.add(MAIN, *reversed(STREAM))
    assert tree.totals() == (10, 900)


def test_the_message_id_alone_names_a_request(tree: Tree) -> None:
    """Rows without a request id are one request even when their timestamps differ."""
    tree.add(MAIN, *(replace(part, request_id=None) for part in STREAM))
    assert tree.totals() == (10, 900)


def test_the_request_id_alone_names_a_request(tree: Tree) -> None:
    """Rows without a message id are one request by their request id."""
    tree.add(MAIN, *(replace(part, message_id=None) for part in STREAM))
    assert tree.totals() == (10, 900)


def test_the_uuid_names_a_row_without_ids(tree: Tree) -> None:
    """With neither id the row's uuid is the key: a copy of a line counts once, others apart."""
    parts = [replace(part, message_id=None, request_id=None) for part in STREAM]
    tree.add(MAIN, *parts, parts[2])
    assert tree.totals() == (30, 902)


def test_a_side_question_replay_is_the_parents_request(tree: Tree) -> None:
    """A sidechain copy with another request id unites; the question itself is its own request."""
    tree.add(MAIN, *STREAM)
    replay = row(900, request_id="r9", sidechain=True, agent_id="aside_question-1")
    question = row(50, input=5, message_id="m2", request_id="r2", sidechain=True)
    tree.add("projects/-alpha/s1/subagents/agent-aside_question-1.jsonl", replay, question)
    assert tree.totals() == (15, 950)


def test_two_request_ids_without_a_sidechain_are_two_requests(tree: Tree) -> None:
    """The same message id under two request ids is billed twice."""
    tree.add(MAIN, row(900), row(900, request_id="r2"))
    assert tree.totals() == (20, 1800)


def test_a_late_row_merges_what_stood_apart(tree: Tree) -> None:
    """A row of the message without a request id makes one request of two."""
    tree.add(MAIN, row(900), row(800, request_id="r2"), row(1, request_id=None, after_s=9))
    assert tree.totals() == (10, 900)


def test_a_known_request_id_joins_the_request_that_bears_it(tree: Tree) -> None:
    """A row known only by request id unites every request that bears that id."""
    tree.add(MAIN, row(900), row(70, message_id="m2"))
    assert tree.totals() == (20, 970)
    tree.add(MAIN, row(5, message_id=None))
    assert tree.totals() == (10, 900)


def test_a_fork_copies_and_a_cut_fork_adds_nothing(tree: Tree) -> None:
    """Copied history counts once under the first session, wherever the copy is cut."""
    tree.add(MAIN, *STREAM)
    tree.add("projects/-alpha/s2.jsonl", *(replace(part, session="s2") for part in STREAM))
    tree.add("projects/-alpha/s3.jsonl", *(replace(part, session="s3") for part in STREAM[:2]))
    assert tree.totals() == (10, 900)
    assert [found["sessionId"] for found in sessions(truth_of_tree(tree.root))] == ["s1"]


@pytest.mark.parametrize("folder", ["s1/subagents", "s1/subagents/workflows/wf_1", "."])
def test_subagents_count_wherever_they_live(tree: Tree, folder: str) -> None:
    """Nested, workflow-nested and sibling agent files are all read."""
    tree.add(MAIN, *STREAM)
    tree.add(f"projects/-alpha/{folder}/agent-a1.jsonl", row(30, input=3, message_id="m2"))
    assert tree.totals() == (13, 930)


def test_a_quote_counts_when_the_agent_file_is_gone_and_once_when_not(tree: Tree) -> None:
    """Usage quoted in agent_progress counts under the very key of the agent's own file."""
    quoted = row(30, input=3, message_id="m2", request_id="r2", agent_id="a1")
    tree.add(MAIN, *STREAM, replace(quoted, quoted=True))
    assert tree.totals() == (13, 930)
    tree.add("projects/-alpha/s1/subagents/agent-a1.jsonl", replace(quoted, sidechain=True))
    assert tree.totals() == (13, 930)


def test_a_tool_use_result_never_counts(tree: Tree) -> None:
    """Usage inside a user line is a copy of what the agent's rows already say."""
    usage = b'"toolUseResult":{"usage":{"input_tokens":999,"output_tokens":999}}'
    tree.add(MAIN, *STREAM, b'{"type":"user","sessionId":"s1",' + usage + b"}")
    assert tree.totals() == (10, 900)


def test_windows_line_ends_count(tree: Tree) -> None:
    """CR LF ends a line as LF does."""
    tree.add(MAIN, *STREAM, end=b"\r\n")
    assert tree.totals() == (10, 900)


def test_a_nul_run_and_a_cut_line_cost_no_neighbour(tree: Tree) -> None:
    """Leading NULs are passed over; a cut line is skipped with its reason."""
    cut = emit_line(row(7, message_id="m2"))[:-20]
    tree.add(MAIN, b"\0" * 64 + emit_line(STREAM[2]), cut, *STREAM[:2])
    truth = truth_of_tree(tree.root)
    assert totals(truth) == (10, 900)
    assert truth.skips == {"malformed": 1}


def test_synthetic_rows_are_not_requests(tree: Tree) -> None:
    """The model `<synthetic>` marks local errors."""
    tree.add(MAIN, *STREAM, row(5, message_id="local", model="<synthetic>"))
    truth = truth_of_tree(tree.root)
    assert totals(truth) == (10, 900)
    assert truth.skips == {"synthetic": 1}


def test_a_whole_tail_without_newline_counts_and_half_a_line_waits(tree: Tree) -> None:
    """The last line counts as soon as it is a whole object."""
    tree.add(MAIN, *STREAM[:2])
    last = emit_line(STREAM[2])
    tree.add(MAIN, last[:-9], end=b"")
    assert totals(truth_of_tree(tree.root)) == (10, 1)
    assert truth_of_tree(tree.root).skips == {}
    tree.add(MAIN, last[-9:], end=b"")
    assert tree.totals() == (10, 900)


def test_advice_is_billed_apart_to_its_own_model(tree: Tree) -> None:
    """advisor_message entries add to the total, to their model, and not to the event count."""
    advice = Iteration(
        type="advisor_message",
        model="claude-opus-4-6",
        counters=Counters(input=100_000, output=1_000),
    )
    mirror = Iteration(type="message", counters=Counters(input=10, output=900))
    told = replace(STREAM[2], iterations=(mirror, advice), rich=True)
    tree.add(MAIN, *STREAM[:2], told, told)
    truth = truth_of_tree(tree.root)
    assert totals(truth) == (100_010, 1_900)
    assert summary(truth)["eventCount"] == 1
    assert summary(truth)["kinds"]["advisor"]["requests"] == 1
    assert [(found["model"], found["eventCount"]) for found in models(truth)] == [
        ("claude-opus-4-6", 0),
        ("claude-opus-5", 1),
    ]


def test_failed_fallbacks_are_listed_and_never_summed(tree: Tree) -> None:
    """The last fallback is the top level; those before it stand apart."""
    attempt = Iteration(type="fallback_message", model="x", counters=Counters(input=4, output=5))
    served = Iteration(type="fallback_message", model="y", counters=Counters(input=10, output=900))
    packed = Iteration(type="compaction", counters=Counters(input=2, output=3))
    tree.add(MAIN, replace(STREAM[2], iterations=(attempt, packed, served), rich=True))
    truth = truth_of_tree(tree.root)
    assert totals(truth) == (12, 903)
    kinds = summary(truth)["kinds"]
    assert kinds["fallback"] == {
        "requests": 1,
        "input": 4,
        "output": 5,
        "cacheCreate": 0,
        "cacheRead": 0,
    }
    assert kinds["compaction"]["requests"] == 1


def test_a_lone_surrogate_loses_no_row(tree: Tree) -> None:
    """Half an emoji in a text is the writer's fault, not the row's."""
    line = emit_line(replace(STREAM[2], chars=1)).replace(b'"x"', b'"\\ud83d"')
    tree.add(MAIN, line)
    assert tree.totals() == (10, 900)


def test_cache_writes_are_kept_apart_and_a_greater_breakdown_is_the_total(tree: Tree) -> None:
    """Five-minute and one-hour writes have their own counters; their sum is never below them."""
    line = emit_line(replace(ROW, counters=Counters(cache_create=5, cache_5m=7, cache_1h=3)))
    tree.add(MAIN, line)
    (request,) = truth_of_tree(tree.root).requests
    assert request.counters == Counters(cache_create=10, cache_5m=7, cache_1h=3)


def test_speed_and_searches_come_from_the_richest_row(tree: Tree) -> None:
    """Only the last row of an era is rich: the request takes its speed and its searches."""
    rich = row(900, speed="fast", stop=True, rich=True, after_s=3)
    tree.add(MAIN, replace(rich, counters=replace(rich.counters, web_search=100)), *STREAM[:2])
    (request,) = truth_of_tree(tree.root).requests
    assert (request.speed, request.counters.web_search, request.ts) == ("fast", 100, T0)


def test_a_placeholder_is_estimated_apart(tree: Tree) -> None:
    """With no stop reason, nothing rich and at most 10 output tokens, 248 characters are 100."""
    copies = replace(row(1, chars=200), uuid="u1")
    tree.add(MAIN, copies, copies, row(1, chars=48, after_s=1))
    tree.add("projects/-alpha/s2.jsonl", replace(copies, session="s2"))
    tree.add(MAIN, row(11, message_id="m2", request_id="r2", chars=999))
    said = summary(truth_of_tree(tree.root))
    assert said["partial"] == {"requests": 1, "share": 0.5, "estimatedOutput": 99}
    assert (said["totalInput"], said["totalOutput"]) == (20, 12)


def test_life_cycle_of_a_session(tree: Tree) -> None:
    """Every row ever read counts for good: 10/900, 30/950, 37/1020, 38/1025 through all changes."""
    seen: list[Row] = []

    def read() -> tuple[int, int]:
        seen.extend(read_tree(tree.root).rows)
        return totals(truth_of(seen))

    tree.add(MAIN, *STREAM[:2])
    assert read() == (10, 1)
    tree.add(MAIN, STREAM[2])
    assert read() == (10, 900)
    second = emit_line(row(50, input=20, message_id="m2", request_id="r2"))
    tree.add(MAIN, second[:40], end=b"")
    assert read() == (10, 900)
    tree.add(MAIN, second[40:])
    assert read() == (30, 950)
    third = row(70, input=7, message_id="m3", request_id="r3", session="s2", after_s=60)
    copy = [replace(part, session="s2") for part in STREAM]
    tree.add("projects/-alpha/s2.jsonl", *copy, third)
    assert read() == (37, 1020)
    (tree.root / MAIN).unlink()
    assert read() == (37, 1020)
    (tree.root / "projects/-alpha/s2.jsonl").unlink()
    assert read() == (37, 1020)
    tree.add(MAIN, row(5, input=1, message_id="m4", request_id="r4"))
    assert read() == (38, 1025)


def test_sessions_projects_and_series_come_from_the_first_row(tree: Tree) -> None:
    """A request belongs to the time, session and project of its smallest row."""
    late = row(900, after_s=7200, session="s2", cwd="/beta")
    other = row(5, input=1, message_id="m2", request_id="r2", session="s2", cwd=None, after_s=86400)
    tree.add(MAIN, late, other)
    tree.add("projects/-beta/s1.jsonl", row(1))
    truth = truth_of_tree(tree.root)
    assert sessions(truth) == [
        {
            "sessionId": "s1",
            "projectPath": "/alpha",
            "totalTokens": 910,
            "eventCount": 1,
            "firstTs": T0,
            "lastTs": T0,
        },
        {
            "sessionId": "s2",
            "projectPath": None,
            "totalTokens": 6,
            "eventCount": 1,
            "firstTs": T0 + 86_400_000,
            "lastTs": T0 + 86_400_000,
        },
    ]
    assert [found["projectPath"] for found in projects(truth)] == ["/alpha", None]
    assert [found["start"] for found in series(truth, "day")] == [T0, T0 + 86_400_000]
    local = series(truth, "day", "America/New_York")
    assert [found["start"] for found in local] == [T0 - 19 * 3_600_000, T0 + 5 * 3_600_000]


def test_since_is_inclusive_and_until_exclusive(tree: Tree) -> None:
    """A range takes requests by their origin's instant, exact to the millisecond."""
    tree.add(MAIN, *STREAM)
    rows = read_tree(tree.root).rows
    assert totals(truth_of(rows, since_ms=T0)) == (10, 900)
    assert totals(truth_of(rows, since_ms=T0 + 1)) == (0, 0)
    assert totals(truth_of(rows, until_ms=T0)) == (0, 0)
    assert totals(truth_of(rows, until_ms=T0 + 1)) == (10, 900)


def test_a_repeated_local_hour_is_two_buckets(tree: Tree) -> None:
    """Where clocks go back, both passes of the hour keep their own bucket."""
    tree.add(MAIN, row(1), row(2, message_id="m2", after_s=3600))
    first_pass = 1_793_511_000_000  # 2026-11-01T05:30:00Z, 01:30 in New York, twice that night
    shift = first_pass - T0
    rows = [replace(found, ts=found.ts + shift) for found in read_tree(tree.root).rows]
    buckets = series(truth_of(rows), "hour", "America/New_York")
    assert [found["start"] for found in buckets] == [
        first_pass - 1_800_000,
        first_pass + 1_800_000,
    ]


def test_files_that_are_no_transcripts_are_not_read(tree: Tree) -> None:
    """Journals, tool results, memories, metadata and links are left alone."""
    for path in (
        "projects/loose.jsonl",
        "projects/-alpha/journal.jsonl",
        "projects/-alpha/memory/a.jsonl",
        "projects/-alpha/s1/tool-results/agent-a.jsonl",
        "projects/-alpha/s1/subagents/journal.jsonl",
        "projects/-alpha/s1/subagents/agent-a.meta.json",
        "outside.jsonl",
    ):
        tree.add(path, *STREAM)
    (tree.root / MAIN).symlink_to(tree.root / "outside.jsonl")
    assert tree.totals() == (0, 0)
