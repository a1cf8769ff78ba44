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
LIKELY = frozenset({b"mess", b"assi"})
"""How the first type in an assistant's line begins: that of its message, or its own."""
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
    data, base, take = lines.data, lines.offset, reading.take
    find, view, size = data.find, memoryview(data), len(data)
    start = 0
    while start < size:
        end = find(b"\n", start)
        if end < 0:
            end = size
        at = find(TYPE_KEY, start, start + HEAD_BYTES)
        if (0 <= at < end and data[at + 8 : at + 12] in LIKELY) or (
            start < end and _may_count(data, start, end, at if at < end else -1)
        ):
            try:
                take(view[start:end], base + start)
            except Refused as refused:
                if lines.terminated:  # half a line is no bad line: the rest of it is to come
                    reading.skip(refused.reason)
        start = end + 1
    reading.end_run()
    return Decoded(rows=reading.rows, cost_states=reading.costs, skips=reading.skips)


def _may_count(data: bytes, start: int, end: int, at: int) -> bool:
    """True for a line that may carry usage, or that cannot be judged without a decode. `at`: where
    the first type in its head stands, or -1."""
    if not _whole(data, start, end):
        return True
    if at < 0 or data.find(b"{", start + 1, at) >= 0:
        return (
            data.rfind(b'"usage"', start, end) > 0
            or data.find(b'"type":"assistant"', start, end) > 0
        )
    kind = at + len(TYPE_KEY)
    return not data.startswith(WITHOUT_USAGE, kind) and (
        not data.startswith(b"progress", kind)
        or (data.find(b'"agent_progress"', at, end) > 0 and data.find(b'"usage"', at, end) > 0)
    )


def _whole(data: bytes, start: int, end: int) -> bool:
    """True for a line that looks like one object: a cut one hardly ever does."""
    return data[start] == OPENING and (
        data[end - 1] == CLOSING
        or (data[end - 1] == RETURN and end - 1 > start and data[end - 2] == CLOSING)
    )


class _Reading:
    """What has been read of some lines, with the run that may still go on."""

    __slots__ = ("_run", "costs", "rows", "skips")

    def __init__(self) -> None:
        self.rows: list[UsageRow] = []
        self.costs: list[CostState] = []
        self.skips: dict[str, int] = {}
        self._run: Run | None = None

    def take(self, line: memoryview, offset: int) -> None:
        """Take in one line. Raises `Refused` for one that should count and cannot."""
        try:
            parsed = _line.decode(line)
            if parsed.type == "assistant":
                run = self._run
                if run is None or not run.takes(parsed, offset):
                    self.end_run()
                    self._run = Run(parsed, offset)
            elif parsed.type == "progress":
                self._take_quote(_progress.decode(line), offset)
            elif parsed.type == "cost-state":
                self.costs.extend(_cost_states(_cost.decode(line)))
        except _undecodable:
            self._take_salvaged(bytes(line), offset)

    def skip(self, reason: str) -> None:
        """Count a line that should have counted and could not."""
        self.skips[reason] = self.skips.get(reason, 0) + 1

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
