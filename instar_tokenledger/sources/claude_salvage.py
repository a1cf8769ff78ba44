"""The slow way into a line that the fast decoder refuses, so that one odd member does not lose a
request.

Node writes lone surrogates when it cuts text inside an emoji; a crash leaves runs of NUL; an
editor leaves a BOM; a proxy sends numbers as text. Whatever is readable of such a line is read,
and what is not gets a reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from instar_tokenledger.sources.claude_shapes import CostLine, Line, ProgressLine
from instar_tokenledger.usage import MAX_COUNT

BOM = b"\xef\xbb\xbf"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
COUNTS = frozenset({
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
    "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "web_search_requests",
    "web_fetch_requests", "thinking_tokens", "inputTokens", "outputTokens", "cacheReadInputTokens",
    "cacheCreationInputTokens", "thinkingTokens", "webSearchRequests",
})  # fmt: skip
FLAGS = frozenset({"isSidechain"})
OBJECTS = frozenset({
    "message", "data", "usage", "cache_creation", "server_tool_use", "output_tokens_details",
    "modelUsage",
})  # fmt: skip
TEXTS = frozenset({
    "type", "id", "model", "stop_reason", "service_tier", "speed", "requestId", "uuid", "sessionId",
    "timestamp", "cwd", "agentId", "gitBranch", "version",
})  # fmt: skip


class Refused(Exception):  # noqa: N818 - a verdict on one line, caught where lines are read
    """A line that should have counted and cannot; `reason` is what the skip is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def salvage(line: bytes, *, at_file_start: bool) -> Line | ProgressLine | CostLine | None:
    """The line's usage members, or None for a line that carries none. Raises `Refused` with a
    reason."""
    if at_file_start:
        line = line.removeprefix(BOM)
    line = line.lstrip(b"\0").strip()
    if not line:
        return None
    found = _parse(line)
    if not isinstance(found, dict):
        raise Refused("not-object")
    shapes: dict[str, type[Line | ProgressLine | CostLine]] = {
        "assistant": Line,
        "progress": ProgressLine,
        "cost-state": CostLine,
    }
    shape = shapes.get(str(found.get("type")))
    if shape is None:
        return None
    try:
        return msgspec.convert(_cleaned(found), shape)
    except (msgspec.ValidationError, RecursionError):
        raise Refused("malformed") from None


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8", "replace"))
    except RecursionError:
        raise Refused("too-deep") from None
    except json.JSONDecodeError:
        raise Refused("malformed") from None
    except ValueError:  # an integer of thousands of digits
        raise Refused("bad-number") from None


def _cleaned(found: Mapping[str, Any]) -> dict[str, Any]:
    """The members we read, each of the type we read it as; a wrong type counts as absent, a wrong
    number as bad."""
    clean: dict[str, Any] = {}
    for key, value in found.items():
        if key in COUNTS:
            clean[key] = _count(value)
        elif key == "costUSD":
            clean[key] = _dollars(value)
        elif key == "iterations":
            if isinstance(value, list):
                clean[key] = [_cleaned(entry) if isinstance(entry, dict) else {} for entry in value]
        elif key == "content":
            clean[key] = msgspec.Raw(_encoded(value))
        elif key == "modelUsage" and isinstance(value, dict):
            clean[key] = {_text(m): _cleaned(c) for m, c in value.items() if isinstance(c, dict)}
        elif key in OBJECTS and isinstance(value, dict):
            clean[key] = _cleaned(value)
        elif (key in TEXTS and isinstance(value, str)) or (
            key in FLAGS and isinstance(value, bool)
        ):
            clean[key] = _text(value) if isinstance(value, str) else value
    return clean


def _count(value: object) -> int:
    """A whole number from 0 to 2**53; null is 0, 1e3 is 1000, anything else is refused."""
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise Refused("bad-number")
    return value


def _dollars(value: object) -> float:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("bad-number")
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        raise Refused("bad-number") from None


def _encoded(value: Any) -> bytes:
    try:
        return LONE_SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False)).encode()
    except (RecursionError, ValueError):
        return b"null"


def _text(value: str) -> str:
    return LONE_SURROGATE.sub("\ufffd", value)
