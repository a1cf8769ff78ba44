"""Claude Code's transcript lines, decoded: bytes in, usage rows and counted skips out.

Never raises for any input and never opens anything. Most bytes are passed over without a decode:
the first `"type":"` of a line, when no second object opens before it, is the line's own type, and
the types without usage are skipped by their head. Everything that is not plainly one of those
goes to the decoder.
"""

from __future__ import annotations

import msgspec

from instar_host.store.tail import Lines
from instar_tokenledger.sources.claude_rows import Run
from instar_tokenledger.sources.claude_salvage import Refused, salvage
from instar_tokenledger.sources.claude_shapes import CostLine, Line, ModelCost, ProgressLine
from instar_tokenledger.usage import MAX_COUNT, CostState, Counters, Decoded, UsageRow

HEAD_BYTES = 700
"""How far into a line its own type may stand and still be found without a decode."""

TYPE_KEY = b'"type":"'
WITHOUT_USAGE = (
    b'user"', b'system"', b'summary"', b'file-history-snapshot"', b'file-history-delta"',
    b'queue-operation"', b'attachment"', b'last-prompt"', b'ai-title"', b'custom-title"',
    b'agent-name"', b'mode"', b'permission-mode"', b'pr-link"', b'worktree-state"',
    b'atis-latch"', b'tag"',
)  # fmt: skip
MICRO = 1_000_000
OPENING, CLOSING, RETURN = 0x7B, 0x7D, 0x0D
"""The bytes `{`, `}` and carriage return."""

_line = msgspec.json.Decoder(Line)
_progress = msgspec.json.Decoder(ProgressLine)
_cost = msgspec.json.Decoder(CostLine)
_undecodable = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(lines: Lines, _state: bytes = b"") -> Decoded:
    """Every usage row in `lines`, in file order. An unfinished line counts when it is a whole
    object.
    """
    reading = _Reading()
    skips: dict[str, int] = {}
    data, base = lines.data, lines.offset
    for start, end in candidates(data):
        try:
            reading.take(data[start:end], base + start)
        except Refused as refused:
            if lines.terminated:  # half a line is not a bad line: the rest of it is still to come
                skips[refused.reason] = skips.get(refused.reason, 0) + 1
    reading.end_run()
    return Decoded(rows=reading.rows, cost_states=reading.costs, skips=skips)


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
            at = find(TYPE_KEY, start, head_end if head_end < end else end)  # noqa: FURB136 - hot
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


class _Reading:
    """What has been read of some lines, with the run that may still go on."""

    def __init__(self) -> None:
        self.rows: list[UsageRow] = []
        self.costs: list[CostState] = []
        self._run: Run | None = None

    def take(self, line: bytes, offset: int) -> None:
        """Take in one line. Raises `Refused` for one that should count and cannot."""
        try:
            parsed = _line.decode(line)
            if parsed.type == "assistant":
                self._take_usage(parsed, offset)
            elif parsed.type == "progress":
                self._take_quote(_progress.decode(line), offset)
            elif parsed.type == "cost-state":
                self.costs.extend(_cost_states(_cost.decode(line)))
        except _undecodable:
            self._take_salvaged(line, offset)

    def end_run(self) -> None:
        """Make a row of the lines gathered so far."""
        if self._run is not None:
            self.rows.append(self._run.row(self.rows[-1] if self.rows else None))
            self._run = None

    def _take_usage(self, line: Line, offset: int) -> None:
        if self._run is not None and self._run.takes(line, offset):
            return
        self.end_run()
        self._run = Run(line, offset)

    def _take_salvaged(self, line: bytes, offset: int) -> None:
        """The slow way, for lines the decoder refuses: lone surrogates, odd types, bad bytes
        outside the usage."""
        parsed = salvage(line, at_file_start=offset == 0)
        if isinstance(parsed, Line):
            self._take_usage(parsed, offset)
        elif isinstance(parsed, ProgressLine):
            self._take_quote(parsed, offset)
        elif isinstance(parsed, CostLine):
            self.costs.extend(_cost_states(parsed))

    def _take_quote(self, progress: ProgressLine, offset: int) -> None:
        """A progress line quotes a subagent's line; the quote is all that is left once that file is
        deleted.
        """
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
        self._take_usage(quote, offset)


def _cost_states(line: CostLine) -> list[CostState]:
    if not line.sessionId or not line.modelUsage:
        return []
    return [_cost_state(line.sessionId, model, cost) for model, cost in line.modelUsage.items()]


def _cost_state(session: str, model: str, cost: ModelCost) -> CostState:
    dollars = cost.costUSD
    if not 0 <= dollars <= MAX_COUNT / MICRO:
        raise Refused("bad-number")
    return CostState(
        session=session,
        model=model,
        cost_micro_usd=round(dollars * MICRO),
        counters=Counters(
            input=cost.inputTokens,
            output=cost.outputTokens,
            cache_create=cost.cacheCreationInputTokens,
            cache_read=cost.cacheReadInputTokens,
            web_searches=cost.webSearchRequests,
            thinking=cost.thinkingTokens,
        ),
    )
