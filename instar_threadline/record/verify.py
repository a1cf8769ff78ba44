"""Is the record genuine, and is it whole? Two questions, two answers, from the files alone.

Promises to go through every line and every chain entry from the beginning, without the index, and
to name the first bad record. It tells *integrity* (what is there is what was written) from
*completeness* (nothing is gone), and says "unknown" where it cannot know: lines of another
program have no chain, so nobody can say whether some are missing. Changes nothing.

What it cannot promise: whoever holds the signing key can rewrite everything; and if log, chain
and head are all put back to an older state together, only the index, or a copy elsewhere,
remembers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, Self

import msgspec

from instar_host.records import Record
from instar_threadline.messages import DIRECTIONS, Direction, Integrity
from instar_threadline.record.checked import CheckedLine
from instar_threadline.record.findings import (
    COMPLETENESS,
    MAX_FINDINGS,
    UNDECIDED,
    Finding,
    FindingKind,
)
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import Layout, layout
from instar_threadline.record.lines import Line, identity_key, integrity_of, message_of, read_line
from instar_threadline.record.reader import Batch, StreamReader, Witness

BLOCK_BYTES = 4 << 20

IntegrityAnswer = Literal["ok", "broken", "unknown"]
"""`unknown`: some lines are signed with a key that is not in the keyring."""
CompletenessAnswer = Literal["complete", "short", "unknown"]
"""`unknown`: some lines were written without a chain, or the head is not as it was written."""


class StreamVerdict(Record, frozen=True, kw_only=True, rename="camel"):
    """What can be said of one direction."""

    direction: Direction
    integrity: IntegrityAnswer
    completeness: CompletenessAnswer
    lines: int = 0
    chained: int = 0
    unchained: int = 0
    """Written before the chain began, or by another program."""
    outside: int = 0
    """Written although nothing announced them."""
    bad: int = 0
    """Lines that are not genuine, or cannot be read."""
    unknown_keys: int = 0
    missing: int = 0
    """Lines that are known to be gone."""
    first_bad: Finding | None = None
    findings: tuple[Finding, ...] = ()
    """The first of them; `finding_count` counts all."""
    finding_count: int = 0


class Verdict(Record, frozen=True, kw_only=True, rename="camel"):
    """What can be said of the whole record."""

    ok: bool
    """Everything that is there verifies and nothing is known to be gone. A log without a chain is
    ok as long as every line verifies; a line whose key is not known is not ok."""
    integrity: IntegrityAnswer
    completeness: CompletenessAnswer
    streams: tuple[StreamVerdict, ...]


def verify(
    state_dir: str | os.PathLike[str],
    keyring: Keyring,
    remembered: Mapping[Direction, Witness] = MappingProxyType({}),
) -> Verdict:
    """Go through the whole log of a state directory. Raises OSError, StoreError or LogBusy.

    `remembered` says how far somebody else, the index say, has seen each chain.
    """
    streams = tuple(
        _verify_stream(layout(state_dir, direction), keyring, remembered.get(direction, Witness()))
        for direction in DIRECTIONS
    )
    return verdict_of(streams)


def verdict_of(streams: tuple[StreamVerdict, ...]) -> Verdict:
    """The worst answers of the directions."""
    integrity: IntegrityAnswer = "ok"
    for answer in ("unknown", "broken"):
        if any(stream.integrity == answer for stream in streams):
            integrity = answer
    completeness: CompletenessAnswer = "complete"
    for gap in ("unknown", "short"):
        if any(stream.completeness == gap for stream in streams):
            completeness = gap
    return Verdict(
        ok=integrity == "ok" and not any(stream.finding_count for stream in streams),
        integrity=integrity,
        completeness=completeness,
        streams=streams,
    )


class Counts(msgspec.Struct, kw_only=True):
    """The counts of a tally, as the index saves them."""

    lines: int = 0
    chained: int = 0
    unchained: int = 0
    outside: int = 0
    bad: int = 0
    unknown_keys: int = 0
    missing: int = 0
    finding_count: int = 0
    passing: list[Finding] = []


class Tally:
    """Counts of one direction, and the verdict they make. The index keeps the same ones."""

    def __init__(self, direction: Direction) -> None:
        self.direction: Direction = direction
        self.lines = self.chained = self.unchained = self.outside = 0
        self.bad = self.unknown_keys = self.missing = 0
        self.findings: list[Finding] = []
        self.finding_count = 0
        """Of those for good, also of those that are not kept."""
        self.passing: list[Finding] = []
        """What was true of the end at the last look; the next append may have it said for good."""

    @classmethod
    def restored(cls, direction: Direction, counts: Counts, findings: Iterable[Finding]) -> Self:
        """The tally with these counts, and findings of both kinds."""
        tally = cls(direction)
        for name in Counts.__struct_fields__:
            setattr(tally, name, getattr(counts, name))
        tally.findings = [found for found in findings if found not in counts.passing]
        return tally

    def counts(self) -> Counts:
        """What `restored` takes."""
        return Counts(**{name: getattr(self, name) for name in Counts.__struct_fields__})

    def add(self, finding: Finding) -> None:
        """Count a finding; the first ones are kept, and the first of each kind."""
        self.finding_count += 1
        if finding.kind in COMPLETENESS:
            self.missing += finding.lines
        kept = (found.kind for found in self.findings)
        if len(self.findings) < MAX_FINDINGS or finding.kind not in kept:
            self.findings.append(finding)

    def take(self, batch: Batch, findings: Iterable[Finding]) -> None:
        """Count what a batch found: these findings of it, and what it says of others."""
        for finding in findings:
            self.add(finding)
        self.finding_count += batch.count - len(batch.findings)
        self.missing += batch.missing
        self.unknown_keys += batch.unknown_keys

    def verdict(self) -> StreamVerdict:
        """What the counts say."""
        findings = [*self.findings, *self.passing]
        kinds = {finding.kind for finding in findings}
        integrity: IntegrityAnswer = "ok"
        if kinds - COMPLETENESS - UNDECIDED or self.bad:
            integrity = "broken"
        elif self.unknown_keys:
            integrity = "unknown"
        completeness: CompletenessAnswer = "complete"
        if kinds & COMPLETENESS or self.missing:
            completeness = "short"
        elif self.unchained or self.outside or "head-altered" in kinds:
            completeness = "unknown"
        gone = sum(finding.lines for finding in self.passing if finding.kind in COMPLETENESS)
        ordered = sorted(findings, key=_place)
        return StreamVerdict(
            direction=self.direction,
            integrity=integrity,
            completeness=completeness,
            lines=self.lines,
            chained=self.chained,
            unchained=self.unchained,
            outside=self.outside,
            bad=self.bad,
            unknown_keys=self.unknown_keys,
            missing=self.missing + gone,
            first_bad=ordered[0] if ordered else None,
            findings=tuple(ordered),
            finding_count=self.finding_count + len(self.passing),
        )


def _place(finding: Finding) -> tuple[int, int, int, bool, FindingKind]:
    """The order of findings, whatever order they were found in. At one place, what is not genuine
    comes before what is gone because of it."""
    gone = finding.kind in COMPLETENESS
    return finding.segment, finding.offset, finding.n, gone, finding.kind


def count_line(
    tally: Tally, segment: int, checked: CheckedLine, keyring: Keyring
) -> tuple[Line | None, Integrity]:
    """Count a line, and its finding if its own MAC does not hold; returns (line, what its MAC
    says).

    No line: it cannot be read as one.
    """
    tally.lines += 1
    if checked.status == "chained":
        tally.chained += 1
    elif checked.status == "unchained":
        tally.unchained += 1
    else:
        tally.outside += 1
    read = read_line(checked.data)
    line = None if isinstance(read, str) else read
    integrity: Integrity = "malformed"
    if line is not None:
        integrity = integrity_of(checked.data, line, keyring, checked.key)
    if integrity == "unknown-key":
        tally.unknown_keys += 1
    reported = checked.status in ("altered", "outside")
    if reported or line is None or integrity in ("bad-mac", "no-mac"):
        tally.bad += 1
        if not reported:
            kind: FindingKind = "unreadable" if line is None else "bad-mac"
            tally.add(_finding(kind, tally.direction, segment, checked))
    return line, integrity


def head_finding(reader: StreamReader, batch: Batch, *, unknown_keys: bool) -> Finding | None:
    """What the head says about the end of the chain that `reader` has come to: that more was
    counted, or something else; or that it is gone, or not as it was written.

    `unknown_keys`: some entries are signed with a key that is not in the keyring.
    """
    head, n = batch.head, reader.chain_n
    kind: FindingKind | None = None
    lines = 0
    if head is None:
        kind = "head-missing" if batch.chained else None
    elif head.known and head.n > n:
        kind, n, lines = "short", n + 1, head.n - n
    elif head.known and head.n == n and head.chain != reader.chain_mac:
        kind, lines = "rewritten", 1
    elif head.beside == "spoiled" or not (unknown_keys or (head.known and not head.beside)):
        kind = "head-altered"
    if kind is None:
        return None
    return Finding(
        kind=kind, direction=reader.files.direction, segment=batch.segment, n=n, lines=lines
    )


def rollback_finding(reader: StreamReader, witness: Witness, segment: int) -> Finding | None:
    """What a witness has seen and the chain that `reader` has come to the end of has not: it is
    shorter, or it was shorter and has grown otherwise."""
    n, lines = reader.chain_n + 1, witness.n - reader.chain_n
    if reader.contradicts:
        n, lines = witness.n, 1
    if lines <= 0:
        return None
    return Finding(
        kind="rolled-back", direction=reader.files.direction, segment=segment, n=n, lines=lines
    )


def _verify_stream(files: Layout, keyring: Keyring, witness: Witness) -> StreamVerdict:
    tally, reader = Tally(files.direction), StreamReader(files, keyring, witness=witness)
    seen: set[tuple[int, bytes]] = set()
    while True:
        batch = reader.read(BLOCK_BYTES)
        if batch.rewritten:  # it changed while it was read: what was counted is of no use
            tally = Tally(files.direction)
            reader = StreamReader(files, keyring, witness=witness)
            seen.clear()
            continue
        tally.take(batch, batch.findings)
        for checked in batch.lines:
            read, _ = count_line(tally, batch.segment, checked, keyring)
            if read is not None and checked.status == "unchained":
                _find_copy(tally, batch.segment, checked, read, seen)
        if batch.at_end:
            break
    if batch.short is not None:
        tally.add(batch.short)
    beyond = head_finding(reader, batch, unknown_keys=tally.unknown_keys > 0)
    back = rollback_finding(reader, witness, batch.segment)
    for last in (beyond, back):
        if last is not None:
            tally.add(last)
    return tally.verdict()


def _find_copy(
    tally: Tally, segment: int, checked: CheckedLine, read: Line, seen: set[tuple[int, bytes]]
) -> None:
    """Without a chain a replayed line verifies; but the very same bytes twice are a copy."""
    identity = identity_key(message_of(tally.direction, read, "ok").identity)
    mark = (identity, checked.data[-16:])
    if mark in seen:
        tally.bad += 1
        tally.add(_finding("inserted", tally.direction, segment, checked))
    seen.add(mark)


def _finding(
    kind: FindingKind, direction: Direction, segment: int, checked: CheckedLine
) -> Finding:
    return Finding(
        kind=kind, direction=direction, segment=segment, n=checked.n, offset=checked.offset
    )


def as_json(verdict: Verdict) -> bytes:
    """The verdict for machines."""
    return msgspec.json.format(msgspec.json.encode(verdict), indent=2)
