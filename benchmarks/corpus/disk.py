"""The second oracle: reads a tree of transcripts from scratch, one `json.loads` a line.

Promises: the same `Row`s, skips and cost figures that the accounting rule asks for, by the
slowest and plainest means, for trees that no generator wrote. Never imports the product, never
skips a line by a byte test except where the rule says that other line types are not looked at.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.corpus.model import CostFigures, Counters, Iteration, Row, Skip, Truth
from benchmarks.corpus.truth import truth_of

MAX_LINE_BYTES = 16 << 20
MAX_COUNT = 2**53
_OTHER_HEAD = re.compile(rb'[\s\0]*\{[^{]{0,700}?"type":"(?!assistant")[a-z-]+"')

Json = dict[str, Any]


@dataclass(kw_only=True)
class Reading:
    """Everything found in a tree."""

    rows: list[Row] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    costs: list[CostFigures] = field(default_factory=list)


class _RefusedError(Exception):
    """A row that the rule does not count; the argument is the reason."""


def truth_of_tree(
    *roots: Path, since_ms: int | None = None, until_ms: int | None = None, tz: str = "UTC"
) -> Truth:
    """The truth of everything below `projects/` of the given configuration folders, as it is."""
    found = read_tree(*roots)
    return truth_of(found.rows, since_ms, until_ms, tz, skips=found.skips, costs=found.costs)


def read_tree(*roots: Path) -> Reading:
    """Every row, skip and cost figure below the given configuration folders."""
    reading = Reading()
    for root in roots:
        for path in transcripts(root):
            with open(path, "rb") as file:
                read_lines(reading, path, file.read())
    return reading


def transcripts(root: Path) -> list[bytes]:
    """Paths of all transcripts of a configuration folder, sorted as bytes."""
    projects = os.path.join(os.fsencode(root), b"projects")
    found = []
    for folder, _, files in os.walk(projects):
        below = os.path.relpath(folder, projects).split(b"/")
        paths = [os.path.join(folder, name) for name in files if _is_transcript(below, name)]
        found += [path for path in paths if not os.path.islink(path)]
    return sorted(found)


def _is_transcript(below: list[bytes], name: bytes) -> bool:
    if not name.endswith(b".jsonl") or name == b"journal.jsonl" or below == [b"."]:
        return False
    if len(below) == 1:
        return True
    return below[2:3] == [b"subagents"] and name.startswith(b"agent-")


def read_lines(reading: Reading, path: bytes, data: bytes) -> None:
    """Add what the bytes of one file say; half a line at the end waits."""
    offset = 0
    for line in data.split(b"\n"):
        end = offset + len(line)
        if end < len(data) or _parse(line, offset)[0] == "object":
            _read_line(reading, path, offset, line)
        offset = end + 1


def _read_line(reading: Reading, path: bytes, offset: int, line: bytes) -> None:
    if not line.lstrip(b"\0").strip(b" \t\r") or line == b"\xef\xbb\xbf":
        return
    status, value = _parse(line, offset)
    if status == "object":
        try:
            _read_object(reading, value, Row(path=path, offset=offset, length=len(line)))
        except _RefusedError as refused:
            status = str(refused)
        else:
            return
    elif _is_of_another_type(line):
        return
    reading.skips.append(Skip(path=path, offset=offset, reason=status))


def _is_of_another_type(line: bytes) -> bool:
    """Whether a broken line names a type without usage and closes as an object: not looked into."""
    return line.rstrip(b"\r").endswith(b"}") and _OTHER_HEAD.match(line) is not None


def _parse(line: bytes, offset: int) -> tuple[str, Json]:
    """("object", the object) or (the reason why not, {})."""
    if len(line) > MAX_LINE_BYTES:
        return "too-long", {}
    if offset == 0 and line.startswith(b"\xef\xbb\xbf"):
        line = line[3:]
    try:
        value = json.loads(line.lstrip(b"\0").decode("utf-8", "replace"))
    except ValueError:
        return "malformed", {}
    except RecursionError:
        return "too-deep", {}
    return ("object", value) if isinstance(value, dict) else ("not-object", {})


def _read_object(reading: Reading, line: Json, place: Row) -> None:
    match line.get("type"):
        case "assistant":
            reading.rows.append(_row(line, place))
        case "progress":
            quote = _dict(_dict(line.get("data")).get("message"))
            data = _dict(line.get("data"))
            if data.get("type") == "agent_progress" and quote.get("type") == "assistant":
                reading.rows.append(_row(_unquoted(line, data, quote), replace(place, quoted=True)))
        case "cost-state":
            reading.costs.extend(_cost_figures(line))
        case _:
            pass


def _unquoted(line: Json, data: Json, quote: Json) -> Json:
    outer = ("sessionId", "cwd", "version", "gitBranch", "agentId")
    row = {name: line[name] for name in outer if name in line}
    if data.get("agentId"):
        row["agentId"] = data["agentId"]
    row.update(quote)
    row["isSidechain"] = True
    return row


def _row(line: Json, place: Row) -> Row:
    message = _dict(line.get("message"))
    usage = message.get("usage")
    if not isinstance(usage, dict):
        raise _RefusedError("no-usage")
    if message.get("model") == "<synthetic>":
        raise _RefusedError("synthetic")
    session = line.get("sessionId")
    if not session:
        raise _RefusedError("no-session-id")
    ts = _instant(line.get("timestamp"))
    iterations = usage.get("iterations") or []
    row = replace(
        place,
        message_id=message.get("id") or None,
        request_id=line.get("requestId") or None,
        uuid=line.get("uuid") or None,
        session=session,
        ts=ts,
        sidechain=line.get("isSidechain") is True,
        model=message.get("model") or None,
        tier=usage.get("service_tier"),
        speed=usage.get("speed"),
        stop=bool(message.get("stop_reason")),
        rich=bool(iterations)
        or usage.get("speed") is not None
        or isinstance(usage.get("server_tool_use"), dict),
        counters=_counters(usage),
        iterations=tuple(
            Iteration(type=it["type"], model=it.get("model"), counters=_counters(it))
            for it in iterations
        ),
        chars=_content_chars(message.get("content")),
        cwd=line.get("cwd"),
        agent_id=line.get("agentId"),
        branch=line.get("gitBranch"),
        version=line.get("version"),
    )
    if not (row.message_id or row.request_id or row.uuid):
        raise _RefusedError("no-identity")
    return row


def _instant(text: object) -> int:
    if not text:
        raise _RefusedError("no-timestamp")
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        raise _RefusedError("bad-timestamp") from None
    if instant.tzinfo is None:
        raise _RefusedError("bad-timestamp")
    return int(instant.replace(microsecond=0).timestamp()) * 1000 + instant.microsecond // 1000


def _counters(usage: Json) -> Counters:
    split = _dict(usage.get("cache_creation"))
    tools = _dict(usage.get("server_tool_use"))
    details = _dict(usage.get("output_tokens_details"))
    cache_5m = _count(split.get("ephemeral_5m_input_tokens"))
    cache_1h = _count(split.get("ephemeral_1h_input_tokens"))
    return Counters(
        input=_count(usage.get("input_tokens")),
        output=_count(usage.get("output_tokens")),
        cache_create=max(_count(usage.get("cache_creation_input_tokens")), cache_5m + cache_1h),
        cache_read=_count(usage.get("cache_read_input_tokens")),
        cache_5m=cache_5m,
        cache_1h=cache_1h,
        web_search=_count(tools.get("web_search_requests")),
        web_fetch=_count(tools.get("web_fetch_requests")),
        thinking=_count(details.get("thinking_tokens")),
    )


def _count(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError("bad-number")
    if not 0 <= value <= MAX_COUNT or value != int(value):
        raise _RefusedError("bad-number")
    return int(value)


def _content_chars(content: object) -> int:
    if isinstance(content, str):
        return len(content)
    blocks = content if isinstance(content, list) else []
    return sum(_block_chars(block) for block in blocks if isinstance(block, dict))


def _block_chars(block: Json) -> int:
    match block.get("type"):
        case "text":
            return len(block.get("text") or "")
        case "thinking":
            return len(block.get("thinking") or "")
        case "redacted_thinking":
            return len(block.get("data") or "")
        case "tool_use" | "server_tool_use" if "input" in block:
            return len(json.dumps(block["input"], ensure_ascii=False, separators=(",", ":")))
        case _:
            return 0


def _cost_figures(line: Json) -> Iterator[CostFigures]:
    if not line.get("sessionId"):
        return
    for model, figures in _dict(line.get("modelUsage")).items():
        numbers = tuple(sorted((name, value) for name, value in figures.items()))
        yield CostFigures(session=line["sessionId"], model=model, figures=numbers)


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}
