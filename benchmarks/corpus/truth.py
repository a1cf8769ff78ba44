"""The oracle: the right answer for a list of usage rows, computed in the most obvious way.

Promises: union-find over the rows, plain dicts, no cleverness; a reader can check it against the
accounting rule line by line. Never imports the product, never reads a file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from benchmarks.corpus.model import CostFigures, Counters, Entry, Request, Row, Skip, Truth

PLACEHOLDER_OUTPUT = 10
CHARS_PER_OUTPUT_TOKEN = 2.48
ENTRY_KINDS = {
    "advisor_message": "advisor",
    "compaction": "compaction",
    "fallback_message": "fallback",
}


def truth_of(
    rows: Iterable[Row],
    since_ms: int | None = None,
    until_ms: int | None = None,
    tz: str = "UTC",
    *,
    skips: Iterable[Skip] = (),
    costs: Iterable[CostFigures] = (),
) -> Truth:
    """The truth for `rows` in any order.

    Requests are formed from all rows; then those at or after `since_ms` and before `until_ms`
    (epoch milliseconds, of the request's origin) are kept.
    """
    requests = [_request(members) for members in components(list(rows))]
    kept = [
        request
        for request in requests
        if (since_ms is None or request.ts >= since_ms)
        and (until_ms is None or request.ts < until_ms)
    ]
    kept.sort(key=lambda request: origin_order(request.origin))
    return Truth(
        requests=tuple(kept),
        tz=tz,
        skips=dict(sorted(Counter(skip.reason for skip in skips).items())),
        cost_states=_cost_states(costs),
    )


def components(rows: list[Row]) -> list[list[Row]]:
    """Partition `rows` into requests."""
    links = _Links(len(rows))
    by_message = _group(rows, lambda row: row.message_id)
    for members in by_message.values():
        if any(rows[i].request_id is None or rows[i].sidechain for i in members):
            links.unite(members)
        else:
            for same in _group(rows, lambda row: row.request_id, members).values():
                links.unite(same)
    only = [i for i, row in enumerate(rows) if row.message_id is None]
    bearers = _group(
        rows, lambda row: row.request_id, [i for i, row in enumerate(rows) if row.message_id]
    )
    for request_id, members in _group(rows, lambda row: row.request_id, only).items():
        links.unite(members + bearers.get(request_id, []))
    nameless = [i for i in only if rows[i].request_id is None]
    for members in _group(rows, lambda row: row.uuid, nameless).values():
        links.unite(members)
    return [[rows[i] for i in members] for members in links.sets()]


def origin_order(row: Row) -> tuple[int, str, bytes, int]:
    """The order that decides time, session, project and provenance: smallest first."""
    return (row.ts, row.session, row.path, row.offset)


def content_chars(rows: Iterable[Row]) -> int:
    """Content length of a request: distinct row uuids within one file, the largest file wins."""
    files: dict[bytes, dict[str | int, int]] = defaultdict(dict)
    for row in rows:
        seen = files[row.path]
        name: str | int = row.offset if row.uuid is None else row.uuid
        seen[name] = max(seen.get(name, 0), row.chars)
    return max(sum(seen.values()) for seen in files.values())


class _Links:
    """Union-find over `count` numbered things."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, i: int) -> int:
        while self._parents[i] != i:
            self._parents[i] = self._parents[self._parents[i]]
            i = self._parents[i]
        return i

    def unite(self, members: list[int]) -> None:
        for i in members[1:]:
            self._parents[self.find(i)] = self.find(members[0])

    def sets(self) -> list[list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for i in range(len(self._parents)):
            found[self.find(i)].append(i)
        return list(found.values())


def _group(
    rows: list[Row], key: Callable[[Row], str | None], among: Iterable[int] | None = None
) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for i in range(len(rows)) if among is None else among:
        name = key(rows[i])
        if name is not None:
            found[name].append(i)
    return found


def _richness(row: Row) -> tuple[bool, bool, bool, int, str, str, str]:
    return (
        row.stop,
        bool(row.iterations),
        row.speed is not None,
        row.counters.total,
        row.model or "",
        row.tier or "",
        row.speed or "",
    )


def _request(rows: list[Row]) -> Request:
    richest = max(rows, key=_richness)
    counters = Counters()
    for row in rows:
        counters = counters.maximum(row.counters)
    stop = any(row.stop for row in rows)
    rich = any(row.rich for row in rows)
    chars = content_chars(rows)
    missing = 0
    if not stop and not rich and counters.output <= PLACEHOLDER_OUTPUT:
        missing = max(0, round(chars / CHARS_PER_OUTPUT_TOKEN) - counters.output)
    return Request(
        rows=tuple(sorted(rows, key=origin_order)),
        origin=min(rows, key=origin_order),
        counters=counters,
        model=richest.model,
        tier=richest.tier,
        speed=richest.speed,
        stop=stop,
        rich=rich,
        entries=_entries(rows, richest.model),
        chars=chars,
        missing_output=missing,
    )


def _entries(rows: list[Row], request_model: str | None) -> tuple[Entry, ...]:
    counters: dict[tuple[str, int], Counters] = {}
    models: dict[tuple[str, int], str] = {}
    for row in rows:
        fallbacks = [i for i, it in enumerate(row.iterations) if it.type == "fallback_message"]
        for index, iteration in enumerate(row.iterations):
            kind = ENTRY_KINDS.get(iteration.type)
            if kind is None or index in fallbacks[-1:]:
                continue
            place = (kind, index)
            counters[place] = counters.get(place, Counters()).maximum(iteration.counters)
            models[place] = max(models.get(place, ""), iteration.model or "")
    return tuple(
        Entry(kind=kind, index=index, model=models[kind, index] or request_model, counters=found)
        for (kind, index), found in sorted(counters.items())
    )


def _cost_states(costs: Iterable[CostFigures]) -> Mapping[tuple[str, str], Mapping[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for cost in costs:
        kept = found[cost.session, cost.model]
        for name, value in cost.figures:
            kept[name] = max(kept.get(name, value), value)
    return {place: dict(sorted(kept.items())) for place, kept in sorted(found.items())}
