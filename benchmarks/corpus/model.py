"""What a generated tree says, as frozen records.

Promises: plain values only, built with the standard library, sharing no code with the ingest they
are held against. Never reads a file, never interprets a line: `truth.py` and `disk.py` do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

KINDS = ("message", "advisor", "compaction", "fallback")
COUNTED_KINDS = KINDS[:3]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """Nine token and tool counters; every field is a non-negative integer."""

    input: int = 0
    output: int = 0
    cache_create: int = 0
    cache_read: int = 0
    cache_5m: int = 0
    cache_1h: int = 0
    web_search: int = 0
    web_fetch: int = 0
    thinking: int = 0

    @property
    def total(self) -> int:
        """Tokens of the four summed counters."""
        return self.input + self.output + self.cache_create + self.cache_read

    def maximum(self, other: Counters) -> Counters:
        """The field-wise maximum of both."""
        pairs = {f.name: max(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Counters(**pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Iteration:
    """One entry of `usage.iterations`, with its `type` as written."""

    type: str
    model: str | None = None
    counters: Counters = Counters()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What one usage row says, and where it stands.

    `path` is the absolute path as bytes, `offset` the byte offset of the line in it, `length` the
    line's bytes without its newline, `ts` epoch milliseconds. Absent ids are None, never "".
    """

    path: bytes = b""
    offset: int = -1
    length: int = 0
    message_id: str | None = None
    request_id: str | None = None
    uuid: str | None = None
    session: str = ""
    ts: int = 0
    sidechain: bool = False
    model: str | None = None
    tier: str | None = None
    speed: str | None = None
    stop: bool = False
    rich: bool = False
    counters: Counters = Counters()
    iterations: tuple[Iteration, ...] = ()
    chars: int = 0
    cwd: str | None = None
    agent_id: str | None = None
    branch: str | None = None
    version: str | None = None
    quoted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """A line that looked like a usage row and was not counted, with the reason."""

    path: bytes
    offset: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CostFigures:
    """Claude Code's own running figures of one model in one `cost-state` line."""

    session: str
    model: str
    figures: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An iteration that became a row of its own kind; shares its request's time and place."""

    kind: str
    index: int
    model: str | None
    counters: Counters


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request: the rows that were united, and what they say together."""

    rows: tuple[Row, ...]
    origin: Row
    counters: Counters
    model: str | None
    tier: str | None
    speed: str | None
    stop: bool
    rich: bool
    entries: tuple[Entry, ...]
    chars: int
    missing_output: int

    @property
    def ts(self) -> int:
        """The request's instant, epoch milliseconds: its origin row's."""
        return self.origin.ts

    @property
    def session(self) -> str:
        """The session of the origin row."""
        return self.origin.session

    @property
    def partial(self) -> bool:
        """Whether the log holds no more than a placeholder of this request's output."""
        return not self.stop and not self.rich and self.counters.output <= 10

    @property
    def message_ids(self) -> frozenset[str]:
        """Every message id among the rows."""
        return frozenset(row.message_id for row in self.rows if row.message_id)

    @property
    def request_ids(self) -> frozenset[str]:
        """Every request id among the rows."""
        return frozenset(row.request_id for row in self.rows if row.request_id)

    def lines(self) -> tuple[tuple[str, str | None, Counters], ...]:
        """Every (kind, model, counters) of this request, its own line first."""
        own = (("message", self.model, self.counters),)
        return own + tuple((entry.kind, entry.model, entry.counters) for entry in self.entries)


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """The right answer for a set of rows; `answers.py` renders it as the JSON of the product."""

    requests: tuple[Request, ...]
    tz: str = "UTC"
    skips: Mapping[str, int] = field(default_factory=dict)
    cost_states: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        """Tokens of the kinds that are summed."""
        return sum(
            counters.total
            for request in self.requests
            for kind, _, counters in request.lines()
            if kind in COUNTED_KINDS
        )
