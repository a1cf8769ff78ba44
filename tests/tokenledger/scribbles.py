"""Random transcripts in which everything happens at once, and a source of running totals.

Requests that are resumed, forked, replayed under another id, quoted, told by request id or line id
alone, never finished, with advisors, compactions and fallbacks; sessions that go through several
projects; instants at, just before and just after the ends of quarters, hours, days and clock
changes. Knows no rule: it only writes lines.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from instar_host.store.tail import Lines, iter_lines
from instar_tokenledger.usage import Counters, Decoded, TokenSource, UsageRow
from tests.tokenledger.by_hand import Json, Said

HOUR_MS = 3_600_000
ZONES = (
    "Australia/Lord_Howe", "Pacific/Chatham", "Antarctica/Troll", "America/Havana",
    "America/New_York", "Asia/Kathmandu",
)  # fmt: skip
ANCHORS = (
    1_743_865_200_000,  # 2025-04-05T15:00Z Lord Howe falls back by half an hour
    1_743_861_600_000,  # 2025-04-05T14:00Z Chatham falls back from 3:45
    1_761_440_400_000,  # 2025-10-26T01:00Z Troll falls back by two hours
    1_762_059_600_000,  # 2025-11-02T05:00Z Havana's midnight comes twice
    1_762_063_200_000,  # 2025-11-02T06:00Z New York falls back
    1_761_868_800_000,  # 2025-10-31T00:00Z a day of nobody's
)
SPANS_MS = (900_000, HOUR_MS, 24 * HOUR_MS)
MODELS = ("opus", "sonnet", "haiku")
PROJECTS = ("/home/a", "/home/b", "/home/b/c", "")
TOTALS = "totals"


def an_instant(rng: random.Random) -> int:
    """At, just before or just after the end of something, or anywhere near it."""
    anchor = rng.choice(ANCHORS)
    near = anchor + rng.randrange(-30 * HOUR_MS, 30 * HOUR_MS)
    span = rng.choice(SPANS_MS)
    return rng.choice((anchor, near // span * span, near)) + rng.choice((-1, 0, 0, 1))


def scribbled(rng: random.Random, requests: int, *, sharing: float = 0.1) -> dict[str, list[bytes]]:
    """Lines of transcripts by relative path, in no particular order; `sharing` is how many requests
    bear an id of another one."""
    files: dict[str, list[bytes]] = {}
    ids = [(f"msg_{n}", f"req_{n}") for n in range(requests)]
    for number in range(requests):
        lines = _request(rng, ids, number, sharing)
        for line in lines:
            files.setdefault(_path(rng, line), []).append(_dumps(line))
        if rng.random() < 0.3:
            for line in _copies(rng, lines):
                files.setdefault(_path(rng, line), []).append(_dumps(line))
    for line in _rivals(rng):
        files.setdefault(_path(rng, line), []).append(_dumps(line))
    for some in files.values():
        if rng.random() < 0.5:
            rng.shuffle(some)
        some.insert(rng.randrange(len(some) + 1), rng.choice((b"", b"null", b'{"type":"user"}')))
    return files


def readings(rng: random.Random, count: int) -> list[bytes]:
    """Lines of the source of running totals: mostly rising, now and then falling or said again."""
    stood = {key: [0, 0] for key in ("t1", "t2")}
    at_ms = rng.choice(ANCHORS) - 20 * HOUR_MS
    lines: list[bytes] = []
    for _ in range(count):
        key = rng.choice(list(stood))
        at_ms += rng.choice((0, 1, 700_000, 9 * HOUR_MS))
        factor = rng.choice((0.2, 1, 1, 1, 1))
        stood[key] = [int(n * factor) + rng.randrange(3_000) for n in stood[key]]
        lines.append(_dumps({
            "key": key, "session": rng.choice(("s1", "t")), "ts": at_ms, "counts": stood[key],
            "project": rng.choice(PROJECTS), "model": rng.choice(MODELS),
        }))  # fmt: skip
        if rng.random() < 0.2:
            lines.append(rng.choice(lines))
    if rng.random() < 0.5:
        rng.shuffle(lines)
    return lines


def running_totals(root: Path) -> TokenSource:
    """The source that reads them."""
    return TokenSource(
        name=TOTALS,
        roots=lambda: [root],
        selects=lambda path: path.endswith(b".jsonl"),
        decode=_decode,
        semantics="cumulative",
    )


def readings_below(root: Path) -> set[Said]:
    """What lies there, as the count by hand takes it."""
    found: set[Said] = set()
    for path in root.glob("*.jsonl"):
        offset = 0
        for line in path.read_bytes().split(b"\n"):
            if line:
                said = json.loads(line)
                figures = (*said["counts"], *(0,) * 7)
                found.add(Said(
                    source=TOTALS, at_ms=said["ts"], session=said["session"], path=bytes(path),
                    offset=offset, ids=("", said["key"], ""), figures=figures,
                    project=said["project"], model=said["model"],
                ))  # fmt: skip
            offset += len(line) + 1
    return found


def _decode(lines: Lines, _state: bytes) -> Decoded:
    rows = []
    for offset, line in iter_lines(lines):
        said = json.loads(line)
        rows.append(UsageRow(
            session=said["session"], at_ms=said["ts"], offset=offset, request_id=said["key"],
            counters=Counters(*said["counts"]), project=said["project"], model=said["model"],
        ))  # fmt: skip
    return Decoded(rows=rows)


def _request(
    rng: random.Random, ids: list[tuple[str, str]], number: int, sharing: float
) -> list[Json]:
    message, request = ids[number]
    if rng.random() < sharing:
        message = rng.choice(ids)[0]
    if rng.random() < sharing:
        request = rng.choice(ids)[1]
    lacking = rng.random()
    at_ms = an_instant(rng)
    unfinished = rng.random() < 0.25
    final = rng.randrange(12) if unfinished else rng.randrange(3_000)
    about: Json = {
        "type": "assistant",
        "isSidechain": rng.random() < 0.1,
        "sessionId": f"s{rng.randrange(7)}",
        "cwd": rng.choice(PROJECTS),
    }
    count = rng.randrange(1, 5)
    fresh, create, read = (rng.randrange(900) for _ in range(3))
    model = rng.choice(MODELS)
    lines: list[Json] = []
    for i in range(count):
        last = i == count - 1
        usage: Json = {
            "input_tokens": fresh,
            "cache_creation_input_tokens": create,
            "cache_read_input_tokens": read,
            "output_tokens": final if last else final * i // count,
        }
        if last and not unfinished and rng.random() < 0.7:
            _enrich(rng, usage)
        text = {"type": "text", "text": "y" * rng.randrange(400)}
        said: Json = {"model": model, "content": [text], "usage": usage}
        said["stop_reason"] = "end_turn" if last and not unfinished else None
        line = {**about, "uuid": f"u-{number}-{i}", "timestamp": _iso(at_ms), "message": said}
        if lacking > 0.12:
            said["id"] = message
        if lacking >= 0.2 or 0.04 < lacking <= 0.08:
            line["requestId"] = request
        lines.append(line)
        at_ms += rng.choice((0, 1, 40_000, 1_200_000))
        if rng.random() < 0.1:
            about["cwd"] = rng.choice(PROJECTS)
    return rng.sample(lines, count) if rng.random() < 0.2 else lines


def _rivals(rng: random.Random) -> list[Json]:
    """Sessions that begin at one instant in two projects."""
    at_ms = min(ANCHORS) - 40 * HOUR_MS
    return [
        {
            "type": "assistant",
            "sessionId": f"s{session}",
            "cwd": project,
            "requestId": f"req_{session}{project}",
            "timestamp": _iso(at_ms),
            "message": {
                "id": f"msg_{session}{project}",
                "model": "opus",
                "content": [],
                "stop_reason": "end_turn",
                "usage": {
                    "input_tokens": 3,
                    "output_tokens": 4,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                },
            },
        }
        for session in rng.sample(range(7), 4)
        for project in rng.sample(PROJECTS[:3], 2)
    ]


def _enrich(rng: random.Random, usage: Json) -> None:
    """What only the last line of a request has."""
    hour = rng.randrange(usage["cache_creation_input_tokens"] + 50)
    usage["cache_creation"] = {"ephemeral_1h_input_tokens": hour}
    if rng.random() < 0.5:
        usage["speed"] = rng.choice(("standard", "fast"))
        usage["service_tier"] = rng.choice(("standard", "priority"))
    if rng.random() < 0.3:
        usage["server_tool_use"] = {"web_search_requests": rng.randrange(3)}
        usage["output_tokens_details"] = {"thinking_tokens": rng.randrange(90)}
    kinds = rng.choices(
        ("message", "advisor_message", "compaction", "fallback_message"), k=rng.randrange(5)
    )
    if kinds:
        usage["iterations"] = [
            {
                "type": kind,
                **({"model": rng.choice((*MODELS, "judge"))} if rng.random() < 0.7 else {}),
                "input_tokens": rng.randrange(500),
                "cache_creation_input_tokens": rng.randrange(500),
                "cache_read_input_tokens": 0,
                "output_tokens": rng.randrange(500),
            }
            for kind in kinds
        ]


def _copies(rng: random.Random, lines: list[Json]) -> list[Json]:
    """Some of a request's lines once more: resumed or forked, replayed on the side, or quoted."""
    session = f"s{rng.randrange(9)}"
    way = rng.choice(("resumed", "replayed", "quoted"))
    found: list[Json] = []
    for line in rng.sample(lines, rng.randrange(1, len(lines) + 1)):
        copy = {**line, "sessionId": session}
        if way == "replayed":
            copy |= {"isSidechain": True, "uuid": line["uuid"] + "-again"}
            if "requestId" in copy and rng.random() < 0.6:
                copy["requestId"] += "-again"
        if way == "quoted":
            data = {"type": "agent_progress", "message": line}
            copy = {"type": "progress", "sessionId": session, "data": data}
        found.append(copy)
    return found


def _path(rng: random.Random, line: Json) -> str:
    session = line["sessionId"]
    if line.get("isSidechain"):
        return f"projects/-home/{session}/subagents/agent-{rng.randrange(2)}.jsonl"
    return f"projects/{rng.choice(('-home', '-home', '-home-b'))}/{session}.jsonl"


def _iso(at_ms: int) -> str:
    when = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
