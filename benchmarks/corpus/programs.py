"""Small programs of lines for property tests: dense collisions of ids, any order, any partition.

Promises: the line of a `Row` says exactly that row, so a test may permute, spread and cut rows at
will and still know the truth. Writes no file by itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.corpus.building import START_MS
from benchmarks.corpus.model import Counters, Iteration, Row
from benchmarks.corpus.text import dumps, iso

Json = dict[str, Any]


def emit_lines(rows: Iterable[Row]) -> list[bytes]:
    """One line a row, without newlines."""
    return [emit_line(row) for row in rows]


def emit_line(row: Row) -> bytes:
    """The line that says `row`; a quoted row becomes an `agent_progress` line."""
    about: Json = {"sessionId": row.session}
    named = {"cwd": row.cwd, "version": row.version, "gitBranch": row.branch}
    about |= {name: value for name, value in named.items() if value is not None}
    bearing: Json = {"message": _message(row)}
    if row.request_id is not None:
        bearing["requestId"] = row.request_id
    ids: Json = {} if row.uuid is None else {"uuid": row.uuid}
    stamp = {"timestamp": iso(row.ts)}
    if row.quoted:
        quoted = {"type": "assistant"} | stamp | bearing | ids
        data: Json = {"message": quoted, "type": "agent_progress"}
        if row.agent_id is not None:
            data["agentId"] = row.agent_id
        return dumps(about | {"type": "progress", "data": data} | stamp)
    agent = {} if row.agent_id is None else {"agentId": row.agent_id}
    side = {"isSidechain": row.sidechain}
    return dumps(side | agent | about | bearing | {"type": "assistant"} | ids | stamp)


def lay(path: bytes, rows: Iterable[Row], end: bytes = b"\n") -> tuple[bytes, list[Row]]:
    """The bytes of a file that holds `rows` in this order, and the rows with their places."""
    data = b""
    placed = []
    for row in rows:
        line = emit_line(row)
        placed.append(replace(row, path=path, offset=len(data), length=len(line)))
        data += line + end
    return data, placed


def random_rows(rng: random.Random, count: int, *, ids: int = 3) -> list[Row]:
    """`count` rows over tiny pools of ids, so that every merge of the rule happens."""
    return [_random_row(rng, ids) for _ in range(count)]


def rows_permuted(rows: Sequence[Row], rng: random.Random) -> list[Row]:
    """The same rows in another order."""
    return rng.sample(rows, k=len(rows))


def partitioned(rows: Sequence[Row], rng: random.Random, files: int) -> list[list[Row]]:
    """The rows spread over `files` lists, order kept inside each."""
    parts: list[list[Row]] = [[] for _ in range(files)]
    for row in rows:
        rng.choice(parts).append(row)
    return parts


def slices(
    sizes: Mapping[bytes, int], rng: random.Random, steps: int
) -> Iterator[dict[bytes, int]]:
    """How long each file is at each of `steps` moments; grows, ends at the given sizes.

    A file may appear late and may stand still; cuts fall anywhere, inside lines too.
    """
    cuts = {
        path: sorted(rng.randint(-size // 4, size) for _ in range(steps - 1))
        for path, size in sizes.items()
    }
    for step in range(steps - 1):
        yield {path: cut[step] for path, cut in cuts.items() if cut[step] >= 0}
    yield dict(sizes)


def _message(row: Row) -> Json:
    message: Json = {}
    if row.message_id is not None:
        message["id"] = row.message_id
    if row.model is not None:
        message["model"] = row.model
    message["role"] = "assistant"
    message["content"] = [{"type": "text", "text": "x" * row.chars}]
    message["stop_reason"] = "end_turn" if row.stop else None
    usage = _usage(row.counters)
    if row.tier is not None:
        usage["service_tier"] = row.tier
    if row.speed is not None:
        usage["speed"] = row.speed
    if row.iterations:
        usage["iterations"] = [
            _usage(it.counters)
            | {"type": it.type}
            | ({} if it.model is None else {"model": it.model})
            for it in row.iterations
        ]
    if row.rich and row.speed is None and not row.iterations:
        usage.setdefault("server_tool_use", {})
    return message | {"usage": usage}


def _usage(counters: Counters) -> Json:
    usage: Json = {"input_tokens": counters.input, "output_tokens": counters.output}
    usage["cache_creation_input_tokens"] = counters.cache_create
    usage["cache_read_input_tokens"] = counters.cache_read
    if counters.cache_5m or counters.cache_1h:
        usage["cache_creation"] = {
            "ephemeral_5m_input_tokens": counters.cache_5m,
            "ephemeral_1h_input_tokens": counters.cache_1h,
        }
    if counters.web_search or counters.web_fetch:
        usage["server_tool_use"] = {
            "web_search_requests": counters.web_search,
            "web_fetch_requests": counters.web_fetch,
        }
    if counters.thinking:
        usage["output_tokens_details"] = {"thinking_tokens": counters.thinking}
    return usage


def _random_row(rng: random.Random, ids: int) -> Row:
    def pick(prefix: str, missing: float) -> str | None:
        return None if rng.random() < missing else f"{prefix}{rng.randrange(ids)}"

    counters = _random_counters(rng)
    web = rng.random() < 0.1
    counters = replace(counters, web_search=rng.randrange(1, 9) if web else 0)
    iterations = tuple(_random_iteration(rng) for _ in range(rng.choice((0, 0, 0, 1, 3))))
    speed = rng.choice((None, None, None, "standard", "fast"))
    message_id, request_id = pick("msg_", 0.25), pick("req_", 0.25)
    quoted = rng.random() < 0.1
    nameless = message_id is None and request_id is None
    return Row(
        message_id=message_id,
        request_id=request_id,
        uuid=pick("uuid-", 0.0 if nameless else 0.2),
        session=f"session-{rng.randrange(ids)}",
        ts=START_MS + rng.choice((0, 1, 999, 3_600_000, 86_400_000 * 2)) + rng.randrange(ids),
        sidechain=quoted or rng.random() < 0.15,
        quoted=quoted,
        model=pick("model-", 0.1),
        tier=rng.choice((None, "standard", "priority")),
        speed=speed,
        stop=rng.random() < 0.2,
        rich=bool(iterations) or speed is not None or web,
        counters=counters,
        iterations=iterations,
        chars=rng.choice((0, 31, rng.randrange(400))),
        cwd=pick("/work-", 0.1),
        agent_id=pick("a", 0.6),
        branch=pick("branch-", 0.3),
        version=rng.choice((None, "2.1.7", "2.1.98")),
    )


def _random_counters(rng: random.Random) -> Counters:
    cache_5m, cache_1h = rng.choice((0, 5)), rng.choice((0, 7))
    return Counters(
        input=rng.randrange(50),
        output=rng.choice((0, 1, 2, 10, 11, 900)),
        cache_create=cache_5m + cache_1h + rng.choice((0, 0, 3)),
        cache_read=rng.randrange(500),
        cache_5m=cache_5m,
        cache_1h=cache_1h,
        thinking=rng.choice((0, 0, 4)),
    )


def _random_iteration(rng: random.Random) -> Iteration:
    kind = rng.choice(("message", "advisor_message", "compaction", "fallback_message"))
    model = rng.choice((None, "model-0", "model-9"))
    return Iteration(type=kind, model=model, counters=replace(_random_counters(rng), thinking=0))
