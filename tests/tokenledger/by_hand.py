"""Requests counted by hand from the lines on the disk.

Shares nothing with the ledger nor with the corpus: lines are read with `json`, and requests are
found by handing labels on until none changes. Slow and plain on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]
Figures = tuple[int, ...]
"""Input, output, cache made, cache read, and of a message five more."""

CLAUDE = "claude-code"
UNSEEN = b"\xff"
KINDS = ("message", "advisor", "compaction", "fallback")


class Said(NamedTuple):
    """What one line says."""

    source: str
    at_ms: int
    session: str
    path: bytes
    offset: int
    ids: tuple[str, str, str]
    """Of the message, of the request, and of the line itself."""
    figures: Figures
    project: str = ""
    model: str = ""
    tier: str = ""
    speed: str = ""
    side: bool = False
    stop: bool = False
    rich: bool = False
    listed: bool = False
    """True where there is a list of iterations, whatever is in it."""
    extras: tuple[tuple[str, int, str, Figures], ...] = ()
    """(kind, place in the list, model, figures) of what the top level leaves out."""
    chars: int = 0


class Counted(NamedTuple):
    """One request."""

    at_ms: int
    session: str
    project: str
    path: bytes
    offset: int
    side: bool
    model: str
    tier: str
    speed: str
    figures: Figures
    extras: tuple[tuple[str, int, str, Figures], ...]
    partial: bool
    missing: int
    request_id: str
    """Of the line that gives the request its time."""

    def entries(self) -> Iterator[tuple[str, str, Figures]]:
        """(kind, model, four figures) of the message and of every extra."""
        yield "message", self.model, self.figures[:4]
        for kind, _, model, figures in self.extras:
            yield kind, model or self.model, figures

    @property
    def tokens(self) -> int:
        return sum(sum(figures) for kind, _, figures in self.entries() if kind != "fallback")


def lines_below(folder: Path) -> set[Said]:
    """Every usage line below a configuration folder, as it lies on the disk now."""
    found: set[Said] = set()
    for path in sorted((folder / "projects").rglob("*.jsonl")):
        offset = 0
        for line in path.read_bytes().split(b"\n"):
            try:
                said = _said(json.loads(line), bytes(path), offset)
            except ValueError:
                said = None
            found |= {said} if said else set()
            offset += len(line) + 1
    return found


def requests_in(lines: Iterable[Said]) -> list[Counted]:
    """The requests that some lines tell, each once."""
    by_label: dict[int, list[Said]] = {}
    said = sorted(set(lines))
    for one, label in zip(said, _labels(said), strict=True):
        by_label.setdefault(label, []).append(one)
    return [_counted(group) for group in by_label.values()]


def differences_in(readings: Iterable[Said]) -> list[Counted]:
    """The requests that running totals amount to: of each reading, what it stands above the one
    before, where nothing said later is less."""
    totals: dict[tuple[str, str], dict[tuple[int, Figures], Said]] = {}
    for one in sorted(set(readings), key=lambda r: (r.at_ms, r.path, r.offset, r.figures)):
        totals.setdefault((one.source, one.ids[1]), {}).setdefault((one.at_ms, one.figures), one)
    found: list[Counted] = []
    for total in totals.values():
        said = list(total.values())
        stood: Figures = (0,) * 9
        for i, one in enumerate(said):
            stands = tuple(
                min(figures) for figures in zip(*(r.figures for r in said[i:]), strict=True)
            )
            added = tuple(now - then for now, then in zip(stands, stood, strict=True))
            stood = stands
            if any(added):
                found.append(_counted([one._replace(figures=added, stop=True)]))
    return found


def _said(line: Any, path: bytes, offset: int) -> Said | None:
    if not isinstance(line, dict):
        return None
    around = line
    if line.get("type") == "progress":
        data = line["data"]
        if data["type"] != "agent_progress":
            return None
        line = {**data["message"], "isSidechain": True}
    if line.get("type") != "assistant" or line["message"]["model"] == "<synthetic>":
        return None
    message, usage = line["message"], line["message"]["usage"]
    when = datetime.fromisoformat(line["timestamp"])
    return Said(
        source=CLAUDE,
        at_ms=round(when.timestamp() * 1000),
        session=line.get("sessionId") or around["sessionId"],
        path=path,
        offset=offset,
        ids=(message.get("id", ""), line.get("requestId", ""), line.get("uuid", "")),
        figures=_figures(usage),
        project=line.get("cwd") or around.get("cwd", ""),
        model=message["model"],
        tier=usage.get("service_tier", ""),
        speed=usage.get("speed", ""),
        side=line.get("isSidechain", False),
        stop=message.get("stop_reason") is not None,
        rich="speed" in usage or "server_tool_use" in usage or bool(usage.get("iterations")),
        listed=bool(usage.get("iterations")),
        extras=_extras(usage.get("iterations", [])),
        chars=sum(len(block["text"]) for block in message["content"]),
    )


def _figures(usage: Json) -> Figures:
    parts, tools = usage.get("cache_creation", {}), usage.get("server_tool_use", {})
    five, hour = (parts.get(f"ephemeral_{n}_input_tokens", 0) for n in ("5m", "1h"))
    return (
        usage["input_tokens"], usage["output_tokens"],
        max(usage["cache_creation_input_tokens"], five + hour), usage["cache_read_input_tokens"],
        five, hour, tools.get("web_search_requests", 0), tools.get("web_fetch_requests", 0),
        usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
    )  # fmt: skip


def _extras(iterations: list[Json]) -> tuple[tuple[str, int, str, Figures], ...]:
    """All but the messages and the fallback that answered in the end."""
    answered = [i for i, entry in enumerate(iterations) if entry["type"] == "fallback_message"][-1:]
    return tuple(
        (entry["type"].removesuffix("_message"), i, entry.get("model", ""), _figures(entry)[:4])
        for i, entry in enumerate(iterations)
        if entry["type"] != "message" and i not in answered
    )


def _labels(said: list[Said]) -> list[int]:
    """A number for each line, the same for lines of one request."""
    loose = {one.ids[0] for one in said if one.ids[0] and (one.side or not one.ids[1])}
    alone = {one.ids[1] for one in said if not one.ids[0]}
    bonds: dict[tuple[str, ...], list[int]] = {}
    for i, one in enumerate(said):
        message, request, line = one.ids
        if message:
            bonds.setdefault(
                ("message", message) if message in loose else ("both", message, request), []
            ).append(i)
        if request and request in alone:
            bonds.setdefault(("request", request), []).append(i)
        if not message and not request:
            bonds.setdefault(("line", line), []).append(i)
    labels = list(range(len(said)))
    changed = True
    while changed:
        changed = False
        for bound in bonds.values():
            least = min(labels[i] for i in bound)
            for i in bound:
                changed = changed or labels[i] != least
                labels[i] = least
    return labels


def _counted(group: list[Said]) -> Counted:
    first = min(group, key=lambda s: (s.at_ms, s.session, s.path, s.offset))
    richest = max(
        (s.stop, s.listed, s.speed != "", sum(s.figures[:4]), s.model, s.tier, s.speed)
        for s in group
    )
    figures = tuple(max(column) for column in zip(*(s.figures for s in group), strict=True))
    ended = any(s.stop or s.rich for s in group)
    partial = not ended and figures[1] <= 10
    chars: dict[bytes, dict[str, int]] = {}
    for s in group:
        of_file, line = chars.setdefault(s.path, {}), s.ids[2] or str(s.offset)
        of_file[line] = max(s.chars, of_file.get(line, 0))
    longest = max(sum(of_file.values()) for of_file in chars.values())
    extras: dict[tuple[int, int], tuple[str, Figures]] = {}
    for kind, place, model, more in (extra for s in group for extra in s.extras):
        known_model, known = extras.get((KINDS.index(kind), place), ("", (0,) * 4))
        both = tuple(max(pair) for pair in zip(known, more, strict=True))
        extras[KINDS.index(kind), place] = (max(model, known_model), both)
    return Counted(
        first.at_ms, first.session, first.project, first.path, first.offset, first.side,
        *richest[4:], figures,
        tuple((KINDS[k], place, *extras[k, place]) for k, place in sorted(extras)), partial,
        max(0, round(longest / 2.48) - figures[1]) if partial else 0, first.ids[1],
    )  # fmt: skip
