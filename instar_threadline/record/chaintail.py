"""Where a chain file ends, found from its end: what the next entry must go on from.

Promises to read a bounded stretch in the usual case, whatever the size of the file. It does not
judge: whether the entries are genuine is the verifier's to say.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import msgspec

from instar_threadline.record.chain import Entry, ReadEntry, read_entries, read_entry

TAIL_BYTES = 1 << 16


class ChainEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What the last whole entry of a chain says."""

    n: int
    mac: str
    segment: int
    log_end: int
    """Bytes that the log file has if all that was announced is there."""
    closed: bool = False
    torn_at: int | None = None
    """Where an unfinished entry begins; None if there is none."""


def chain_end(descriptor: int, before: ChainEnd) -> ChainEnd:
    """The end of an open chain file; an empty one goes on from `before`, in the same segment."""
    size = os.fstat(descriptor).st_size
    last, torn_at = _last_entry(descriptor, size)
    segment = segment_of(descriptor)
    if last is None or last.entry is None:
        return msgspec.structs.replace(
            before, log_end=0, closed=False, torn_at=torn_at, segment=segment or before.segment
        )
    return ChainEnd(
        n=last.entry.n,
        mac=last.chain,
        segment=segment or before.segment + 1,
        log_end=log_end_after(last.entry),
        closed=last.entry.kind == "closed",
        torn_at=torn_at,
    )


def log_end_after(entry: Entry) -> int:
    """Where the log ends once what this entry announces is there, in bytes."""
    if entry.kind == "line":
        return entry.offset + entry.length + 1
    return entry.offset + entry.length


def segment_of(descriptor: int) -> int:
    """The number that the first entry gives its file; 0 if there is no readable first entry."""
    data = os.pread(descriptor, TAIL_BYTES, 0)
    newline = data.find(b"\n")
    if newline < 0:
        return 0
    entry = read_entry(data[:newline], newline + 1).entry
    return entry.segment if entry is not None else 0


def entries_from(descriptor: int) -> Iterator[Entry]:
    """Every readable entry of a chain file, in order."""
    size = os.fstat(descriptor).st_size
    for read in read_entries(descriptor, 0, size):
        if read.entry is not None:
            yield read.entry


def standing_entries(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that announce bytes of the log, without those a later one gave up."""
    standing: list[Entry] = []
    for entry in entries:
        if entry.kind in ("line", "adopted"):
            standing.append(entry)
        elif entry.kind == "resumed":
            while standing and log_end_after(standing[-1]) > entry.offset:
                standing.pop()
    return standing


def _last_entry(descriptor: int, size: int) -> tuple[ReadEntry | None, int | None]:
    """The last whole, readable entry, and where an unfinished one after it begins."""
    want = TAIL_BYTES
    while True:
        begin = max(0, size - want)
        data = os.pread(descriptor, size - begin, begin)
        cut = data.rfind(b"\n") + 1
        torn_at = begin + cut if begin + cut < size else None
        entries = [
            read_entry(line, 0) for line in data[:cut].split(b"\n")[(1 if begin else 0) : -1]
        ]
        readable = [read for read in entries if read.entry is not None]
        if readable or begin == 0:
            return (readable[-1] if readable else None), torn_at
        want *= 4
