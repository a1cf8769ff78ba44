"""Writes large trees fast, with exact totals known by arithmetic.

Promises: pieces are rendered once and only joined; the shape of real trees (a quarter of the
bytes on assistant lines, 2.4 rows a request, lines of 0.5 to 50 KB and a few of 2 MB, file sizes
with a long tail, subagents below their session); a fifth of the requests hold placeholders only.
The same bytes for the same arguments. Never holds more than a few MiB of what it writes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.corpus import text
from benchmarks.corpus.building import SPREAD_DAYS, START_MS
from benchmarks.corpus.pools import DAY_S, DAYS, Pools
from benchmarks.corpus.truth import CHARS_PER_OUTPUT_TOKEN

Shape = Literal["tail", "even", "giant"]
FLUSH_BYTES = 4 << 20
HUGE_EVERY_BYTES = 64 << 20
MODELS = ("claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5-20251001")
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_LAST_MS = DAYS * DAY_S * 1000 - 1
_RICH = b',"server_tool_use":{"web_search_requests":0,"web_fetch_requests":0},"speed":"standard"'
_HEAD = (
    b'{"parentUuid":"%b",%b"message":{"model":"%b","id":"msg_01%022x","type":"message",'
    b'"role":"assistant","content":['
)
_TAIL = (
    b'],"stop_reason":%b,"stop_sequence":null,"usage":{"input_tokens":%d,'
    b'"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation":'
    b'{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":%d},"output_tokens":%d,'
    b'"service_tier":"standard","inference_geo":"not_available"%b}},"requestId":"req_011C%020x",'
    b'"type":"assistant","uuid":"%b","timestamp":"%b"}\n'
)
_OTHER = b'{"parentUuid":"%b",%b%b,"uuid":"%b","timestamp":"%b"}\n'


@dataclass(kw_only=True)
class BulkTotals:
    """What was written. Counters are tokens; `_ts` are epoch milliseconds."""

    files: int = 0
    bytes: int = 0
    assistant_bytes: int = 0
    lines: int = 0
    rows: int = 0
    requests: int = 0
    sessions: int = 0
    projects: int = 0
    input: int = 0
    output: int = 0
    cache_create: int = 0
    cache_read: int = 0
    partial_requests: int = 0
    estimated_output: int = 0
    oldest_ts: int | None = None
    newest_ts: int | None = None
    tokens_by_model: dict[str, int] = field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        """Tokens of the four summed counters."""
        return self.input + self.output + self.cache_create + self.cache_read

    def as_json(self) -> dict[str, Any]:
        """All figures, with the total."""
        return asdict(self) | {"total_tokens": self.total_tokens}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spot:
    """One file to write: its path, its session and when it begins, ms after the start."""

    path: str
    session: str
    cwd: str
    agent_id: str | None
    begins_ms: int


def build_bulk(
    root: Path, *, seed: int, files: int, total_bytes: int, shape: Shape = "tail"
) -> BulkTotals:
    """Write `files` transcripts of about `total_bytes` together below `root`'s `projects/`.

    `shape` is the distribution of file sizes: "tail" = log-normal with a long tail, "even" = all
    alike, "giant" = one session holds three quarters. Four files in a row are a session, two
    subagents of it and a session alone. Every file holds at least one request.
    """
    rng = random.Random(f"bulk/{seed}")
    scribe = _Scribe(rng, first=seed << 40)
    over = 0
    projects = min(300, files // 8 + 1)
    spots = _spots(root, rng, files, projects)
    for spot, share in zip(spots, _shares(rng, files, shape), strict=True):
        budget = int(total_bytes * share) - over
        over = scribe.write(spot, budget) - budget
    scribe.totals.projects = min(projects, -(-files // 4))
    return scribe.totals


class _Scribe:
    """Writes files one after another and adds up what they say."""

    def __init__(self, rng: random.Random, *, first: int) -> None:
        self.totals = BulkTotals()
        self._rng = rng
        self._pools = Pools(rng)
        self._serial = self._steps = first
        self._clock_ms = 0
        self._uuid = b""
        self._common = b""
        self._next_huge = HUGE_EVERY_BYTES

    def write(self, spot: _Spot, budget: int) -> int:
        """Write one file of about `budget` bytes; returns its size."""
        self._begin(spot)
        parts: list[bytes] = []
        size = pending = 0
        os.makedirs(os.path.dirname(spot.path), exist_ok=True)
        with open(spot.path, "wb", buffering=0) as file:
            while size + pending < budget or size + pending == 0:
                pending += self._exchange(parts, budget - size - pending)
                if pending >= FLUSH_BYTES:
                    file.write(b"".join(parts))
                    size, pending = size + pending, 0
                    parts.clear()
            file.write(b"".join(parts))
        last_ns = (START_MS + self._clock_ms) * 1_000_000
        os.utime(spot.path, ns=(last_ns, last_ns))
        self.totals.files += 1
        self.totals.bytes += size + pending
        return size + pending

    def _begin(self, spot: _Spot) -> None:
        self._clock_ms = spot.begins_ms
        self._uuid = b"00000000-0000-4000-8000-000000000000"
        side = (
            b"false" if spot.agent_id is None else b'true,"agentId":"%b"' % spot.agent_id.encode()
        )
        self._common = (
            b'"isSidechain":%b,"userType":"external","cwd":"%b","sessionId":"%b",'
            b'"version":"2.1.76","gitBranch":"main","slug":"quiet-river",'
        ) % (side, spot.cwd.encode(), spot.session.encode())
        self.totals.sessions += spot.agent_id is None

    def _exchange(self, parts: list[bytes], room: int) -> int:
        """One request, its tool result and a small line or two; returns their bytes."""
        self._serial += 1
        mixed = (self._serial * _GOLDEN) & _MASK
        size = self._request(parts, mixed)
        self.totals.assistant_bytes += size
        pools = self._pools
        if size < room:
            size += self._other(parts, pools.results[mixed >> 55])
        for number in range(mixed >> 40 & 3):
            if size < room:
                size += self._other(parts, pools.small[mixed >> (20 + number) & 127])
        if self.totals.bytes + size > self._next_huge and room > 2 * len(pools.huge):
            self._next_huge += HUGE_EVERY_BYTES
            size += self._other(parts, pools.huge)
        return size

    def _request(self, parts: list[bytes], mixed: int) -> int:
        """The rows of one request; returns their bytes."""
        model = MODELS[(mixed >> 47) % 3]
        given, create, read = 1 + (mixed & 63), mixed >> 17 & 8191, mixed >> 30 & 131_071
        placeholder = (mixed >> 50) % 5 == 0
        output = 1 + (mixed >> 6 & 7) if placeholder else 20 + (mixed >> 6 & 2047)
        rows = 3 if (mixed >> 53) % 5 < 2 else 2
        size = chars = 0
        for number in range(rows):
            self._tick(mixed >> number)
            if number == 0:
                self._meet(START_MS + self._clock_ms)
            final = number == rows - 1 and not placeholder
            block, length = self._pools.blocks[(mixed >> (8 + 9 * number)) & 511]
            chars += length
            parent = self._step()
            head = _HEAD % (parent, self._common, model.encode(), self._serial)
            stop = b'"tool_use"' if final else b"null"
            shown = output if final or placeholder else 1
            tokens = (stop, given, create, read, create, shown, _RICH if final else b"")
            stamp = self._pools.stamp(self._clock_ms)
            tail = _TAIL % (*tokens, self._serial, self._uuid, stamp)
            parts += (head, block, tail)
            size += len(head) + len(block) + len(tail)
        self._count(model, rows, given, output, create, read)
        if placeholder:
            self.totals.partial_requests += 1
            self.totals.estimated_output += max(0, round(chars / CHARS_PER_OUTPUT_TOKEN) - output)
        return size

    def _other(self, parts: list[bytes], payload: bytes) -> int:
        self._tick(len(payload))
        parent = self._step()
        stamp = self._pools.stamp(self._clock_ms)
        line = _OTHER % (parent, self._common, payload, self._uuid, stamp)
        parts.append(line)
        self.totals.lines += 1
        return len(line)

    def _step(self) -> bytes:
        """A new uuid; returns the one before, the parent."""
        parent = self._uuid
        self._steps += 1
        mixed = (self._steps * _GOLDEN) & _MASK
        self._uuid = b"%08x-%04x-4000-8000-%012x" % (mixed >> 32, mixed & 0xFFFF, self._steps)
        return parent

    def _tick(self, mixed: int) -> None:
        self._clock_ms = min(self._clock_ms + 20 + (mixed & 4095), _LAST_MS)

    def _meet(self, ts: int) -> None:
        totals = self.totals
        totals.oldest_ts = ts if totals.oldest_ts is None else min(totals.oldest_ts, ts)
        totals.newest_ts = ts if totals.newest_ts is None else max(totals.newest_ts, ts)

    def _count(
        self, model: str, rows: int, given: int, output: int, create: int, read: int
    ) -> None:
        totals = self.totals
        totals.requests += 1
        totals.rows += rows
        totals.lines += rows
        totals.input += given
        totals.output += output
        totals.cache_create += create
        totals.cache_read += read
        spent = given + output + create + read
        totals.tokens_by_model[model] = totals.tokens_by_model.get(model, 0) + spent


def _shares(rng: random.Random, files: int, shape: Shape) -> list[float]:
    match shape:
        case "even":
            weights = [1.0] * files
        case "giant":
            weights = [0.25 / max(1, files - 1)] * files
            weights[0] = 0.75
        case "tail":
            weights = [rng.lognormvariate(0, 1.8) for _ in range(files)]
    total = sum(weights)
    return [weight / total for weight in weights]


def _spots(root: Path, rng: random.Random, files: int, projects: int) -> Iterator[_Spot]:
    """Where the files stand: a session, two subagents of it, a session alone, and so on."""
    session = project = ""
    for number in range(files):
        agent = text.agent_id(rng) if number % 4 in {1, 2} else None
        if number % 4 in {0, 3}:
            session = text.uuid(rng)
        if number % 4 == 0:
            project = f"/home/dev/project{number // 4 % projects}"
        folder = f"{root}/projects/{text.folder_name(project)}"
        path = f"{folder}/{session}/subagents/agent-{agent}{number}.jsonl"
        yield _Spot(
            path=path if agent else f"{folder}/{session}.jsonl",
            session=session,
            cwd=project,
            agent_id=agent,
            begins_ms=rng.randrange(SPREAD_DAYS * DAY_S * 1000),
        )
