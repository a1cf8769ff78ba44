"""Codex CLI for instar: its rollouts in the token ledger, and how full its rate limits are."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from instar_host import HostContext, Panel, Route, Settings, Tick, hookimpl
from instar_host.endpoints import json_response
from instar_tokenledger import Counters, Decoded, Lines, TokenSource, UsageRow, iter_lines

HEAD = ("id", "cwd", "model", "cli_version")


class CodexSettings(Settings, frozen=True, kw_only=True):
    home: Annotated[str, msgspec.Meta(description="Codex's folder")] = "~/.codex"


class Line(msgspec.Struct):
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    payload: dict[str, Any]


def decode(lines: Lines, state: bytes) -> Decoded:
    """A row for each reading of the session's running total. The state is the session's head."""
    head: dict[str, str] = msgspec.json.decode(state) if state else {}
    rows: list[UsageRow] = []
    for offset, line in iter_lines(lines):
        if b'"turn_context"' in line or (b'"session_meta"' in line and "id" not in head):
            said = msgspec.json.decode(line, type=Line).payload.items()
            head |= {key: value for key, value in said if key in HEAD and isinstance(value, str)}
        elif b'"token_count"' in line and b'"total_token_usage"' in line:
            reading = msgspec.json.decode(line, type=Line)
            total = reading.payload["info"]["total_token_usage"]
            cached = total.get("cached_input_tokens", 0)  # `input_tokens` contains them
            rows.append(UsageRow(
                session=head["id"], request_id=head["id"], project=head.get("cwd", ""),
                model=head.get("model", ""), version=head.get("cli_version", ""), offset=offset,
                at_ms=int(reading.timestamp.timestamp() * 1000),
                counters=Counters(input=total["input_tokens"] - cached, cache_read=cached,
                                  output=total["output_tokens"],
                                  thinking=total.get("reasoning_output_tokens", 0))))  # fmt: skip
    return Decoded(rows=rows, state=msgspec.json.encode(head))


class CodexPlugin:
    limits: Any = None

    @hookimpl
    def tokenledger_sources(self, host: HostContext) -> list[TokenSource]:
        return [TokenSource(name="codex", semantics="cumulative", roots=lambda: [_sessions(host)],
                            selects=lambda path: b"/rollout-" in path, decode=decode)]  # fmt: skip

    @hookimpl
    def instar_routes(self) -> list[Route]:
        return [Route(method="GET", path="/codex/limits", summary="Codex's rate limits",
                      endpoint=lambda _: json_response({"limits": self.limits}))]  # fmt: skip

    @hookimpl
    def instar_ticks(self, host: HostContext) -> list[Tick]:
        return [Tick(name="codex-limits", func=lambda _control: self.look(_sessions(host)))]

    @hookimpl
    def instar_panels(self) -> list[Panel]:
        return [Panel(id="codex", title="Codex", module=Path(__file__).parent / "panel/codex.js")]

    def look(self, sessions: Path) -> None:
        """Remember what the newest rollout said last; their names sort by time."""
        if newest := max(sessions.glob("*/*/*/rollout-*.jsonl"), default=None):
            with newest.open("rb") as file:
                said = [line for line in file if b'"rate_limits":{' in line and b"\n" in line]
            self.limits = msgspec.json.decode(said[-1])["payload"]["rate_limits"] if said else None


def _sessions(host: HostContext) -> Path:
    return Path(host.config.plugin_settings("codex", CodexSettings).home).expanduser() / "sessions"
