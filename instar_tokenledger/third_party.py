"""Token sources of other people, held at arm's length.

Promises that nothing a source returns or raises can fail a commit, stop a file or reach the store
unchecked: a row of a wrong type or with a number or text that cannot be is a skip `bad-row`, a line
whose decoding raises is a skip `source-error`, both counted by file, and the plugin's status says
what went wrong. The lines around a bad one count. Never repairs a row and never calls a source on
an event loop; a source that hangs holds up the reading of transcripts, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from instar_host.places import explained
from instar_host.store.tail import Lines, iter_lines
from instar_tokenledger.usage import (
    KINDS,
    MAX_COUNT,
    CostState,
    Counters,
    Decoded,
    Iteration,
    Semantics,
    TokenSource,
    UsageRow,
)

BAD_ROW = "bad-row"
SOURCE_ERROR = "source-error"

MAX_TOKENS = 10**12
"""The largest counter of one row: no agent says more, and sums of millions of such rows still fit
64 bits."""
EARLIEST_MS = 10**11
"""March 1973 in milliseconds; taken as seconds, the year 5138: no instant that is meant lies below.
"""
MAX_TEXT_CHARS = 4096
MAX_STATE_BYTES = 64 * 1024
MAX_REASONS = 32
MAX_REASON_CHARS = 64
MAX_PARTS = 1000
"""Iterations or contents of one row."""

FAILURES = (Exception, SystemExit)
"""What ends one call of a plugin and nothing more."""

Report = Callable[[str], None]
Said = TypeVar("Said", UsageRow, CostState)


def fault_of(source: TokenSource) -> str:
    """Why a source cannot be used at all; empty when it can."""
    if not _is_text(source.name) or not source.name or not source.name.isprintable():
        return f"the name of its token source, {source.name!r}, has to be plain text"
    if source.semantics not in get_args(Semantics):
        allowed = " or ".join(get_args(Semantics))
        return f"its token source {source.name!r} has to be {allowed}, not {source.semantics!r}"
    return ""


def guarded(source: TokenSource, report: Report) -> TokenSource:
    """The same source, with everything it does checked. `report` hears one sentence a failure."""
    guard = _Guard(source, report)
    return msgspec.structs.replace(
        source,
        roots=guard.roots,
        selects=guard.asking(source.selects, "selects"),
        descends=guard.asking(source.descends, "descends"),
        decode=guard.decode,
    )


class _Guard:
    """The checks around one source."""

    def __init__(self, source: TokenSource, report: Report) -> None:
        self._source = source
        self._report = report
        self._cumulative = source.semantics == "cumulative"

    def roots(self) -> Sequence[Path]:
        """Its folders; none where it cannot say."""
        try:
            return [_folder(root) for root in self._source.roots()]
        except FAILURES as error:  # a plugin boundary
            self._say(f"roots: {explained(error)}")
            return []

    def asking(self, ask: Callable[[bytes], bool], name: str) -> Callable[[bytes], bool]:
        """A question about a path. A source that fails to answer leaves the walk incomplete, so
        that no file is taken for deleted."""

        def asked(relative: bytes) -> bool:
            try:
                return bool(ask(relative))
            except FAILURES as error:  # a plugin boundary
                self._say(f"{name}: {explained(error)}")
                raise OSError(f"token source {self._source.name}: {name} failed") from error

        return asked

    def decode(self, lines: Lines, state: bytes) -> Decoded:
        """What the source makes of some lines, checked; line by line where it fails as a whole."""
        try:
            return self._decode(lines, state)
        except FAILURES as error:  # a plugin boundary
            if not lines.terminated:
                return Decoded(state=state)  # half a line: the rest of it is still to come
            return self._one_by_one(lines, state, explained(error))

    def _one_by_one(self, lines: Lines, state: bytes, why: str) -> Decoded:
        rows: list[UsageRow] = []
        costs: list[CostState] = []
        skips: dict[str, int] = {}
        for offset, line in iter_lines(lines):
            try:
                decoded = self._decode(Lines(data=line + b"\n", offset=offset), state)
            except FAILURES as error:  # a plugin boundary
                why = explained(error)
                _count(skips, SOURCE_ERROR)
                continue
            rows += decoded.rows
            costs += decoded.cost_states
            state = decoded.state
            for skip, times in decoded.skips.items():
                _count(skips, skip, times)
        self._say(f"decode: {why} (lines skipped: {skips.get(SOURCE_ERROR, 0)})")
        return Decoded(rows=rows, cost_states=costs, skips=skips, state=state)

    def _decode(self, lines: Lines, state: bytes) -> Decoded:
        """Raises whatever the source raises, and ValueError or TypeError for nonsense."""
        said = self._source.decode(lines, state)
        if isinstance(said, Coroutine):
            said.close()  # or Python warns, later and elsewhere, that it was never awaited
            raise TypeError("decode is asynchronous; it has to be a plain function")
        if type(said) is not Decoded:
            raise TypeError(f"decode returned an object of type {type(said).__name__}, not Decoded")
        if type(said.state) is not bytes or len(said.state) > MAX_STATE_BYTES:
            raise ValueError(f"the state of a decoder is bytes, at most {MAX_STATE_BYTES}")
        skips = _checked_skips(said.skips)
        end = lines.offset + len(lines.data)
        at_most = len(lines.data) + 1
        rows, bad_rows = _sorted_out(said.rows, lambda row: self._row_fault(row, end), at_most)
        costs, bad_costs = _sorted_out(said.cost_states, _cost_fault, at_most)
        bad = bad_rows + bad_costs
        if bad:
            _count(skips, BAD_ROW, len(bad))
            self._say(f"decode: {bad[-1]} (rows skipped: {len(bad)})")
        return Decoded(rows=rows, cost_states=costs, skips=skips, state=said.state)

    def _row_fault(self, row: object, end: int) -> str:
        if type(row) is not UsageRow:
            return f"an object of type {type(row).__name__} is no UsageRow"
        wrong = [name for name in _TEXTS if not _is_text(getattr(row, name))]
        wrong += [name for name in _FLAGS if type(getattr(row, name)) is not bool]
        if wrong:
            return f"{wrong[0]} is {_shown(getattr(row, wrong[0]))}"
        if not row.session:
            return "session is empty"
        if not (row.message_id or row.request_id or row.row_id):
            return "it has no id: message_id, request_id or row_id"
        if self._cumulative and not row.request_id:
            return "request_id is empty, and names the running total of a cumulative source"
        for name, limit in (("at_ms", MAX_COUNT), ("offset", end - 1)):
            if not _is_whole(getattr(row, name), limit):
                return f"{name} is {_shown(getattr(row, name))}"
        if row.at_ms < EARLIEST_MS:
            return f"at_ms is {row.at_ms}: milliseconds since 1970, and this looks like seconds"
        return (
            _counters_fault(row.counters)
            or _iterations_fault(row.iterations)
            or _contents_fault(row.contents)
        )

    def _say(self, words: str) -> None:
        self._report(f"token source {self._source.name}: {words}")


_TEXTS = (
    "session", "message_id", "request_id", "row_id", "model", "tier", "speed", "project", "agent",
    "branch", "version",
)  # fmt: skip
_FLAGS = ("sidechain", "has_stop", "has_iterations", "rich")


def _sorted_out(
    said: Sequence[Said], fault_of_one: Callable[[object], str], at_most: int
) -> tuple[list[Said], list[str]]:
    """What can be used, and why the rest cannot. Raises ValueError for an answer without end."""
    found: list[Said] = []
    faults: list[str] = []
    for one in islice(said, at_most + 1):
        fault = fault_of_one(one)
        if fault:
            faults.append(fault)
        else:
            found.append(one)
    if len(found) + len(faults) > at_most:
        raise ValueError("decode returned more rows than its lines have bytes")
    return found, faults


def _cost_fault(cost: object) -> str:
    if type(cost) is not CostState:
        return f"an object of type {type(cost).__name__} is no CostState"
    if not _is_text(cost.session) or not cost.session or not _is_text(cost.model):
        return "the session or model of a cost state is no text"
    if not _is_whole(cost.cost_micro_usd, MAX_COUNT):
        return f"cost_micro_usd is {_shown(cost.cost_micro_usd)}"
    return _counters_fault(cost.counters)


def _counters_fault(counters: object) -> str:
    if type(counters) is not Counters:
        return f"counters is {_shown(counters)}"
    for name, value in zip(counters._fields, counters, strict=True):
        if not _is_whole(value, MAX_TOKENS):
            return f"{name} is {_shown(value)}"
    return ""


def _iterations_fault(iterations: object) -> str:
    if type(iterations) is not tuple or len(iterations) > MAX_PARTS:
        return f"iterations is {_shown(iterations)}"
    for one in iterations:
        if type(one) is not Iteration or one.kind not in KINDS[1:]:
            return f"an iteration is {_shown(one)}"
        if not _is_text(one.model) or not _is_whole(one.index, MAX_COUNT):
            return f"an iteration's model or index is {_shown(one)}"
        if fault := _counters_fault(one.counters):
            return fault
    return ""


def _contents_fault(contents: object) -> str:
    if type(contents) is not tuple or len(contents) > MAX_PARTS:
        return f"contents is {_shown(contents)}"
    for one in contents:
        if type(one) is not tuple or len(one) != 2:
            return f"contents has {_shown(one)}"
        number, chars = one
        if type(number) is not int or abs(number) >> 62 or not _is_whole(chars, MAX_TOKENS):
            return f"contents has {_shown(number)}: {_shown(chars)}"
    return ""


def _checked_skips(skips: Any) -> dict[str, int]:
    if not isinstance(skips, Mapping) or len(skips) > MAX_REASONS:
        raise TypeError(f"skips is {_shown(skips)}, not lines by reason")
    for why, lines in skips.items():
        if not _is_text(why) or not 0 < len(why) <= MAX_REASON_CHARS or not _is_whole(lines, 2**31):
            raise ValueError(f"skips has {_shown(why)}: {_shown(lines)}")
    return dict(skips)


def _is_text(value: object) -> bool:
    if type(value) is not str or len(value) > MAX_TEXT_CHARS:
        return False
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def _is_whole(value: object, limit: int) -> bool:
    return type(value) is int and 0 <= value <= limit


def _shown(value: object) -> str:
    """A value in an error: its kind, and itself where that is short and cannot mislead."""
    if type(value) in (int, float, bool, type(None)):
        return ascii(value)[:40]
    return f"{value[:40]!a} (text)" if type(value) is str else f"of type {type(value).__name__}"


def _folder(root: object) -> Path:
    if not isinstance(root, (str, os.PathLike)):
        raise TypeError(f"a root is {_shown(root)}, not a path")
    if b"\0" in os.fsencode(root):
        raise ValueError(f"a root is {_shown(root)}, which can be no path")
    return Path(root)


def _count(skips: dict[str, int], why: str, times: int = 1) -> None:
    skips[why] = skips.get(why, 0) + times
