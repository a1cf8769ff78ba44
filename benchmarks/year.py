"""Writes a large ledger without transcripts: a year of sessions straight through the ledger's own
`commit`.

Promises: every table, rollup and mark as reading transcripts would have left it; the same ledger
for the same arguments; sessions with a long tail of lengths, a share of them resumed days later,
subagents in files of their own, office hours busier than nights. Kept under a name that says what
made it, so that a second benchmark finds it. Never reads a transcript.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from instar_host.clock import SystemClock
from instar_host.store.tail import Mark
from instar_tokenledger import schema
from instar_tokenledger.batch import Batch
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.opening import ledger_path, open_ledger
from instar_tokenledger.usage import KINDS, Counters, Decoded, Iteration, UsageRow

END_MS = 1_793_491_200_000
"""2026-11-01T00:00:00Z, where every year ends."""
DAY_MS = schema.DAY_MS
HOUR_MS = 60 * 60 * 1000
ROWS_A_COMMIT = 100_000
CACHE_KIB = 1 << 20
EDITION = 1
"""Raised when the same arguments begin to make another ledger."""
MODELS = ("claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5-20251001", "claude-opus-4-5")
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How much a ledger holds."""

    requests: int = 5_000_000
    sessions: int = 100_000
    projects: int = 300
    days: int = 365
    seed: int = 1

    @property
    def begins_ms(self) -> int:
        return END_MS - self.days * DAY_MS


def ledger_of(shape: Shape, cache: Path) -> Path:
    """The state directory of a ledger of this shape, written if `cache` does not have it yet."""
    made_by = f"{msgspec.json.encode(shape)!r}{schema.MIGRATIONS!r}{EDITION}"
    folder = cache / f"year-{shape.requests}-{zlib.crc32(made_by.encode()):08x}"
    if not folder.exists():
        draft = folder.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        write_year(draft, shape)
        draft.rename(folder)
    return folder


def write_year(state_dir: Path, shape: Shape) -> None:
    """Write the ledger of `shape` into an empty state directory."""
    connection, _ = open_ledger(state_dir, SystemClock())
    # Written once and thrown away when that fails: nothing has to survive a power cut, and pages
    # that every commit touches are better kept than written again.
    connection.pragma("synchronous", "OFF")
    connection.pragma("cache_size", -CACHE_KIB)
    connection.wal_autocheckpoint(1 << 16)
    ledger = Ledger(connection)
    began_s = time.monotonic()
    try:
        batch = Batch()
        for path, rows in transcripts(shape):
            batch.add("claude-code", path, Decoded(rows=rows))
            size = rows[-1].offset + 9_000
            mark = Mark(offset=size, dev=1, inode=1, size=size, ctime_ns=1, guard=b"\0" * 16)
            batch.reach(path, "claude-code", mark, b"", {}, restarted=False)
            if batch.rows >= ROWS_A_COMMIT:
                ledger.commit(batch)
                batch = Batch()
        ledger.commit(batch)
    finally:
        ledger.close()
    size = os.stat(ledger_path(state_dir)).st_size
    print(
        f"wrote {shape.requests} requests in {time.monotonic() - began_s:.0f} s:"
        f" {size / 1e6:.0f} MB, {size / shape.requests:.0f} bytes a request",
        flush=True,
    )


def transcripts(shape: Shape) -> Iterator[tuple[bytes, list[UsageRow]]]:
    """(path, rows) of every file in the order in which their sessions began."""
    rng = random.Random(f"year/{shape.seed}")
    lengths = _lengths(rng, shape)
    begins = sorted(_begin_ms(rng, shape) for _ in lengths)
    serial = 0
    for number, (length, begin_ms) in enumerate(zip(lengths, begins, strict=True)):
        yield from _session(rng, shape, number, length, begin_ms, serial)
        serial += length


def _lengths(rng: random.Random, shape: Shape) -> list[int]:
    """Requests of each session, at least one: many short ones, a few of thousands."""
    weights = [rng.lognormvariate(0, 1.5) for _ in range(shape.sessions)]
    scale = (shape.requests - shape.sessions) / sum(weights)
    lengths = [1 + int(weight * scale) for weight in weights]
    for number in range(shape.requests - sum(lengths)):
        lengths[number % shape.sessions] += 1
    return lengths


