"""A `Truth` rendered as the JSON-able answers the product prints.

Promises: the same keys, order and rounding as the command line and the routes, written down a
second time on purpose. Never imports the product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks.corpus.model import COUNTED_KINDS, KINDS, Counters, Request, Truth

Json = dict[str, Any]


def answers(truth: Truth) -> Json:
    """Every view of `truth` in one dict; series in UTC and in the truth's own zone."""
    return {
        "summary": summary(truth),
        "sessions": sessions(truth),
        "projects": projects(truth),
        "models": models(truth),
        "series": {
            f"{bucket}/{tz}": series(truth, bucket, tz)
            for bucket in ("hour", "day")
            for tz in dict.fromkeys(("UTC", truth.tz))
        },
        "skips": dict(truth.skips),
        "costStates": [
            {"sessionId": session, "model": model, **figures}
            for (session, model), figures in truth.cost_states.items()
        ],
    }


def summary(truth: Truth) -> Json:
    """Totals, counts, first and last instants, kinds, and what the log left out."""
    kinds = {
        kind: {"requests": 0, "input": 0, "output": 0, "cacheCreate": 0, "cacheRead": 0}
        for kind in KINDS
    }
    for request in truth.requests:
        for kind, _, counters in request.lines():
            kinds[kind]["requests"] += 1
            _add(kinds[kind], counters)
    instants = [request.ts for request in truth.requests]
    sums = {
        name: sum(kinds[kind][name] for kind in COUNTED_KINDS)
        for name in ("input", "output", "cacheRead", "cacheCreate")
    }
    return {
        "totalTokens": sum(sums.values()),
        "totalInput": sums["input"],
        "totalOutput": sums["output"],
        "totalCacheRead": sums["cacheRead"],
        "totalCacheCreate": sums["cacheCreate"],
        "eventCount": len(instants),
        "sessionsActive": len({request.session for request in truth.requests}),
        "oldestEventTs": min(instants, default=None),
        "newestEventTs": max(instants, default=None),
        "kinds": kinds,
        "partial": _partial(truth),
    }


def sessions(truth: Truth) -> list[Json]:
    """One row a session, most tokens first, then by id."""
    found: dict[str, list[Request]] = defaultdict(list)
    for request in truth.requests:  # in origin order, so the first names the project
        found[request.session].append(request)
    rows = [
        {
            "sessionId": session,
            "projectPath": requests[0].origin.cwd,
            "totalTokens": _tokens(requests),
            "eventCount": len(requests),
            "firstTs": min(request.ts for request in requests),
            "lastTs": max(request.ts for request in requests),
        }
        for session, requests in found.items()
    ]
    return sorted(rows, key=lambda row: (-row["totalTokens"], row["sessionId"]))


def projects(truth: Truth) -> list[Json]:
    """One row a project (working directory), most tokens first, then by path."""
    found: dict[str | None, list[Request]] = defaultdict(list)
    for request in truth.requests:
        found[request.origin.cwd].append(request)
    rows = [
        {
            "projectPath": cwd,
            "totalTokens": _tokens(requests),
            "eventCount": len(requests),
            "sessionCount": len({request.session for request in requests}),
        }
        for cwd, requests in found.items()
    ]
    return sorted(rows, key=lambda row: (-row["totalTokens"], row["projectPath"] or ""))


def models(truth: Truth) -> list[Json]:
    """One row a model, most tokens first, then by name; entries count for their own model."""
    found: dict[str | None, Json] = {}
    for request in truth.requests:
        for kind, model, counters in request.lines():
            if kind not in COUNTED_KINDS:
                continue
            row = found.setdefault(model, _empty({"model": model, "totalTokens": 0}))
            row["totalTokens"] += counters.total
            row["eventCount"] += kind == "message"
            _add(row, counters)
    return sorted(found.values(), key=lambda row: (-row["totalTokens"], row["model"] or ""))


def series(truth: Truth, bucket: str, tz: str | None = None) -> list[Json]:
    """Non-empty buckets ("hour" or "day") of the zone, ascending; `start` in epoch ms."""
    zone = ZoneInfo(tz or truth.tz)
    found: dict[int, Json] = {}
    for request in truth.requests:
        start = bucket_start(request.ts, bucket, zone)
        row = found.setdefault(start, _empty({"start": start}))
        row["eventCount"] += 1
        for counters in _counted(request):
            _add(row, counters)
    return [found[start] for start in sorted(found)]


def bucket_start(ts_ms: int, bucket: str, zone: ZoneInfo) -> int:
    """The instant (epoch ms) at which the local hour or day that holds `ts_ms` begins."""
    local = datetime.fromtimestamp(ts_ms // 1000, UTC).astimezone(zone)
    start = local.replace(minute=0, second=0, microsecond=0)
    if bucket == "day":
        return round(start.replace(hour=0, fold=0).timestamp() * 1000)
    # Where clocks went back there are two such hours: it is the later one that has begun.
    begun = [round(start.replace(fold=fold).timestamp() * 1000) for fold in (0, 1)]
    return max(ms for ms in begun if ms <= ts_ms)


def _counted(request: Request) -> Iterator[Counters]:
    for kind, _, counters in request.lines():
        if kind in COUNTED_KINDS:
            yield counters


def _tokens(requests: list[Request]) -> int:
    return sum(counters.total for request in requests for counters in _counted(request))


def _partial(truth: Truth) -> Json:
    partial = [request for request in truth.requests if request.partial]
    return {
        "requests": len(partial),
        "share": len(partial) / len(truth.requests) if truth.requests else 0,
        "estimatedOutput": sum(request.missing_output for request in partial),
    }


def _empty(start: Json) -> Json:
    return {**start, "eventCount": 0, "input": 0, "output": 0, "cacheRead": 0, "cacheCreate": 0}


def _add(row: Json, counters: Counters) -> None:
    row["input"] += counters.input
    row["output"] += counters.output
    row["cacheRead"] += counters.cache_read
    row["cacheCreate"] += counters.cache_create
