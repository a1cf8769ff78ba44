"""What every route has to answer about requests, counted by hand.

Sums are loops over requests, and a bucket's beginning is found by walking back along the wall
clock. Knows nothing of how requests were found, and nothing of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.tokenledger.by_hand import KINDS, UNSEEN, Counted, Figures, Json

QUARTER_MS = 900_000


class Book:
    """Answers about requests."""

    def __init__(self, requests: Iterable[Counted]) -> None:
        self.requests = sorted(requests)
        self.homes: dict[str, str] = {}
        """The project of each session: that of its first request."""
        for one in sorted(self.requests, key=lambda r: (r.at_ms, r.path, r.offset)):
            self.homes.setdefault(one.session, one.project)

    def inside(self, since: int, until: int) -> list[Counted]:
        return [one for one in self.requests if since <= one.at_ms < until]

    def summary(self, since: int, until: int) -> Json:
        inside = self.inside(since, until)
        kinds = {
            kind: [figures for one in inside for k, _, figures in one.entries() if k == kind]
            for kind in KINDS
        }
        sums = {kind: _columns(rows) for kind, rows in kinds.items()}
        billed = [sum(sums[kind][i] for kind in KINDS[:3]) for i in range(4)]
        partial = [one for one in inside if one.partial]
        names = ("input", "output", "cacheCreate", "cacheRead")
        return {
            "totalTokens": sum(billed),
            "totalInput": billed[0],
            "totalOutput": billed[1],
            "totalCacheRead": billed[3],
            "totalCacheCreate": billed[2],
            "eventCount": len(inside),
            "sessionsActive": len({one.session for one in inside}),
            "oldestEventTs": min((one.at_ms for one in inside), default=None),
            "newestEventTs": max((one.at_ms for one in inside), default=None),
            "kinds": {
                kind: {"requests": len(kinds[kind]), **dict(zip(names, sums[kind], strict=True))}
                for kind in KINDS
            },
            "partial": {
                "requests": len(partial),
                "share": len(partial) / len(inside) if inside else 0,
                "estimatedOutput": sum(one.missing for one in partial),
            },
        }

    def sessions(self, since: int, until: int) -> list[Json]:
        rows = [
            {
                "sessionId": session,
                "projectPath": self.homes[session] or None,
                "totalTokens": sum(one.tokens for one in group),
                "eventCount": len(group),
                "firstTs": min(one.at_ms for one in group),
                "lastTs": max(one.at_ms for one in group),
            }
            for session, group in _by(self.inside(since, until), lambda one: one.session)
        ]
        return sorted(rows, key=lambda row: (-row["totalTokens"], row["sessionId"]))

    def projects(self, since: int, until: int) -> list[Json]:
        rows = [
            {
                "projectPath": project or None,
                "totalTokens": sum(one.tokens for one in group),
                "eventCount": len(group),
                "sessionCount": len({one.session for one in group}),
            }
            for project, group in _by(self.inside(since, until), lambda one: one.project)
        ]
        return sorted(rows, key=lambda row: (-row["totalTokens"], row["projectPath"] or ""))

    def models(self, since: int, until: int) -> list[Json]:
        entries = [
            (model, kind == "message", figures)
            for one in self.inside(since, until)
            for kind, model, figures in one.entries()
            if kind != "fallback"
        ]
        rows = []
        for model, group in _by(entries, lambda entry: entry[0]):
            sums = _columns([figures for _, _, figures in group])
            rows.append(
                {
                    "model": model or None,
                    "totalTokens": sum(sums),
                    "eventCount": sum(is_message for _, is_message, _ in group),
                    "input": sums[0],
                    "output": sums[1],
                    "cacheCreate": sums[2],
                    "cacheRead": sums[3],
                }
            )
        return sorted(rows, key=lambda row: (-row["totalTokens"], row["model"] or ""))

    def orphans(self, since: int, now_ms: int, idle_ms: int) -> list[Json]:
        last = {s: max(one.at_ms for one in g) for s, g in _by(self.requests, lambda r: r.session)}
        rows = [
            {
                "sessionId": session,
                "projectPath": self.homes[session] or None,
                "lastTs": last[session],
                "totalTokens": sum(one.tokens for one in group),
                "idleMs": now_ms - last[session],
            }
            for session, group in _by(self.inside(since, 2**53), lambda one: one.session)
            if now_ms - last[session] > idle_ms
        ]
        return sorted(rows, key=lambda row: (-row["lastTs"], row["sessionId"]))

    def series(self, since: int, until: int, bucket: str, tz: str) -> list[Json]:
        zone = ZoneInfo(tz)
        rows = []
        for start, group in sorted(
            _by(self.inside(since, until), lambda one: bucket_start(one.at_ms, bucket, zone))
        ):
            billed = [f for one in group for kind, _, f in one.entries() if kind != "fallback"]
            names = ("input", "output", "cacheCreate", "cacheRead")
            sums = dict(zip(names, _columns(billed), strict=True))
            rows.append({"start": start, "eventCount": len(group), **sums})
        return rows

    def session(self, name: str) -> list[Json]:
        """The requests of one session, in so far as the law says what they are."""
        names = (
            "input", "output", "cacheCreate", "cacheRead", "cache5m", "cache1h", "webSearches",
            "webFetches", "thinking",
        )  # fmt: skip
        own = [one for one in self.requests if one.session == name]
        return [
            {
                "ts": one.at_ms,
                "model": one.model or None,
                "serviceTier": one.tier or None,
                "speed": one.speed or None,
                **dict(zip(names, one.figures, strict=True)),
                "partial": one.partial,
                "sidechain": one.side,
                "projectPath": one.project or None,
                "file": None if one.path == UNSEEN else one.path.decode(),
                "offset": None if one.path == UNSEEN else one.offset,
                "iterations": [
                    {"kind": kind, "model": model or None, **_four(figures)}
                    for kind, _, model, figures in one.extras
                ],
            }
            for one in sorted(
                own, key=lambda r: (r.at_ms, *_folder_first(r.path), r.offset, r.request_id)
            )
        ]


def bucket_start(at_ms: int, bucket: str, zone: ZoneInfo) -> int:
    """Where the hour or day of an instant begins: the first quarter of an hour at which the wall
    clock showed that day; the last at which it struck that hour, or else the first in it."""

    def wall(quarter: int) -> datetime:
        return datetime.fromtimestamp(quarter * 900, zone)

    now = at_ms // QUARTER_MS
    there = wall(now)
    if bucket == "day":
        return QUARTER_MS * min(
            q for q in range(now - 110, now + 1) if wall(q).date() == there.date()
        )
    same = [q for q in range(now - 15, now + 1) if _hour(wall(q)) == _hour(there)]
    struck = [q for q in same if wall(q).minute == 0]
    return QUARTER_MS * (max(struck) if struck else min(same))


def _hour(when: datetime) -> tuple[int, ...]:
    return when.timetuple()[:4]


def _folder_first(path: bytes) -> tuple[bytes, bytes]:
    folder, _, name = path.rpartition(b"/")
    return (b"", b"") if path == UNSEEN else (folder, name)


def _four(figures: Figures) -> Json:
    names = ("input", "output", "cacheCreate", "cacheRead")
    return dict(zip(names, figures, strict=True))


def _columns(rows: list[Figures]) -> list[int]:
    return [sum(row[i] for row in rows) for i in range(4)]


def _by(rows: Iterable[Any], key: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return list(found.items())
