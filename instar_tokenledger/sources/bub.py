"""Bub as a token source: the `run` events of its tapes.

A tape is a file `tapes/<name>.jsonl` of whole entries; an event `run` says what one call of a model
has used, and is never written twice. Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from instar_host.store.tail import Lines, iter_lines
from instar_tokenledger.usage import MAX_COUNT, Counters, Decoded, TokenSource, UsageRow

NAME = "bub"
UNREADABLE = "an entry that is none"

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    """As the OpenAI client says it, for completions and for responses."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Run(msgspec.Struct):
    usage: _Usage | None = None
    model: str = ""


class _Payload(msgspec.Struct):
    name: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Meta(msgspec.Struct):
    run_id: str = ""


class _Entry(msgspec.Struct):
    date: Annotated[datetime, msgspec.Meta(tz=True)]
    id: int = 0
    kind: str = ""
    payload: msgspec.Raw = msgspec.Raw()
    meta: _Meta = msgspec.field(default_factory=_Meta)


def bub(roots: Callable[[], list[Path]]) -> TokenSource:
    """The source over `roots()`, the `tapes` folders."""
    return TokenSource(
        name=NAME,
        roots=roots,
        selects=lambda path: path.endswith(b".jsonl") and b"/" not in path,
        descends=lambda _folder: False,
        decode=decode,
    )


def decode(lines: Lines, state: bytes) -> Decoded:
    """A row a call. The state is the session: the instant of the tape's first entry."""
    session = state.decode()
    rows: list[UsageRow] = []
    bad = 0
    for offset, line in iter_lines(lines):
        if not line or (session and b'"usage"' not in line):
            continue
        try:
            entry = msgspec.json.decode(line, type=_Entry)
            session = session or f"bub-{entry.date.isoformat()}"
            row = _row(entry, session, offset)
        except (msgspec.DecodeError, ValueError, RecursionError):
            bad += 1
            continue
        if row is not None:
            rows.append(row)
    return Decoded(rows=rows, skips={UNREADABLE: bad} if bad else {}, state=session.encode())


def _row(entry: _Entry, session: str, offset: int) -> UsageRow | None:
    if entry.kind != "event":
        return None
    payload = msgspec.json.decode(entry.payload, type=_Payload)
    run = msgspec.json.decode(payload.data, type=_Run) if payload.name == "run" else None
    if run is None or run.usage is None:
        return None
    return UsageRow(
        session=session,
        request_id=f"{entry.meta.run_id}@{entry.date.isoformat()}",
        at_ms=max(int(entry.date.timestamp() * 1000), 0),
        offset=offset,
        model=run.model,
        has_stop=True,
        counters=_counters(run.usage),
    )


def _counters(usage: _Usage) -> Counters:
    """What was asked for contains what was cached; the ledger keeps them apart."""
    said = usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens
    written = usage.completion_tokens
    written = written if written is not None else usage.output_tokens
    asked = usage.prompt_tokens_details or usage.input_tokens_details or _Details()
    answered = usage.completion_tokens_details or usage.output_tokens_details or _Details()
    cached = min(asked.cached_tokens or 0, said or 0)
    return Counters(
        input=(said or 0) - cached,
        cache_read=cached,
        output=written or 0,
        thinking=min(answered.reasoning_tokens or 0, written or 0),
    )
