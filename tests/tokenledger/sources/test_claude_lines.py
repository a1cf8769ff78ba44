"""Claude Code's lines: what counts, and what is skipped for which reason."""

from __future__ import annotations

import json

import pytest

from benchmarks.corpus import START_MS, Counters, Iteration
from instar_host.store.tail import Lines
from instar_tokenledger.sources.claude_lines import decode
from instar_tokenledger.usage import UsageRow
from tests.tokenledger.homes import said, with_changes, with_message, with_usage
from tests.tokenledger.sources.decoding import decoded, reason_of, row_of


def test_a_line_gives_every_field_the_ledger_keeps() -> None:
    """Ids, all counters, model, tier, speed, place, version and offset come from the line."""
    counters = Counters(
        input=1, output=2, cache_create=30, cache_read=4, cache_5m=10, cache_1h=20, web_search=5,
        web_fetch=6, thinking=1,
    )  # fmt: skip
    line = said(
        "m", "r", counters=counters, uuid="u", tier="standard", speed="fast", branch="main",
        version="2.1.98", agent_id="a1", stop=True, rich=True,
    )  # fmt: skip
    row = row_of(line, offset=77)
    assert row == UsageRow(
        session="session-1", at_ms=START_MS, offset=77,
        counters=type(row.counters)(1, 2, 30, 4, 10, 20, 5, 6, 1),
        message_id="m", request_id="r", row_id="u", model="claude-opus-4-5", tier="standard",
        speed="fast", project="/home/dev/app", agent="a1", branch="main", version="2.1.98",
        has_stop=True, rich=True,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["user", "system", "summary", "attachment", "mode"])
def test_other_line_types_neither_count_nor_are_skipped(kind: str) -> None:
    """D1-5: only assistant lines, quotes of them and cost states are looked at."""
    line = with_changes(said(), type=kind)
    head_first = b'{"type":"%b",%b' % (kind.encode(), with_changes(said(), type=None)[1:])
    for found in (decoded(line), decoded(head_first)):
        assert (list(found.rows), dict(found.skips)) == ([], {})


def test_a_tool_result_with_usage_inside_does_not_count() -> None:
    """`toolUseResult.usage` of a finished task is that task's, and stands in its own file."""
    line = b'{"type":"user","sessionId":"s","toolUseResult":{"usage":{"output_tokens":900}}}'
    nested = with_changes(said(), type="user", toolUseResult=json.loads(said()))
    assert decoded(line, nested).rows == []


def test_a_quoted_line_counts_with_what_only_the_outer_line_knows() -> None:
    """`agent_progress` quotes a subagent's row: its own ids, the outer session, a sidechain."""
    row = row_of(said("m", "r", quoted=True, uuid="u", agent_id="a7", version="2.1.30"))
    assert (row.message_id, row.request_id, row.row_id) == ("m", "r", "u")
    assert (row.session, row.project, row.agent) == ("session-1", "/home/dev/app", "a7")
    assert row.sidechain


def test_a_quote_that_names_its_own_session_keeps_it() -> None:
    """What the quoted object says of itself goes before what the outer line says."""
    outer = json.loads(said("m", "r", quoted=True))
    outer["data"]["message"] |= {"sessionId": "inner", "cwd": "/inner"}
    row = row_of(json.dumps(outer).encode())
    assert (row.session, row.project) == ("inner", "/inner")


@pytest.mark.parametrize("text", ["cut \ud83d", "\ude00 cut", "a\ud83db"])
def test_a_lone_surrogate_does_not_lose_the_line(text: str) -> None:
    """L2: JavaScript cuts text inside an emoji; the usage counts and the text is replaced."""
    cut = json.dumps(text).encode()
    line = with_message(said(), content=[{"type": "text", "text": "@"}]).replace(b'"@"', cut)
    assert row_of(line).counters.output == 900
    project = row_of(said(cwd="@").replace(b'"@"', cut)).project
    assert project == text.replace("\ud83d", "\ufffd").replace("\ude00", "\ufffd")


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\xbd", b"\xc0\xaf", b"\x80"])
def test_bytes_that_are_not_utf_8_do_not_lose_the_line(bad: bytes) -> None:
    """L3: invalid, surrogate and overlong bytes in text or in a name leave the usage standing."""
    line = said(cwd="/tmp/@@")
    assert row_of(line.replace(b"@@", bad)).counters.output == 900
    content = with_message(said(), content=[{"type": "text", "text": "@@"}])
    assert row_of(content.replace(b"@@", bad)).counters.output == 900


