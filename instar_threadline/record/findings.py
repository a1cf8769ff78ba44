"""What can be wrong with a log, and where it was found. Judges nothing.

*Integrity* and *completeness* are two answers: a finding speaks to one or the other
(`COMPLETENESS`), or says that neither can be given (`UNDECIDED`).
"""

from __future__ import annotations

from typing import Literal

from instar_host.records import Record
from instar_threadline.messages import Direction

MAX_FINDINGS = 1000

FindingKind = Literal[
    "altered", "inserted", "missing", "lost", "short", "entry-altered", "entries-missing",
    "chain-missing", "head-missing", "head-altered", "rewritten", "rolled-back", "bad-mac",
    "unreadable", "unknown-key",
]  # fmt: skip

COMPLETENESS: frozenset[FindingKind] = frozenset(
    {"missing", "lost", "short", "entries-missing", "chain-missing", "head-missing", "rolled-back"}
)
"""Findings that say something is gone."""

UNDECIDED: frozenset[FindingKind] = frozenset({"unknown-key", "head-altered"})
"""Findings that say where nothing can be said, of integrity or of completeness. All others:
something there is not genuine."""


class Finding(Record, frozen=True, kw_only=True, rename="camel"):
    """One thing that is wrong, and where."""

    kind: FindingKind
    direction: Direction
    segment: int
    n: int = 0
    """Number of the chain entry; 0 where there is none."""
    offset: int = 0
    """Bytes into the log file."""
    lines: int = 1
    threads: tuple[str, ...] = ()
    """Tags of the threads that lost lines, where the chain tells."""


class Findings:
    """What was found in one file."""

    def __init__(self, direction: Direction, segment: int) -> None:
        self._direction: Direction = direction
        self._segment = segment
        self.first: list[Finding] = []
        """The first `MAX_FINDINGS` of them, and the first of each kind: what can be said of the
        whole depends on the kinds there are."""
        self.count = 0
        """All of them."""
        self.missing = 0
        """Lines that are gone, of findings that are not among the first."""
        self._kinds: set[FindingKind] = set()

    def add(
        self,
        kind: FindingKind,
        *,
        n: int,
        offset: int = 0,
        lines: int = 1,
        threads: tuple[str, ...] = (),
    ) -> None:
        """One more, in this file."""
        self.keep(
            Finding(
                kind=kind,
                direction=self._direction,
                segment=self._segment,
                n=n,
                offset=offset,
                lines=lines,
                threads=threads,
            )
        )

    def keep(self, finding: Finding) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < MAX_FINDINGS or finding.kind not in self._kinds:
            self._kinds.add(finding.kind)
            self.first.append(finding)
        elif finding.kind in COMPLETENESS:
            self.missing += finding.lines
