"""Claude Code's transcript lines, decoded: bytes in, usage rows and counted skips out.

Never raises for any input and never opens anything. Most bytes are passed over without a decode:
the first `"type":"` of a line, when no second object opens before it, is the line's own type, and
the types without usage are skipped by their head. Everything that is not plainly one of those
goes to the decoder.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from instar_host.store.tail import Lines
from instar_tokenledger.accounting import PARTIAL_OUTPUT
from instar_tokenledger.sources.claude_content import content_chars
from instar_tokenledger.sources.claude_salvage import Refused, salvage
from instar_tokenledger.sources.claude_shapes import (
    CacheCreation,
    CostLine,
    IterationUsage,
    Line,
    ModelCost,
    Number,
    ProgressLine,
    Usage,
)
from instar_tokenledger.usage import (
    MAX_COUNT,
    CostState,
    Counters,
    Decoded,
    Iteration,
    UsageRow,
)

HEAD_BYTES = 700
"""How far into a line its own type may stand and still be found without a decode."""

TYPE_KEY = b'"type":"'
WITHOUT_USAGE = (
    b'user"', b'system"', b'summary"', b'file-history-snapshot"', b'file-history-delta"',
    b'queue-operation"', b'attachment"', b'last-prompt"', b'ai-title"', b'custom-title"',
    b'agent-name"', b'mode"', b'permission-mode"', b'pr-link"', b'worktree-state"',
    b'atis-latch"', b'tag"',
)  # fmt: skip
SYNTHETIC = "<synthetic>"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MICRO = 1_000_000
OPENING, CLOSING, RETURN = 0x7B, 0x7D, 0x0D
"""The bytes `{`, `}` and carriage return."""

_line = msgspec.json.Decoder(Line)
_progress = msgspec.json.Decoder(ProgressLine)
_cost = msgspec.json.Decoder(CostLine)
_undecodable = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(lines: Lines, _state: bytes = b"") -> Decoded:
    """Every usage row in `lines`, in file order. An unfinished line counts when it is a whole
    object."""
    rows: list[UsageRow] = []
    costs: list[CostState] = []
    skips: dict[str, int] = {}
    data, base = lines.data, lines.offset
    for start, end in candidates(data):
        try:
            _take(data[start:end], base + start, rows, costs)
        except Refused as refused:
            if lines.terminated:  # half a line is not a bad line: the rest of it is still to come
                skips[refused.reason] = skips.get(refused.reason, 0) + 1
    return Decoded(rows=rows, cost_states=costs, skips=skips)


def candidates(data: bytes) -> list[tuple[int, int]]:
    """Bounds of the lines that may carry usage, or that cannot be judged without a decode."""
    found: list[tuple[int, int]] = []
    find = data.find
    size = len(data)
    start = 0
    while start < size:
        end = find(b"\n", start)
        if end < 0:
            end = size
        if end > start:
            head_end = start + HEAD_BYTES
            at = find(TYPE_KEY, start, min(end, head_end))
            if at < 0 or find(b"{", start + 1, at) >= 0 or not _whole(data, start, end):
                if _may_count(data, start, end):
                    found.append((start, end))
            elif not data.startswith(WITHOUT_USAGE, at + len(TYPE_KEY)) and (
                not data.startswith(b"progress", at + len(TYPE_KEY))
                or (find(b'"agent_progress"', at, end) > 0 and find(b'"usage"', at, end) > 0)
            ):
                found.append((start, end))
        start = end + 1
    return found


def _whole(data: bytes, start: int, end: int) -> bool:
    """True for a line that looks like one object: a cut one hardly ever does."""
    return data[start] == OPENING and (
        data[end - 1] == CLOSING
        or (data[end - 1] == RETURN and end - 1 > start and data[end - 2] == CLOSING)
    )


def _may_count(data: bytes, start: int, end: int) -> bool:
    return (
        data.rfind(b'"usage"', start, end) > 0
        or not _whole(data, start, end)
        or data.find(b'"type":"assistant"', start, end) > 0
    )


def _take(line: bytes, offset: int, rows: list[UsageRow], costs: list[CostState]) -> None:
    try:
        parsed = _line.decode(line)
        if parsed.type == "assistant":
            rows.append(_row(parsed, offset))
        elif parsed.type == "progress":
            _take_quote(_progress.decode(line), offset, rows)
        elif parsed.type == "cost-state":
            costs.extend(_cost_states(_cost.decode(line)))
    except _undecodable:
        _take_salvaged(line, offset, rows, costs)


def _take_salvaged(line: bytes, offset: int, rows: list[UsageRow], costs: list[CostState]) -> None:
    """The slow way, for lines the decoder refuses: lone surrogates, odd types, bad bytes outside
    the usage."""
    parsed = salvage(line, at_file_start=offset == 0)
    if isinstance(parsed, Line):
        rows.append(_row(parsed, offset))
    elif isinstance(parsed, ProgressLine):
        _take_quote(parsed, offset, rows)
    elif isinstance(parsed, CostLine):
        costs.extend(_cost_states(parsed))


def _take_quote(progress: ProgressLine, offset: int, rows: list[UsageRow]) -> None:
    """A progress line quotes a subagent's line; the quote is all that is left once that file is
    deleted."""
    data = progress.data
    if data is None or data.type != "agent_progress" or data.message is None:
        return
    quote = data.message
    if quote.type != "assistant" or quote.message is None or quote.message.usage is None:
        return
    quote.sessionId = quote.sessionId or progress.sessionId
    quote.cwd = quote.cwd or progress.cwd
    quote.version = quote.version or progress.version
    quote.gitBranch = quote.gitBranch or progress.gitBranch
    quote.agentId = quote.agentId or data.agentId
    quote.isSidechain = True
    rows.append(_row(quote, offset))


def _row(line: Line, offset: int) -> UsageRow:
    message = line.message
    usage = message.usage if message is not None else None
    if message is None or usage is None:
        raise Refused("no-usage")
    if message.model == SYNTHETIC:
        raise Refused("synthetic")
    if not line.sessionId:
        raise Refused("no-session-id")
    at_ms = instant_ms(line.timestamp)
    counters = _counters(usage)
    if not (message.id or line.requestId or line.uuid):
        raise Refused("no-identity")
    rich = bool(usage.iterations) or usage.speed is not None or usage.server_tool_use is not None
    has_stop = bool(message.stop_reason)
    partial = not has_stop and not rich and counters.output <= PARTIAL_OUTPUT
    return UsageRow(
        session=line.sessionId,
        at_ms=at_ms,
        offset=offset,
        counters=counters,
        message_id=message.id or "",
        request_id=line.requestId or "",
        row_id=line.uuid or "",
        model=message.model or "",
        tier=usage.service_tier or "",
        speed=usage.speed or "",
        project=line.cwd or "",
        agent=line.agentId or "",
        branch=line.gitBranch or "",
        version=line.version or "",
        sidechain=bool(line.isSidechain),
        has_stop=has_stop,
        has_iterations=bool(usage.iterations),
        rich=rich,
        iterations=_iterations(usage.iterations) if usage.iterations else (),
        content_chars=content_chars(message.content) if partial else 0,
    )


def instant_ms(text: str | None) -> int:
    """Epoch milliseconds of an ISO 8601 instant. A local time names no instant and is refused."""
    if not text:
        raise Refused("no-timestamp")
    try:
        instant = datetime.fromisoformat(text)
        at_ms = (instant - EPOCH) // MILLISECOND
    except (ValueError, TypeError, OverflowError):
        raise Refused("bad-timestamp") from None
    if at_ms < 0:
        raise Refused("bad-timestamp")
    return at_ms


def _counters(usage: Usage) -> Counters:
    tools = usage.server_tool_use
    details = usage.output_tokens_details
    return _checked(
        usage,
        tools.web_search_requests if tools else 0,
        tools.web_fetch_requests if tools else 0,
        details.thinking_tokens if details else 0,
    )


def _checked(
    usage: Usage | IterationUsage,
    searches: Number = 0,
    fetches: Number = 0,
    thinking: Number = 0,
) -> Counters:
    parts: CacheCreation | None = usage.cache_creation
    values = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
        parts.ephemeral_5m_input_tokens if parts else 0,
        parts.ephemeral_1h_input_tokens if parts else 0,
        searches,
        fetches,
        thinking,
    )
    counters = Counters._make(map(count, values))
    split = counters.cache_5m + counters.cache_1h
    return counters if split <= counters.cache_create else counters._replace(cache_create=split)


def count(value: Number) -> int:
    """A counter as a whole number from 0 to 2**53; null is 0, 1e3 is 1000, anything else is
    refused."""
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer() and 0 <= value <= MAX_COUNT:
        return int(value)
    raise Refused("bad-number")


def _iterations(entries: list[IterationUsage]) -> tuple[Iteration, ...]:
    """What the top level leaves out: advisors, compactions, and every fallback attempt but the
    serving one."""
    last_fallback = max(
        (i for i, entry in enumerate(entries) if entry.type == "fallback_message"), default=-1
    )
    found: list[Iteration] = []
    for i, entry in enumerate(entries):
        if entry.type == "advisor_message":
            found.append(Iteration("advisor", i, entry.model or "", _checked(entry)))
        elif entry.type == "compaction":
            found.append(Iteration("compaction", i, entry.model or "", _checked(entry)))
        elif entry.type == "fallback_message" and i != last_fallback:
            found.append(Iteration("fallback", i, entry.model or "", _checked(entry)))
    return tuple(found)


def _cost_states(line: CostLine) -> list[CostState]:
    if not line.sessionId or not line.modelUsage:
        return []
    return [_cost_state(line.sessionId, model, cost) for model, cost in line.modelUsage.items()]


def _cost_state(session: str, model: str, cost: ModelCost) -> CostState:
    dollars = cost.costUSD or 0
    if not 0 <= dollars <= MAX_COUNT / MICRO:
        raise Refused("bad-number")
    return CostState(
        session=session,
        model=model,
        cost_micro_usd=round(dollars * MICRO),
        counters=Counters(
            input=count(cost.inputTokens),
            output=count(cost.outputTokens),
            cache_create=count(cost.cacheCreationInputTokens),
            cache_read=count(cost.cacheReadInputTokens),
            web_searches=count(cost.webSearchRequests),
            thinking=count(cost.thinkingTokens),
        ),
    )