def test_nul_bytes() -> None:
    """L4: a run of NUL that a crash left before a line is passed over; one inside is malformed."""
    assert row_of(b"\0" * 4096 + said()).counters.output == 900
    assert reason_of(said().replace(b'"requestId":"', b'"requestId":"\0')) == "malformed"
    nothing = decoded(b"\0" * 512)
    assert (list(nothing.rows), dict(nothing.skips)) == ([], {})


def test_a_byte_order_mark_counts_only_at_the_start_of_the_file() -> None:
    """L5, C-36: a BOM is stripped at offset 0 and nowhere else; UTF-16 is malformed."""
    assert row_of(b"\xef\xbb\xbf" + said()).counters.output == 900
    assert reason_of(b"\xef\xbb\xbf" + said(), offset=10) == "malformed"
    assert "malformed" in decoded(said().decode().encode("utf-16")).skips


@pytest.mark.parametrize(
    "line",
    [
        said() + b"\r",
        b" \t" + said() + b" ",
        said().replace(b"{", b"{ ", 1),
        said(cwd="a\u2028b\u2029c"),
        json.dumps(json.loads(said()), ensure_ascii=True, indent=None).encode(),
        json.dumps(dict(reversed(json.loads(said()).items()))).encode(),
        with_changes(said(), novelty={"usage": {"output_tokens": 7}}, type2="user"),
    ],
)
def test_spelling_does_not_matter(line: bytes) -> None:
    """L6, L14: CRLF, spaces, U+2028, other key orders, escapes and new fields say the same."""
    row = row_of(line)
    assert (row.counters.input, row.counters.output, row.message_id) == (10, 900, "msg_1")


def test_blank_lines_are_nothing() -> None:
    """L6: blank lines, spaces and lone returns neither count nor are skipped."""
    found = decoded(b"", b"  ", b"\t", b"\r", said(), b"", b"\r\r")
    assert len(found.rows) == 1
    assert dict(found.skips) == {}


@pytest.mark.parametrize(
    ("value", "counted"),
    [(0, 0), (1.0, 1), (2**53, 2**53), (None, 0), (1e3, 1000), (True, None), (False, None),
     ("12", None), ("abc", None), (-1, None), (-5, None), (1.5, None), (2**53 + 1, None),
     (2**63, None), (2**64, None), (10**400, None), (1e21, None), ([], None), ({}, None)],
)  # fmt: skip
def test_counters_are_whole_numbers_up_to_2_to_the_53(value: object, counted: int | None) -> None:
    """L7, C-22: anything else is skipped as a bad number; nothing is ever stored as text."""
    for name in ("output_tokens", "cache_read_input_tokens"):
        line = with_usage(said(), **{name: value})
        if counted is None:
            assert reason_of(line) == "bad-number"
        else:
            row = row_of(line)
            found = row.counters.output if name == "output_tokens" else row.counters.cache_read
            assert found == counted


@pytest.mark.parametrize("spelling", [b"NaN", b"Infinity", b"-Infinity", b"1e400"])
def test_not_a_number_never_becomes_one(spelling: bytes) -> None:
    """L8: NaN and the infinities in a counter are skipped; outside the usage they do no harm."""
    line = with_usage(said(), output_tokens="@")
    assert reason_of(line.replace(b'"@"', spelling)) in {"bad-number", "malformed"}
    outside = with_changes(said(), novelty="@").replace(b'"@"', spelling)
    found = decoded(outside)
    assert len(found.rows) + sum(found.skips.values()) == 1


