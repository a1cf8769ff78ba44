"""Makes a peer's text and names harmless to look at: nothing invisible, nothing tappable,
nothing forged.

Promises text without control, bidirectional or lone-surrogate characters, in which Telegram
finds no command, mention, hashtag or link. Pure. Never drops anything a reader could see.
"""

from __future__ import annotations

import json
import re
import unicodedata

from instar_threadline.bridge.graphemes import cut_at

WORD_JOINER = "\u2060"
NAME_CODE_POINTS = 32
FINGERPRINT_CODE_POINTS = 8
MAX_MARKS_IN_A_ROW = 2
"""Combining marks kept on one letter of a name; more is decoration that spills over other
lines.
"""

AUTO_ACKNOWLEDGEMENT = "Message received. Composing response..."
"""The whole text of the delivery receipt that instar sends by itself; recognised only as the
whole text.
"""

_ENVELOPE_KEYS = frozenset({"ephemeralPubKey", "payload", "nonce"})
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_FORGING = str.maketrans(dict.fromkeys("→←↔⇄⇆⇒⇐➜➔⟶⟵⮕", "-") | dict.fromkeys("📥📤📚↻⚠", None))
_BIDI_AND_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")

_TAPPABLE = re.compile(r"(?<![\w/])/(?=\w)|[@#\uff03$](?=\w)|(?<=:)(?=//)")
_PLAIN_NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")
_INNER_DOT = re.compile(r"(?<=[^\s.])\.(?=[^\s.])")


def has_visible_text(text: str) -> bool:
    """True when a reader would see at least one mark on the screen."""
    return any(_is_visible(character) for character in text)


def is_receipt(text: str) -> bool:
    """True for what is no message: an automatic acknowledgement, or a daemon's still encrypted
    envelope.
    """
    stripped = text.strip()
    if stripped == AUTO_ACKNOWLEDGEMENT:
        return True
    if not stripped.startswith("{") or '"ephemeralPubKey"' not in stripped:
        return False
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.keys() >= _ENVELOPE_KEYS


def clean_body(text: str) -> str:
    """`text` as it will be shown: line ends as `\\n`, tabs as spaces, invisible controls gone."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    text = _SURROGATES.sub("\ufffd", text)
    return _BIDI_AND_CONTROLS.sub("", text)


def clean_name(name: str, limit: int = NAME_CODE_POINTS) -> str:
    """A peer's name on one line, without invisible characters, arrows or our own marks; may be
    empty.
    """
    if name.isascii() and name.isprintable():  # most names, and all fingerprints
        return " ".join(name.split())[:limit].rstrip()
    composed = unicodedata.normalize("NFC", _SURROGATES.sub("", name)).translate(_FORGING)
    kept: list[str] = []
    marks = 0
    for character in composed:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me", "Mc") else 0
        if category in ("Zs", "Zl", "Zp") or character in "\t\n\r\v\f":
            kept.append(" ")
        elif category[0] != "C" and character not in _BLANKS and marks <= MAX_MARKS_IN_A_ROW:
            kept.append(character)
    collapsed = " ".join("".join(kept).split())
    return collapsed[: cut_at(collapsed, limit)].rstrip()


def short_fingerprint(fingerprint: str) -> str:
    """The first characters of a fingerprint, as shown beside every name."""
    cleaned = "".join(
        c for c in clean_name(fingerprint, 64) if c.isascii() and (c.isalnum() or c in "-_")
    )
    return cleaned[:FINGERPRINT_CODE_POINTS] or "unknown"


def defang(text: str) -> str:
    """`text` with word joiners where Telegram would make a command, mention, tag or link of it."""
    text = _TAPPABLE.sub(lambda match: match.group() + WORD_JOINER, text)
    numbers = {match.start() + match.group().index(".") for match in _PLAIN_NUMBER.finditer(text)}
    return _INNER_DOT.sub(
        lambda match: "." if match.start() in numbers else WORD_JOINER + ".", text
    )


def _is_visible(character: str) -> bool:
    if character.isspace() or character in _BLANKS:
        return False
    return unicodedata.category(character)[0] not in ("C", "Z", "M")
