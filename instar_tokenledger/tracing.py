"""Every line behind one request: the proof of a number, read afresh from the transcripts.

Reads all transcripts of the request's source, because copies may stand anywhere; writes nothing.
What has been deleted cannot be shown, and is said to be gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import apsw
import msgspec

from instar_host.store.errors import UnsafeFile, shown
from instar_host.store.files import Root
from instar_host.store.tail import Lines, Tail, iter_lines, open_tail
from instar_tokenledger import ids
from instar_tokenledger.accounting import Request, nodes_of
from instar_tokenledger.discover import Walk
from instar_tokenledger.display import clean, grouped, moment
from instar_tokenledger.interning import NO_FILE, Interned
from instar_tokenledger.request_rows import SELECT, load
from instar_tokenledger.usage import Counters, TokenSource, UsageRow


class TracedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that made the number."""

    path: bytes
    offset: int
    row: UsageRow


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """One request as the ledger has it, with the lines that are still there to show it."""

    request: Request
    source: str
    lines: tuple[TracedLine, ...]

    @property
    def origin_is_gone(self) -> bool:
        """True when the very line that gave the request its time is not there any more."""
        origin = self.request.origin
        return not any(
            (line.path, line.offset) == (origin.path, origin.offset) for line in self.lines
        )


def known(connection: apsw.Connection, wanted: str) -> list[tuple[Request, str]]:
    """Requests, with their source, that bear `wanted` as request id, message id or row id."""
    if any("\ud800" <= c <= "\udfff" for c in wanted):
        return []  # bytes of a terminal that are no text: no id has any
    names = Interned(connection)
    rows: list[Any] = connection.execute(
        f"{SELECT} WHERE message_id = ?2 OR request_id = ?3 OR row_id = ?1 OR id IN"
        " (SELECT request FROM nodes WHERE message_id = ?1 OR request_id = ?1) ORDER BY at_ms, id",
        (wanted, ids.short(wanted, ids.MESSAGE), ids.short(wanted, ids.REQUEST)),
    ).fetchall()
    return [load(connection, names, row) for row in rows]


def trace(request: Request, source_name: str, sources: Sequence[TokenSource]) -> Traced:
    """Look for every line of `request` in the transcripts of its source."""
    lines = [
        line
        for source in sources
        if source.name == source_name
        for line in _lines_of(request, source)
    ]
    lines.sort(key=lambda line: (line.path != request.origin.path, line.path, line.offset))
    return Traced(request=request, source=source_name, lines=tuple(lines))


def _lines_of(request: Request, source: TokenSource) -> Iterator[TracedLine]:
    find = _readings_in if source.semantics == "cumulative" else _rows_in
    for folder in source.roots():
        root_path = os.fsencode(os.path.abspath(folder))
        for found in Walk(source, root_path, lambda: None):
            try:
                with Root(root_path) as root, open_tail(found.relative, None, root=root) as tail:
                    yield from find(request, source, found.path, _blocks(tail))
            except (OSError, UnsafeFile):
                continue  # gone or unreadable: nothing to show


def _blocks(tail: Tail) -> Iterator[Lines]:
    for block in tail.blocks():
        if isinstance(block, Lines):
            yield block
    rest = tail.unfinished()
    if rest is not None:
        yield rest


def _rows_in(
    request: Request, source: TokenSource, path: bytes, blocks: Iterator[Lines]
) -> Iterator[TracedLine]:
    """Rows of the request. A line tells all of them by itself, and bears one of its ids."""
    needles = {text.encode() for node in request.nodes for text in node if text}
    needles |= {request.row_id.encode()} if request.row_id else set()
    for block in blocks:
        if not any(needle in block.data for needle in needles):
            continue
        for offset, line in iter_lines(block):
            if any(needle in line for needle in needles):
                alone = Lines(data=line, offset=offset, terminated=False)
                for row in source.decode(alone, b"").rows:
                    if _belongs(row, request):
                        yield TracedLine(path=path, offset=offset, row=row)


def _readings_in(
    request: Request, source: TokenSource, path: bytes, blocks: Iterator[Lines]
) -> Iterator[TracedLine]:
    """The reading that a difference ends with: what the running total stood at. Whose total it is
    may stand far above it, so that the whole file has to be decoded."""
    state = b""
    for block in blocks:
        decoded = source.decode(block, state)
        state = decoded.state
        for row in decoded.rows:
            if row.at_ms == request.origin.at_ms and _belongs(row, request):
                yield TracedLine(path=path, offset=row.offset, row=row)


def _belongs(row: UsageRow, request: Request) -> bool:
    nodes = nodes_of(row)
    return bool(nodes & request.nodes) if nodes else row.row_id == request.row_id


def has_provenance(request: Request) -> bool:
    """False for a request taken over from an old ledger, which never knew where it came from."""
    return request.origin.path != NO_FILE


def as_json(traced: Traced) -> dict[str, Any]:
    """One traced request as the command prints it with `--json`."""
    request = traced.request
    origin = request.origin
    return {
        "source": traced.source,
        "nodes": [
            {"messageId": message_id or None, "requestId": request_id or None}
            for message_id, request_id in sorted(request.nodes)
        ],
        "uuid": request.row_id or None,
        "sessionId": origin.session,
        "ts": origin.at_ms,
        "model": request.description.model or None,
        "usage": request.counters._asdict(),
        "iterations": [
            {"kind": kind, "index": index, "model": model or None, "usage": counters._asdict()}
            for (kind, index), (model, counters) in sorted(request.iterations.items())
        ],
        "partial": request.partial,
        "file": shown(origin.path) if has_provenance(request) else None,
        "offset": origin.offset if has_provenance(request) else None,
        "lines": [
            {
                "file": shown(line.path),
                "offset": line.offset,
                "ts": line.row.at_ms,
                "messageId": line.row.message_id or None,
                "requestId": line.row.request_id or None,
                "uuid": line.row.row_id or None,
                "sidechain": line.row.sidechain,
                "usage": line.row.counters._asdict(),
            }
            for line in traced.lines
        ],
    }


def as_text(traced: Traced) -> str:
    """One traced request for a person: the number, then the lines that made it."""
    request = traced.request
    origin = request.origin
    ids = sorted({text for node in request.nodes for text in node if text} or {request.row_id})
    model = clean(request.description.model or "unknown model")
    lines = [
        " ".join(clean(text) for text in ids),
        f"  {model}, session {clean(origin.session)}, {moment(origin.at_ms, None)}",
        f"  {_usage(request.counters)}" + ("  (placeholder only)" if request.partial else ""),
    ]
    lines += [
        f"  {kind} {clean(model)}: {_usage(counters)}"
        for (kind, _), (model, counters) in sorted(request.iterations.items())
    ]
    lines += [
        f"    {shown(line.path)} @{line.offset}: {_usage(line.row.counters)}"
        for line in traced.lines
    ]
    if not has_provenance(request):
        lines.append("    (from a ledger of instar 0.28, which kept no file and offset)")
    elif traced.origin_is_gone:
        lines.append(
            f"    {shown(origin.path)} @{origin.offset}: gone; the ledger keeps its number"
        )
    return "\n".join(lines)


def _usage(counters: Counters) -> str:
    return ", ".join(f"{name} {grouped(n)}" for name, n in counters._asdict().items() if n) or "0"
