"""A small made-up history of a coding agent, for a first look at the page without one's own.

Writes transcripts of the shape Claude Code writes, in several projects and models, over some weeks
that end now. Invents everything; the same instant gives the same tree. Writes below one folder
only.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = "claude"
DAYS = 75
HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS
SEED = 4042

VERSION = "2.1.14"
OPUS, SONNET, HAIKU = (
    "claude-opus-4-5-20251101",
    "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5-20251001",
)


class _Project(NamedTuple):
    path: str
    weight: float
    models: tuple[str, ...]


PROJECTS = (
    _Project("/home/ada/code/harbour", 5.0, (OPUS, OPUS, SONNET)),
    _Project("/home/ada/code/harbour-web", 3.0, (SONNET, SONNET, OPUS)),
    _Project("/home/ada/code/tide-tables", 2.0, (SONNET, HAIKU)),
    _Project("/home/ada/notes", 1.0, (HAIKU,)),
    _Project("/home/ada/dotfiles", 0.5, (SONNET,)),
)


def write_sample(folder: Path, now_ms: int) -> Path:
    """Write the transcripts below `folder`; returns the configuration folder that holds them."""
    rng = random.Random(SEED)  # noqa: S311 - nothing secret is drawn
    config = folder / FOLDER
    for start_ms, requests in _sessions(rng, now_ms):
        project = rng.choices(PROJECTS, [p.weight for p in PROJECTS])[0]
        _write(config / "projects", _Session(rng, project, start_ms, now_ms), requests)
    return config


def _sessions(rng: random.Random, now_ms: int) -> Iterator[tuple[int, int]]:
    """When each session begins and how many requests it has; the last ones lead up to now."""
    for days_ago in range(DAYS, 0, -1):
        midnight = (now_ms - days_ago * DAY_MS) // DAY_MS * DAY_MS
        weekend = datetime.fromtimestamp(midnight / 1000, UTC).weekday() >= 5
        for _ in range(rng.choice((0, 0, 1)) if weekend else rng.randint(1, 4)):
            yield midnight + int(rng.triangular(7, 20, 10) * HOUR_MS), rng.randint(6, 60)
    for hours_ago, requests in ((20.5, 30), (17, 24), (9, 18), (5.2, 40), (2.4, 22), (0.6, 60)):
        yield now_ms - int(hours_ago * HOUR_MS), requests


class _Session:
    """One session being told, line by line, until its requests or the present are reached."""

    def __init__(self, rng: random.Random, project: _Project, start_ms: int, now_ms: int) -> None:
        self.rng = rng
        self.project = project
        self.id = self.uuid()
        self.model = rng.choice(project.models)
        self.at_ms = start_ms
        self.now_ms = now_ms
        self.context = rng.randint(9_000, 18_000)

    def uuid(self) -> str:
        digits = f"{self.rng.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "a" + digits[17:20],
                         digits[20:]))  # fmt: skip

    def lines(self, requests: int, agent: str | None = None) -> Iterator[dict[str, Any]]:
        yield self._line("user", agent, {"role": "user", "content": "A made-up question."})
        for number in range(requests):
            self.at_ms += int(self.rng.triangular(4_000, 150_000, 18_000))
            if self.at_ms >= self.now_ms:
                return
            yield from self._request(number, agent)

    def _request(self, number: int, agent: str | None) -> Iterator[dict[str, Any]]:
        rng = self.rng
        output = int(rng.lognormvariate(5.6, 1.1)) + 1
        created = int(rng.lognormvariate(7.0, 0.9)) if number else self.context
        read = self.context if number else 0
        self.context = min(self.context + created, 165_000)
        usage: dict[str, Any] = {
            "input_tokens": rng.randint(2, 60),
            "cache_creation_input_tokens": created,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": created, "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": output,
            "service_tier": "standard",
        }  # fmt: skip
        message = {"id": f"msg_{rng.getrandbits(96):024x}", "type": "message", "role": "assistant",
                   "model": self.model, "stop_reason": "tool_use", "usage": usage}  # fmt: skip
        more = {"requestId": f"req_{rng.getrandbits(96):024x}"}
        text = [{"type": "text", "text": "A made-up answer. " * rng.randint(1, 8)}]
        if rng.random() < 0.02:  # a request of which only the placeholder was ever written
            placeholder = {**message, "stop_reason": None, "content": text,
                           "usage": {**usage, "output_tokens": 1}}  # fmt: skip
            yield self._line("assistant", agent, placeholder, more)
            return
        yield self._line("assistant", agent, {**message, "content": text}, more)
        tool = [{"type": "tool_use", "id": f"toolu_{number}", "name": "Read", "input": {}}]
        yield self._line("assistant", agent, {**message, "content": tool}, more)

    def _line(
        self,
        kind: str,
        agent: str | None,
        message: dict[str, Any],
        more: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        moment = datetime.fromtimestamp(self.at_ms / 1000, UTC)
        return {
            "parentUuid": None,
            "isSidechain": agent is not None,
            **({"agentId": agent} if agent else {}),
            "cwd": self.project.path,
            "sessionId": self.id,
            "version": VERSION,
            "gitBranch": "main",
            "type": kind,
            "message": message,
            **(more or {}),
            "uuid": self.uuid(),
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }


def _write(projects: Path, session: _Session, requests: int) -> None:
    folder = projects / session.project.path.replace("/", "-")
    os.makedirs(folder, exist_ok=True)
    lines = [_json(line) for line in session.lines(requests)]
    if session.rng.random() < 0.04:  # a crash in mid-line, as happens
        lines.insert(len(lines) // 2, '{"type":"assistant","message":{"usage":{"input_tok\n')
    _append(folder / f"{session.id}.jsonl", lines)
    if session.rng.random() < 0.3 and session.at_ms < session.now_ms:
        agents = folder / session.id / "subagents"
        agents.mkdir(parents=True)
        name = f"{session.rng.getrandbits(28):07x}"
        session.model = HAIKU
        helper = [_json(line) for line in session.lines(session.rng.randint(3, 15), name)]
        _append(agents / f"agent-{name}.jsonl", helper)


def _append(path: Path, lines: list[str]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(lines)


def _json(line: dict[str, Any]) -> str:
    return json.dumps(line, separators=(",", ":")) + "\n"
