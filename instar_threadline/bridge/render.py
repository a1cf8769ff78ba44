"""Turns redacted messages into what is sent: plain text with entities, or a document. Pure.

Promises that every part fits Telegram's limits as Telegram counts them (code points for text,
UTF-16 units for entities), that no part ends inside a character, that our bold header line
cannot be imitated by a peer's text (which always stands in a quote) and that nothing in it is
tappable. Never uses a parse mode, so nothing a peer writes can be an error of markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from instar_threadline.bridge.graphemes import cut_at, shorten, utf16_length
from instar_threadline.bridge.hygiene import (
    clean_body,
    clean_name,
    defang,
    short_fingerprint,
)

MAX_TEXT = 4000
"""Code points of one message; Telegram allows 4096, the rest is room for what its server may
add.
"""
MAX_TOPIC_NAME = 96
"""Code points of a topic's name, as in the reference; Telegram allows 128."""
MAX_ENTITIES = 90
"""Entities of one message; Telegram ignores those beyond 100."""
MAX_PARTS = 3
"""A text that needs more parts is sent as its beginning and a document."""
OPEN_QUOTE_LINES = 12
"""A quote with more lines, or more than 700 code points, is collapsed until it is tapped."""
OPEN_QUOTE_CODE_POINTS = 700
LATE_MS = 120_000
"""A message that is shown later than this after it was written carries its time."""
MAX_OUTCOME = 200
MAX_CAPTION = 600

REPEAT_MARK = "↻ possibly repeated"

Style = Literal["bold", "italic", "blockquote", "expandable_blockquote", "pre", "code"]
_CODE = re.compile(
    r"```[^\n`]{0,40}\n(?P<block>[^`](?:[^`]|`(?!``))*?)\n?```|`(?P<inline>[^`\n]{1,200})`"
)


