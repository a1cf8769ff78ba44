"""What one transcript line says about usage, as frozen structs: the edge of the ledger.

A source decodes lines into these; nothing behind it validates again. Counters are integers from 0
to 2**53, instants are epoch milliseconds, absent text is the empty string.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from instar_host.store.tail import Lines

MAX_COUNT = 2**53
"""The largest counter we believe: what a JavaScript agent can write exactly."""

Semantics = Literal["snapshot", "cumulative"]
Kind = Literal["message", "advisor", "compaction", "fallback"]

KINDS: tuple[Kind, ...] = ("message", "advisor", "compaction", "fallback")
"""In the order of their numbers in the store. The first three are billed; a fallback is listed
only."""


class Counters(NamedTuple):
    """Tokens (and web requests) of one row, request or total."""

    input: int = 0
    output: int = 0
    cache_create: int = 0
    cache_read: int = 0
    cache_5m: int = 0
    """Part of `cache_create` written for five minutes, where the agent tells."""
    cache_1h: int = 0
    """Part of `cache_create` written for an hour, where the agent tells."""
    web_searches: int = 0
    web_fetches: int = 0
    thinking: int = 0
    """Part of `output`, where the agent tells."""


NOTHING = Counters()


class Iteration(msgspec.Struct, frozen=True, gc=False):
    """One entry of `usage.iterations` that the top level does not contain."""

    kind: Kind
    index: int
    """Its place in the list; with `kind` its identity inside the request."""
    model: str
    """Empty: the request's own model."""
    counters: Counters


class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """One line that carries usage, or successive lines of one request that only add to the first.

    Rows of one request share ids and are merged by the accounting.
    """

    session: str
    at_ms: int
    """When it was, milliseconds since 1970 UTC; an integer."""
    offset: int
    """Byte offset of the line in its file."""
    counters: Counters
    message_id: str = ""
    request_id: str = ""
    """One of the three ids has to be there. Rows with one message id are one request, or one for
    each request id; without a message id the request id decides."""
    row_id: str = ""
    """The line's own id; identifies the request only where there is neither of the two above."""
    model: str = ""
    tier: str = ""
    speed: str = ""
    project: str = ""
    """Working directory of the agent."""
    agent: str = ""
    branch: str = ""
    version: str = ""
    sidechain: bool = False
    has_stop: bool = False
    """True when the numbers are final. Where no row of a request says so, an output of at most 10
    is taken for a placeholder and reported as such (snapshot only)."""
    has_iterations: bool = False
    rich: bool = False
    """True when the usage block is the full one (iterations, speed or server tools)."""
    iterations: tuple[Iteration, ...] = ()
    contents: tuple[tuple[int, int], ...] = ()
    """(number of a line, code points of its content): the only sign of output that a placeholder
    leaves. A line met twice has one number, and counts once."""


class CostState(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's own running total of one model in one session, kept beside ours as a check."""

    session: str
    model: str
    counters: Counters
    cost_micro_usd: int = 0


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """What a stretch of lines said."""

    rows: Sequence[UsageRow] = ()
    cost_states: Sequence[CostState] = ()
    skips: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Lines that should have counted and could not, by reason."""
    state: bytes = b""
    """Whatever the decoder wants back with the next lines of this file; at most 64 KiB."""


class TokenSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where one agent leaves its transcripts and how to read them.

    The ledger does the walking, the safe opening, the marks and the budgets; a source says which
    folders and files are its own and turns whole lines into rows. `decode` is called on a worker
    thread, in file order.
    """

    name: str
    """Part of every key: ids of two sources never meet."""
    roots: Callable[[], Sequence[Path]]
    """Folders to walk; may not exist yet. Asked again at every walk."""
    selects: Callable[[bytes], bool]
    """True for a file that is a transcript, by its path relative to the root (`/`-separated
    bytes)."""
    decode: Callable[[Lines, bytes], Decoded]
    descends: Callable[[bytes], bool] = lambda _folder: True
    """False for a folder (relative path) that is not worth entering."""
    semantics: Semantics = "snapshot"
    """snapshot: rows of one request are merged by maximum. cumulative: `request_id` names a
    running total whose last reading wins; its series gets the differences."""