def _begin_ms(rng: random.Random, shape: Shape) -> int:
    """An instant of the year, two thirds of them between 8 and 18 o'clock."""
    day = rng.randrange(shape.days)
    hour = rng.uniform(8, 18) if rng.random() < 0.66 else rng.uniform(0, 24)
    return shape.begins_ms + day * DAY_MS + int(hour * HOUR_MS)


def _session(
    rng: random.Random, shape: Shape, number: int, length: int, begin_ms: int, serial: int
) -> Iterator[tuple[bytes, list[UsageRow]]]:
    """The files of one session: its own, and with some sessions those of subagents."""
    name = f"{number:08x}-{rng.getrandbits(16):04x}-4000-8000-{rng.getrandbits(48):012x}"
    project = rng.randrange(shape.projects)
    folder = b"/home/dev/.claude/projects/-home-dev-project%d" % project
    instants = _instants(rng, length, begin_ms)
    agents = rng.randrange(1, 4) if length > 12 and rng.random() < 0.3 else 0
    cuts = sorted(rng.randrange(1, length) for _ in range(agents))
    bounds = [0, *cuts, length]
    for file, (first, last) in enumerate(itertools.pairwise(bounds)):
        if first == last:
            continue
        agent = f"{rng.getrandbits(28):07x}" if file else ""
        below = f"{name}/subagents/agent-{agent}.jsonl" if agent else f"{name}.jsonl"
        rows = [
            _row(rng, serial + i, instants[i], (i - first) * 9_000, name, project, agent)
            for i in range(first, last)
        ]
        yield folder + b"/" + below.encode(), rows


def _instants(rng: random.Random, length: int, begin_ms: int) -> list[int]:
    """When a session's requests were made: bursts with pauses of minutes, now and then of days."""
    resumed = rng.random() < 0.08
    at_ms, instants = begin_ms, []
    for _ in range(length):
        instants.append(min(at_ms, END_MS - 1))
        at_ms += 2_000 + int(rng.expovariate(1 / 12_000))
        if rng.random() < 0.03:
            at_ms += int(rng.expovariate(1 / (10 * 60_000)))
            if resumed and rng.random() < 0.3:
                at_ms += int(rng.uniform(0.3, 6) * DAY_MS)
    return instants


def _row(
    rng: random.Random, serial: int, at_ms: int, offset: int, session: str, project: int, agent: str
) -> UsageRow:
    mixed = ((serial + 1) * _GOLDEN) & _MASK
    placeholder = (mixed >> 50) % 5 == 0
    create, read = mixed >> 17 & 8191, mixed >> 30 & 131_071
    output = 1 + (mixed >> 6 & 7) if placeholder else 20 + (mixed >> 6 & 2047)
    extra: tuple[Iteration, ...] = ()
    if (mixed >> 33) % 100 == 0:
        kind = KINDS[1 + (mixed >> 41) % 3]
        extra = (Iteration(kind, 0, MODELS[0], Counters(900, 80, 0, 4_000)),)
    return UsageRow(
        session=session,
        at_ms=at_ms,
        offset=offset,
        counters=Counters(1 + (mixed & 63), output, create, read, 0, create),
        message_id=f"msg_01AbCdEf{mixed:016x}",
        request_id=f"req_011CAbCd{mixed ^ _MASK:016x}",
        model=MODELS[rng.randrange(len(MODELS))] if mixed & 7 == 0 else MODELS[serial >> 6 & 3],
        tier="standard",
        project=f"/home/dev/project{project}",
        agent=agent,
        branch="main",
        version="2.1.76",
        sidechain=bool(agent),
        has_stop=not placeholder,
        has_iterations=bool(extra) and not placeholder,
        rich=not placeholder,
        iterations=() if placeholder else extra,
        contents=((0, 100 + (mixed >> 8 & 1023)),) if placeholder else (),
    )