@pytest.mark.parametrize("depth", [10_000, 100_000, 1_000_000])
def test_deep_nesting_is_a_reason_not_a_crash(depth: int) -> None:
    """L9: a line nested without end is skipped, and the next one counts."""
    deep = b'{"type":"assistant","message":{"content":' + b"[" * depth + b"]" * depth + b"}}"
    found = decoded(deep, said())
    assert len(found.rows) == 1
    assert set(found.skips) <= {"too-deep", "malformed"}


def test_a_key_given_twice_counts_once() -> None:
    """L9: of a duplicate key one value wins, as in any JSON reader."""
    line = said().replace(b'"output_tokens":900', b'"output_tokens":1,"output_tokens":900')
    assert row_of(line).counters.output == 900


@pytest.mark.parametrize(
    "line",
    [said() + said(), said() + b"}", said()[:-1], said()[: said().index(b'"usage"') + 30],
     b"hello", b"{", b'{"type":"assistant"', said()[:-1] + b",}",
     said()[: said().index(b'"message"')] + said()],
)  # fmt: skip
def test_a_line_that_is_not_one_object_is_malformed(line: bytes) -> None:
    """L10, D1-3: two objects, half an object and trailing text are counted by reason."""
    assert reason_of(line) == "malformed"


@pytest.mark.parametrize("line", [b"null", b"[1,2]", b"42", b'"text"', b"true"])
def test_a_line_that_is_json_but_no_object(line: bytes) -> None:
    """C-17: a bare null or another value is skipped by reason and stops nothing."""
    found = decoded(line, said())
    assert len(found.rows) == 1
    assert dict(found.skips) == {"not-object": 1}


@pytest.mark.parametrize(
    ("stamp", "at_ms"),
    [("2026-01-05T00:00:00.000Z", START_MS), ("2026-01-05T02:00:00+02:00", START_MS),
     ("2026-01-04T18:30:00.5-05:30", START_MS + 500), ("1970-01-01T00:00:00Z", 0),
     ("9999-12-31T23:59:59Z", 253_402_300_799_000)],
)  # fmt: skip
def test_instants_with_an_offset_are_read(stamp: str, at_ms: int) -> None:
    """L12: every ISO 8601 form that names an instant is that instant."""
    assert row_of(with_changes(said(), timestamp=stamp)).at_ms == at_ms


@pytest.mark.parametrize(
    "stamp",
    ["May 1 2026", "2026-01-05T10:00:00", "2026-01-05", "yesterday", "2026-13-05T10:00:00Z",
     "0000-01-01T00:00:00Z", "2026-01-05T10:00:60Z", "1969-12-31T23:59:59Z", "1767571200000"],
)  # fmt: skip
def test_what_names_no_instant_is_a_bad_timestamp(stamp: str) -> None:
    """C-37, L12: local times and impossible ones are refused, so that no zone changes a number."""
    assert reason_of(with_changes(said(), timestamp=stamp)) == "bad-timestamp"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (with_message(said(), usage=None), "no-usage"),
        (with_changes(said(), message=None), "no-usage"),
        (with_message(said(), usage=[]), "no-usage"),
        (said(model="<synthetic>"), "synthetic"),
        (with_changes(said(), sessionId=None), "no-session-id"),
        (with_changes(said(), sessionId=""), "no-session-id"),
        (with_changes(said(), timestamp=None), "no-timestamp"),
        (with_changes(said(), timestamp=""), "no-timestamp"),
        (said(None, None), "no-identity"),
        (said("", "", uuid=""), "no-identity"),
    ],
)
def test_what_is_missing_is_the_reason(line: bytes, reason: str) -> None:
    """D1-2: an assistant line that cannot count says which part was missing."""
    assert reason_of(line) == reason


def test_any_one_id_is_enough() -> None:
    """C-30: without a request id the message id counts, without both the row's own id."""
    assert row_of(said("m", None)).message_id == "m"
    assert row_of(said(None, "r")).request_id == "r"
    assert row_of(said(None, None, uuid="u")).row_id == "u"