class Entity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of formatted text, as the Bot API takes it; UTF-16 units."""

    type: str
    offset: int
    length: int


class Part(Struct, frozen=True, kw_only=True, tag="text"):
    """One message to send."""

    text: str
    entities: tuple[Entity, ...] = ()


class Document(Struct, frozen=True, kw_only=True, tag="document"):
    """One file to send."""

    filename: str
    content: str
    caption: str


Piece = Part | Document


class Entry(Struct, frozen=True, kw_only=True):
    """One message, redacted, as the renderer needs it."""

    direction: Literal["in", "out"]
    local_name: str
    peer_name: str
    peer_fingerprint: str
    text: str
    at_ms: int | None
    verified: bool = True
    outcome: str | None = None
    history: bool = False
    """True for a backfill: its time stands on a line of its own, as in the reference."""
    note: bool = False
    """True when `text` is ours (a banner, a placeholder): no header, no quote."""
    thread_label: str = ""
    """Shown above the message in a topic that several threads share."""
    message_id: str = ""


class Layout(Struct, frozen=True, kw_only=True):
    """What depends on the moment and the target rather than on the message."""

    now_ms: int
    zone: tzinfo
    documents: bool = True
    """False when the target cannot take a file: a very long text is then sent in many parts."""
    limit: int = MAX_TEXT


def topic_name(local: str, remote: str, subject: str | None, fingerprint: str = "") -> str:
    """The reference's `local↔remote — subject`, with a short fingerprint when one is given; at
    most 96.
    """
    head = f"{clean_name(local)}↔{clean_name(remote) or short_fingerprint(fingerprint)} — "
    tail = f" · {short_fingerprint(fingerprint)}" if fingerprint else ""
    words = clean_name("thread" if subject is None else subject, 4 * MAX_TOPIC_NAME) or "thread"
    return head + shorten(words, MAX_TOPIC_NAME - len(head) - len(tail)) + tail


def render(entries: Sequence[Entry], layout: Layout) -> tuple[Piece, ...]:
    """Everything to send for these entries, in order. Several entries must fit one message: see
    `fitting`.
    """
    if len(entries) == 1:
        return _render_one(entries[0], layout)
    canvas = _Canvas()
    label = ""
    for entry in entries:
        if canvas.text:
            canvas.add("\n\n")
        _draw(canvas, entry, layout, entry.text, with_label=entry.thread_label != label)
        label = entry.thread_label
    return (canvas.part(),)


def fitting(entries: Sequence[Entry], layout: Layout) -> int:
    """How many of the first entries may be merged into one message; at least 1."""
    used = 0
    entities = 0
    for count, entry in enumerate(entries):
        canvas = _Canvas()
        _draw(canvas, entry, layout, entry.text, with_label=True)
        used += len(canvas.text) + 2
        entities += len(canvas.entities)
        if used > layout.limit or entities > MAX_ENTITIES:
            return max(count, 1)
    return len(entries)


def marked_as_repeat(part: Part) -> Part:
    """The same message with a line that says it may have been sent before."""
    canvas = _Canvas(part.text, list(part.entities))
    canvas.add("\n" + REPEAT_MARK, "italic", skip=1)
    return canvas.part()


def header(entry: Entry, layout: Layout) -> str:
    """`📥 name (fingerprint) → local` or `📤 local → name (fingerprint)`, with the time when it
    is late.
    """
    print_ = short_fingerprint(entry.peer_fingerprint)
    trust = "" if entry.verified else ", unverified"
    name = clean_name(entry.peer_name)
    peer = f"{name} ({print_}{trust})" if name and name != print_ else f"{print_}{trust}"
    local = clean_name(entry.local_name) or "agent"
    line = f"📥 {peer} → {local}" if entry.direction == "in" else f"📤 {local} → {peer}"
    if not entry.history and entry.at_ms is not None and layout.now_ms - entry.at_ms > LATE_MS:
        line += f" · {_clock(entry.at_ms, layout)}"
    return defang(line)


def _render_one(entry: Entry, layout: Layout) -> tuple[Piece, ...]:
    canvas = _Canvas()
    _draw(canvas, entry, layout, entry.text, with_label=True)
    if len(canvas.text) <= layout.limit:
        return (canvas.part(),)
    chunks = _chunks(entry, layout)
    if len(chunks) > MAX_PARTS and layout.documents:
        first = _Canvas()
        _draw(
            first,
            entry,
            layout,
            chunks[0] + "…",
            with_label=True,
            mark="(whole text in the file below)",
        )
        return (first.part(), _document(entry, layout))
    parts: list[Piece] = []
    for number, chunk in enumerate(chunks, 1):
        one = _Canvas()
        _draw(one, entry, layout, chunk, with_label=number == 1, mark=f"({number}/{len(chunks)})")
        parts.append(one.part())
    return tuple(parts)


def _chunks(entry: Entry, layout: Layout) -> list[str]:
    """The body cut where it reads well, each piece so small that it fits with its header and
    its joiners.
    """
    empty = _Canvas()
    _draw(empty, entry, layout, "", with_label=True, mark="(whole text in the file below)")
    room = max(layout.limit - len(empty.text) - 8, 200)
    rest = clean_body(entry.text).strip("\n")
    chunks: list[str] = []
    while rest:
        size = _fitting_prefix(rest, room)
        chunks.append(rest[:size].strip("\n"))
        rest = rest[size:].lstrip("\n")
    return [chunk for chunk in chunks if chunk]


def _fitting_prefix(text: str, room: int) -> int:
    """Code points of `text` that fit `room` after defanging, ended at a line or word where one
    is near.
    """
    size = min(room, len(text))
    while len(defang(text[:size])) > room:
        size -= max((len(defang(text[:size])) - room) // 2, 1)
    if size == len(text):
        return size
    for separator in ("\n", " "):
        near = text.rfind(separator, size - size // 4, size)
        if near > 0:
            return near + 1
    return cut_at(text, size)


def _draw(
    canvas: _Canvas, entry: Entry, layout: Layout, text: str, *, with_label: bool, mark: str = ""
) -> None:
    if entry.thread_label and with_label:
        label = shorten(" ".join(clean_body(entry.thread_label).split()), MAX_TOPIC_NAME)
        canvas.add("🧵 " + defang(label or "a thread") + "\n", "bold", tail=1)
    if entry.note:
        canvas.add(defang(clean_body(text)), "italic")
        return
    canvas.add(header(entry, layout) + (f" {mark}" if mark else ""), "bold")
    if entry.history and entry.at_ms is not None:
        canvas.add("\n" + defang(_stamp(entry.at_ms, layout)))
    _draw_body(canvas, clean_body(text).strip("\n"))
    if entry.outcome and entry.direction == "out":
        canvas.add("\noutcome: " + defang(clean_name(entry.outcome, MAX_OUTCOME)))


def _draw_body(canvas: _Canvas, text: str) -> None:
    """The peer's text as a quote; code in it keeps its exact characters, everything else is
    defanged.
    """
    canvas.add("\n")
    start = len(canvas.text)
    start_utf16 = canvas.utf16
    quote_slot = len(canvas.entities)
    position = 0
    for match in _CODE.finditer(text):
        group = "block" if match["block"] is not None else "inline"
        if not match[group].strip() or len(canvas.entities) >= MAX_ENTITIES - 4:
            continue
        canvas.add(defang(text[position : match.start()]))
        canvas.add(match[group], "pre" if group == "block" else "code")
        position = match.end()
    canvas.add(defang(text[position:]))
    shown = canvas.text[start:]
    long = len(shown) > OPEN_QUOTE_CODE_POINTS or shown.count("\n") >= OPEN_QUOTE_LINES
    if shown:
        style: Style = "expandable_blockquote" if long else "blockquote"
        quote = Entity(type=style, offset=start_utf16, length=canvas.utf16 - start_utf16)
        canvas.entities.insert(quote_slot, quote)


def _document(entry: Entry, layout: Layout) -> Document:
    lines = [header(entry, layout)]
    if entry.at_ms is not None:
        lines.append(_stamp(entry.at_ms, layout))
    body = clean_body(entry.text)
    stem = "".join(
        c for c in clean_name(entry.message_id, 40) if c.isascii() and (c.isalnum() or c in "-_")
    )
    caption = shorten(f"{lines[0]}\nwhole text, {len(body):,} characters", MAX_CAPTION)
    content = "\n".join(lines) + "\n\n" + body + "\n"
    return Document(filename=f"message-{stem or 'text'}.md", content=content, caption=caption)


def _stamp(at_ms: int, layout: Layout) -> str:
    return _local(at_ms, layout).strftime("%Y-%m-%d %H:%M:%S %Z")


def _clock(at_ms: int, layout: Layout) -> str:
    then, now = _local(at_ms, layout), _local(layout.now_ms, layout)
    return then.strftime("%H:%M" if then.date() == now.date() else "%Y-%m-%d %H:%M")


def _local(at_ms: int, layout: Layout) -> datetime:
    """The peer chooses the instant: at an edge of the calendar it may have no local time."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    try:
        return at.astimezone(layout.zone)
    except (OverflowError, ValueError, OSError):
        return at


class _Canvas:
    """A growing text that knows its length in UTF-16 units, so that entities need no second
    pass.
    """

    def __init__(self, text: str = "", entities: list[Entity] | None = None) -> None:
        self.text = text
        self.utf16 = utf16_length(text)
        self.entities = entities if entities is not None else []

    def add(self, text: str, style: Style | None = None, *, skip: int = 0, tail: int = 0) -> None:
        """Append; the first `skip` and last `tail` code points (newlines) stay out of the
        styled stretch.
        """
        length = utf16_length(text)
        if style is not None and length - skip - tail > 0:
            offset = self.utf16 + skip
            self.entities.append(Entity(type=style, offset=offset, length=length - skip - tail))
        self.text += text
        self.utf16 += length

    def part(self) -> Part:
        """Ends in something visible: Telegram cuts white space off, and a style may not reach
        beyond the text.
        """
        text = self.text.rstrip()
        end = utf16_length(text)
        kept = (
            replace(e, length=min(e.length, end - e.offset))
            for e in self.entities
            if e.offset < end
        )
        return Part(text=text, entities=tuple(kept))
