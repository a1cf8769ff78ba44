"""How long a row's content is: the only sign of output that a placeholder row leaves.

Reads a content block list as it stands in the line, measures code points, keeps nothing.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Block(msgspec.Struct, gc=False):
    """A content block of the usual shape; any other takes the slow way."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    data: str = ""
    input: Any = msgspec.UNSET


class _Fraction(Exception):  # noqa: N818 - no error, but a reason to take the slow way
    """A number whose spelling the two encoders may not share."""


def _refused(_number: str) -> float:
    raise _Fraction


_blocks = msgspec.json.Decoder(list[_Block], float_hook=_refused)
_encoder = msgspec.json.Encoder()
_unusual = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _Fraction)


def content_chars(raw: msgspec.Raw) -> int:
    """Code points of text, thinking and tool input. 0 for anything unreadable: it is only an
    estimate's base."""
    try:
        return sum(map(_usual_chars, _blocks.decode(raw)))
    except _unusual:
        return _slowly(raw)


def _usual_chars(block: _Block) -> int:
    match block.type:
        case "text":
            return len(block.text)
        case "thinking":
            return len(block.thinking)
        case "redacted_thinking":
            return len(block.data)
        case "tool_use" | "server_tool_use" if block.input is not msgspec.UNSET:
            return len(_encoder.encode(block.input).decode())
    return 0


def _slowly(raw: msgspec.Raw) -> int:
    """Any content at all, block by block, so that an odd one does not hide the others."""
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
            return len(_compact(block["input"]))  # numbers spelt as Python's own encoder does
    return 0


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0
