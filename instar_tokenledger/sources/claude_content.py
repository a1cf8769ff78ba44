"""How long a row's content is: the only sign of output that a placeholder row leaves.

Reads a content block list as it stands in the line, measures code points, keeps nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_SPELT_OTHERWISE = re.compile(rb"[0-9]e|0\.0000|[0-9]{16}\.")
"""Very large and very small fractions: the two encoders write their exponents differently."""
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def content_chars(raw: msgspec.Raw) -> int:
    """Code points of text, thinking and tool input. 0 for anything unreadable: it is only an
    estimate's base."""
    try:
        content = msgspec.json.decode(raw)
        if isinstance(content, str):
            return len(content)
        return sum(map(_block_chars, content)) if isinstance(content, list) else 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def _block_chars(block: Any) -> int:
    if not isinstance(block, dict):
        return 0
    match block.get("type"):
        case "text":
            return _length(block.get("text"))
        case "thinking":
            return _length(block.get("thinking"))
        case "redacted_thinking":
            return _length(block.get("data"))
        case "tool_use" | "server_tool_use" if "input" in block:
            return _compact_length(block["input"])
    return 0


def _compact_length(value: object) -> int:
    """Code points of `value` as compact JSON, numbers spelt as Python's own encoder does."""
    encoded = msgspec.json.encode(value)
    if _SPELT_OTHERWISE.search(encoded):
        return len(_compact(value))
    return len(encoded.decode())


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0
