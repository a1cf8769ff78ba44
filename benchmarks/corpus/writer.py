"""Turns events into the lines and files of a configuration folder, and remembers what they say.

Promises: the key order of the real client (`"type":"assistant"` after the message, every other
type before its payload), exact byte offsets, modification times of the last row. What a line
says is taken from the event it was written from, never parsed back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.corpus.eras import Era
from benchmarks.corpus.model import CostFigures, Counters, Iteration, Row, Skip
from benchmarks.corpus.text import dumps, folder_name, iso

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an event is told: the fields that all lines of one conversation share."""

    era: Era
    session: str
    cwd: str | None
    branch: str = "main"
    slug: str = "quiet-river"
    agent_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line before it has a place. `row` is what it says when it bears usage."""

    type: str
    ts: int
    uuid: str | None
    parent: str | None
    body: Json
    row: Row | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Bytes without a newline, and what a right reading makes of them."""

    data: bytes
    ts: int = 0
    row: Row | None = None
    skip: str | None = None
    costs: tuple[CostFigures, ...] = ()


@dataclass(kw_only=True)
class Transcript:
    """A file being written; `path` is relative to the configuration folder."""

    path: str
    root: Path
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    rows: list[Row] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    costs: list[CostFigures] = field(default_factory=list)
    last_ms: int = 0

    @property
    def absolute(self) -> bytes:
        """The path that rows carry."""
        return os.path.join(os.fsencode(self.root), os.fsencode(self.path))

    def add(self, line: Line, end: bytes = b"\n") -> None:
        """Append one line; an empty `end` leaves it unterminated, so nothing may follow."""
        if line.row is not None:
            placed = replace(line.row, path=self.absolute, offset=self.size, length=len(line.data))
            self.rows.append(placed)
        if line.skip is not None:
            self.skips.append(Skip(path=self.absolute, offset=self.size, reason=line.skip))
        self.costs.extend(line.costs)
        self.last_ms = max(self.last_ms, line.ts)
        self.chunks.append(line.data + end)
        self.size += len(line.data) + len(end)

    def tell(self, place: Place, *events: Event) -> None:
        """Append the lines of `events`, told at `place`."""
        for event in events:
            self.add(render(event, place))

    def save(self) -> None:
        """Write the file and set its times to its last event."""
        path = self.absolute
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.writelines(self.chunks)
        os.utime(path, ns=(self.last_ms * 1_000_000, self.last_ms * 1_000_000))


def session_path(place: Place) -> str:
    """The session's own file, relative to the configuration folder."""
    return f"projects/{folder_name(place.cwd or 'unknown')}/{place.session}.jsonl"


def agent_path(place: Place, name: str, workflow: str | None = None) -> str:
    """A subagent's file: beside the session, or below it from 2.1.2 on."""
    folder = f"projects/{folder_name(place.cwd or 'unknown')}"
    if place.era.subagents != "nested":
        return f"{folder}/agent-{name}.jsonl"
    inner = f"workflows/{workflow}/" if workflow else ""
    return f"{folder}/{place.session}/subagents/{inner}agent-{name}.jsonl"


def render(event: Event, place: Place) -> Line:
    """The line that tells `event` at `place`."""
    return Line(data=dumps(line_object(event, place)), ts=event.ts, row=placed_row(event, place))


def placed_row(event: Event, place: Place) -> Row | None:
    """What the line of `event` says at `place`, before it has a file."""
    if event.row is None:
        return None
    return replace(
        event.row,
        session=place.session,
        cwd=place.cwd,
        branch=place.branch,
        version=place.era.version,
        agent_id=place.agent_id,
        sidechain=place.agent_id is not None,
    )


def line_object(event: Event, place: Place) -> Json:
    """The line as an object, its keys in the client's order."""
    line: Json = {"parentUuid": event.parent, "isSidechain": place.agent_id is not None}
    if place.agent_id is not None:
        line["agentId"] = place.agent_id
    line["userType"] = "external"
    if place.cwd is not None:
        line["cwd"] = place.cwd
    line |= {"sessionId": place.session, "version": place.era.version, "gitBranch": place.branch}
    if place.era.slug:
        line["slug"] = place.slug
    if place.era.entrypoint:
        line["entrypoint"] = "cli"
    if event.type == "assistant":
        line |= event.body | {"type": "assistant"}
    else:
        line |= {"type": event.type} | event.body
    if event.uuid is not None:
        line["uuid"] = event.uuid
    return line | {"timestamp": iso(event.ts)}


def quote(agent_event: Event, agent: Place, outer: Place, outer_uuid: str) -> Line:
    """An `agent_progress` line of the outer session that quotes a subagent's event whole."""
    quoted: Json = {"type": agent_event.type, "timestamp": iso(agent_event.ts)}
    quoted |= agent_event.body
    if agent_event.uuid is not None:
        quoted["uuid"] = agent_event.uuid
    body = {
        "data": {
            "message": quoted,
            "normalizedMessages": [],
            "type": "agent_progress",
            "prompt": "",
            "agentId": agent.agent_id,
        },
        "toolUseID": "agent_" + (agent_event.uuid or "none"),
        "parentToolUseID": "toolu_01parent",
    }
    event = Event(type="progress", ts=agent_event.ts, uuid=outer_uuid, parent=None, body=body)
    row = agent_event.row
    if row is not None:
        row = replace(
            row,
            session=outer.session,
            cwd=outer.cwd,
            branch=outer.branch,
            version=outer.era.version,
            agent_id=agent.agent_id,
            sidechain=True,
            quoted=True,
        )
    return replace(render(event, outer), row=row)


def usage_object(era: Era, row: Row) -> Json:
    """`message.usage` as the era writes it, so that it says what `row` says."""
    usage = _token_fields(row.counters, split=era.split_cache) | {"service_tier": row.tier}
    if era.geo:
        usage["inference_geo"] = "not_available"
    if row.rich:
        usage["server_tool_use"] = {
            "web_search_requests": row.counters.web_search,
            "web_fetch_requests": row.counters.web_fetch,
        }
        if era.iterations:
            usage["iterations"] = [_iteration_object(it) for it in row.iterations]
        usage["speed"] = row.speed
    if era.block_index:
        usage["output_tokens_details"] = {"thinking_tokens": row.counters.thinking}
    return usage


def _token_fields(counters: Counters, *, split: bool) -> Json:
    tokens: Json = {
        "input_tokens": counters.input,
        "cache_creation_input_tokens": counters.cache_create,
        "cache_read_input_tokens": counters.cache_read,
        "output_tokens": counters.output,
    }
    if split:
        tokens["cache_creation"] = {
            "ephemeral_5m_input_tokens": counters.cache_5m,
            "ephemeral_1h_input_tokens": counters.cache_1h,
        }
    return tokens


def _iteration_object(iteration: Iteration) -> Json:
    model = {} if iteration.model is None else {"model": iteration.model}
    return _token_fields(iteration.counters, split=True) | {"type": iteration.type} | model
