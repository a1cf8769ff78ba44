"""Every place where the record is not as it should be: what is wrong, where, and what stands there.

Promises pages in a fixed order, a sentence for each kind of finding, and that the bytes of a bad
line are given as plain text, shortened, whatever they are. Of very many findings the index keeps
the first thousand of each direction; all are counted. Changes nothing.
"""

from __future__ import annotations

import os

import msgspec

from instar_threadline.messages import Direction
from instar_threadline.record import schema
from instar_threadline.record.findings import Finding, FindingKind
from instar_threadline.record.layout import layout
from instar_threadline.record.readers import Readers
from instar_threadline.record.shapes import Json
from instar_threadline.record.verify import Counts

PAGE_PROBLEMS = 50
EXCERPT_BYTES = 240

WORDS: dict[FindingKind, str] = {
    "altered": "the line is not the one that was written",
    "inserted": "nothing announced this: somebody else wrote it, or it was copied here",
    "missing": "what was written here is gone",
    "lost": "what was written here was gone when the log was opened again",
    "short": "the end of the log is gone",
    "entry-altered": "the chain's entry is not the one that was written",
    "entries-missing": "entries of the chain are gone",
    "chain-missing": "the chain is gone",
    "head-missing": "the head is gone, so nobody can say whether the end is there",
    "head-altered": "the head is not as it was written",
    "rewritten": "the end of the chain is not the one that the head counted",
    "rolled-back": "the log was put back to an earlier state",
    "bad-mac": "the signature does not fit the line",
    "unreadable": "the line holds no message",
    "unknown-key": "from here on, signed with a key that is not in the keyring",
}

_STANDS_THERE: frozenset[FindingKind] = frozenset({"altered", "inserted", "bad-mac", "unreadable"})
"""Kinds whose place in the log is where the bad bytes stand."""


class Problem(Json, frozen=True, kw_only=True):
    """One finding, as people see it."""

    kind: str
    direction: str
    file: str
    """Name of the log file below `threadline`."""
    offset: int
    """Bytes into that file."""
    entry: int
    """Number of the chain entry; 0 where there is none."""
    lines: int
    words: str
    """What is wrong, in a sentence; of an unreadable line, why it is."""
    excerpt: str = ""
    """The beginning of the bytes that stand there; what is no UTF-8 is replaced."""


class ProblemPage(Json, frozen=True, kw_only=True):
    """Some of the problems, in the order of the log."""

    problems: tuple[Problem, ...]
    count: int
    total: int
    """All that were found, also those that are not kept one by one."""
    next_cursor: str | None


class Problems:
    """What the index found. Callable from any thread."""

    def __init__(self, readers: Readers, state_dir: str | os.PathLike[str]) -> None:
        self._readers = readers
        self._state_dir = state_dir

    def page(self, *, limit: int = PAGE_PROBLEMS, start: int = 0) -> ProblemPage:
        """At most `limit` problems after the first `start`. Raises IndexUnavailable."""
        with self._readers.connection() as connection:
            found = schema.rows(
                connection,
                "SELECT f.finding, coalesce(u.reason, '') FROM findings f LEFT JOIN unreadable u"
                " USING (direction, segment, offset)"
                " ORDER BY f.direction, f.segment, f.offset, f.n, f.kind LIMIT ? OFFSET ?",
                (limit + 1, start),
            )
            tallies = schema.rows(connection, "SELECT tally FROM streams")
        counts = [msgspec.json.decode(raw, type=Counts) for (raw,) in tallies]
        total = sum(one.finding_count + len(one.passing) for one in counts)
        problems = tuple(
            problem_of(self._state_dir, msgspec.json.decode(raw, type=Finding), reason)
            for raw, reason in found[:limit]
        )
        return ProblemPage(
            problems=problems,
            count=len(problems),
            total=total,
            next_cursor=str(start + limit) if len(found) > limit else None,
        )


def problem_of(state_dir: str | os.PathLike[str], finding: Finding, reason: str = "") -> Problem:
    """A finding in words, with what stands at its place."""
    path = _log_of(state_dir, finding.direction, finding.segment)
    words = WORDS[finding.kind]
    return Problem(
        kind=finding.kind,
        direction=finding.direction,
        file=os.path.basename(path),
        offset=finding.offset,
        entry=finding.n,
        lines=finding.lines,
        words=f"{words}: {reason}" if reason and finding.kind == "unreadable" else words,
        excerpt=excerpt(path, finding.offset) if finding.kind in _STANDS_THERE else "",
    )


def excerpt(path: str, offset: int) -> str:
    """The beginning of the line at `offset`; empty when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = os.pread(descriptor, EXCERPT_BYTES + 1, offset)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    line, newline, _ = data.partition(b"\n")
    if newline or len(line) <= EXCERPT_BYTES:
        return line.decode("utf-8", "replace")
    return line[:EXCERPT_BYTES].decode("utf-8", "replace") + "…"


def _log_of(state_dir: str | os.PathLike[str], direction: Direction, segment: int) -> str:
    files = layout(state_dir, direction)
    return files.log(segment if segment in files.rotated() else None)
