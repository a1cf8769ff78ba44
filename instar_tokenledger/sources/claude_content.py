"""How long a row's content is: the only sign of output that a placeholder row leaves.

Reads a content block list as it stands in the line, measures code points, keeps nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec


def content_chars(raw: msgspec.Raw) -> int:
    """Code points of text, thinking and tool input. 0 for anything unreadable: it is only an
    estimate's base."""
    try:
        content = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0
    if isinstance(content, str):
        return len(content)
    return sum(map(_block_chars, content)) if isinstance(content, list) else 0


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
            return len(msgspec.json.encode(block["input"]).decode())
    return 0


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0
