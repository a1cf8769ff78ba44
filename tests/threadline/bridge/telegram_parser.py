"""Telegram's own text parser, from the library its apps are built on, as the judge of our
texts.
"""

from __future__ import annotations

import json
from typing import Any

import tdjson

_HARMLESS = {"textEntityTypeMediaTimestamp"}
"""Tappable only in a reply to a video; `12:34` must stay what it is."""


def _execute(request: dict[str, Any]) -> dict[str, Any]:
    tdjson.td_execute(b'{"@type":"setLogVerbosityLevel","new_verbosity_level":0}')
    answer = tdjson.td_execute(json.dumps(request).encode())
    assert answer is not None
    value: dict[str, Any] = json.loads(answer)
    return value


def tappable_entities(text: str) -> list[tuple[str, str]]:
    """(type, text) of everything a reader could tap by accident in a plain text."""
    encoded = text.encode("utf-16-le")
    found = _execute({"@type": "getTextEntities", "text": text}).get("entities", [])
    return [
        (
            e["type"]["@type"],
            encoded[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le"),
        )
        for e in found
        if e["type"]["@type"] not in _HARMLESS
    ]


def fixed(
    text: str, entities: list[tuple[str, int, int]]
) -> tuple[str, list[tuple[str, int, int]]]:
    """The text and (type, offset, length) of its entities after Telegram's own clean-up of
    both.
    """
    names = {"bold": "Bold", "italic": "Italic", "pre": "Pre", "code": "Code"}
    names |= {"blockquote": "BlockQuote", "expandable_blockquote": "ExpandableBlockQuote"}
    back = {f"textEntityType{value}": key for key, value in names.items()}
    given = [
        {"offset": offset, "length": length, "type": {"@type": f"textEntityType{names[kind]}"}}
        for kind, offset, length in entities
    ]
    request = {"@type": "parseMarkdown", "text": {"text": text, "entities": given}}
    answer = _execute(request)
    assert "entities" in answer, answer
    kept = [
        (back[e["type"]["@type"]], e["offset"], e["length"])
        for e in answer["entities"]
        if e["type"]["@type"] in back
    ]
    return answer["text"], kept