@pytest.mark.parametrize("name", ["requestId", "uuid", "cwd", "gitBranch", "version"])
@pytest.mark.parametrize("value", [42, True, [], {"a": 1}])
def test_an_odd_member_does_not_lose_the_line(name: str, value: object) -> None:
    """C-20, C-22: a member of another type counts as absent, and is never stored as text."""
    row = row_of(with_changes(said(uuid="u"), **{name: value}))
    assert row.counters.output == 900
    assert (row.request_id, row.row_id, row.project)[0] in ("req_1", "")


def test_unknown_models_and_new_usage_keys_count() -> None:
    """L13: what a newer client writes is counted as far as it is understood."""
    line = with_usage(said(model="claude-next-9"), novel_tokens=5, nested={"x": [1]})
    assert row_of(line).model == "claude-next-9"


def test_the_split_of_cache_writes() -> None:
    """Parts are kept apart, absent ones are 0, and a sum above the total is the total."""
    plain = row_of(said(counters=Counters(cache_create=9))).counters
    assert (plain.cache_create, plain.cache_5m, plain.cache_1h) == (9, 0, 0)
    above = with_usage(
        said(counters=Counters(cache_create=9)),
        cache_creation={"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 8},
    )
    assert row_of(above).counters.cache_create == 15


def test_iterations_the_top_level_leaves_out() -> None:
    """Advisors, compactions and every fallback attempt but the last one are entries."""
    types = ("message", "advisor_message", "fallback_message", "compaction", "fallback_message")
    iterations = tuple(
        Iteration(type=name, model=f"m{i}", counters=Counters(input=i))
        for i, name in enumerate(types)
    )
    found = row_of(said(rich=True, iterations=iterations)).iterations
    assert [(i.kind, i.index, i.model, i.counters.input) for i in found] == [
        ("advisor", 1, "m1", 1),
        ("fallback", 2, "m2", 2),
        ("compaction", 3, "m3", 3),
    ]


@pytest.mark.parametrize("value", [-1, 1.5, 2**60, "12", True])
def test_a_bad_number_in_an_iteration_skips_its_line_alone(value: object) -> None:
    """L7: an iteration is checked like the usage around it, and the lines beside it count."""
    entry = {"type": "advisor_message", "output_tokens": value}
    found = decoded(said("m1", "r1"), with_usage(said(), iterations=[entry]), said("m3", "r3"))
    assert [row.message_id for row in found.rows] == ["m1", "m3"]
    assert dict(found.skips) == {"bad-number": 1}


def test_cost_states_are_read() -> None:
    """A `cost-state` line gives one figure a model and no usage."""
    line = (
        b'{"type":"cost-state","sessionId":"s","modelUsage":'
        b'{"m":{"inputTokens":5,"outputTokens":6,"costUSD":0.25}}}'
    )
    found = decoded(line)
    assert not found.rows
    (state,) = found.cost_states
    assert (state.session, state.model, state.cost_micro_usd) == ("s", "m", 250_000)
    assert (state.counters.input, state.counters.output) == (5, 6)


def test_half_a_line_at_the_end_is_neither_counted_nor_skipped() -> None:
    """T6: what is still being written waits; a whole object without its newline counts."""
    half = decoded(said()[:-20], terminated=False)
    assert (list(half.rows), dict(half.skips)) == ([], {})
    assert len(decoded(said(), terminated=False).rows) == 1


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_offsets_are_those_of_the_file(ending: bytes) -> None:
    """Provenance is the byte where the line begins, whatever ends the lines before it."""
    lines = [said("m1"), b"broken", said("m2"), b"", said("m3")]
    data = ending.join(lines) + ending
    rows = decode(Lines(data=data, offset=1000), b"").rows
    for row in rows:
        assert data[row.offset - 1000 :].startswith(said(row.message_id)[:20])
    assert [row.message_id for row in rows] == ["m1", "m2", "m3"]
