"""What is sent fits, reads well on a phone, and cannot be forged."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from typing import Any

import msgspec
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from instar_threadline.bridge.graphemes import utf16_length
from instar_threadline.bridge.render import (
    Document,
    Entry,
    Layout,
    Part,
    fitting,
    header,
    marked_as_repeat,
    render,
    topic_name,
)
from tests.threadline.bridge.fake_bot_api import check_entities, clean_text
from tests.threadline.bridge.telegram_parser import fixed

NOW = 1_777_629_600_000
LAYOUT = Layout(now_ms=NOW, zone=UTC)
WORDS = st.sampled_from(
    [
        "📥 me → you\n",
        "`code.py`",
        "```\nx = 1\n```",
        "😀" * 50,
        "/approve@bot ",
        "a" * 300 + " ",
        "\n\n",
        "x.y ",
    ]
)
BODIES = st.lists(WORDS | st.text(max_size=200), max_size=60).map("".join)


def entry(text: str = "hello", **changes: Any) -> Entry:
    given_: dict[str, Any] = {
        "direction": "in",
        "local_name": "echo",
        "peer_name": "Dawn",
        "peer_fingerprint": "a1b2c3d4e5f6",
        "text": text,
        "at_ms": NOW,
        **changes,
    }
    return Entry(**given_)


def parts(pieces: tuple[Any, ...]) -> list[Part]:
    return [piece for piece in pieces if isinstance(piece, Part)]


ENTRIES = st.builds(
    entry,
    text=BODIES,
    direction=st.sampled_from(["in", "out"]),
    peer_name=st.text(max_size=60),
    outcome=st.none() | st.text(max_size=300),
    history=st.booleans(),
    thread_label=st.text(max_size=40) | st.just("one line\nanother line"),
)


@given(ENTRIES)
def test_every_part_fits_telegram(one: Entry) -> None:
    """C-57, Q7: header and outcome included, no part is over 4096 code points or empty."""
    for part in parts(render([one], LAYOUT)):
        assert 0 < len(part.text.strip()) <= len(part.text) <= 4096
        assert len(part.entities) <= 100


@given(ENTRIES)
def test_entities_lie_within_their_text(one: Entry) -> None:
    """Every entity is not empty, inside its text in UTF-16 units, and begins and ends on a
    character.
    """
    for part in parts(render([one], LAYOUT)):
        units = part.text.encode("utf-16-le", "surrogatepass")
        for entity in part.entities:
            assert 0 < entity.length <= entity.offset + entity.length <= utf16_length(part.text)
            units[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")


@given(ENTRIES)
def test_no_entity_reaches_into_what_the_server_cuts_off(one: Entry) -> None:
    """White space at the end is cut off by the server: no style of ours ends there."""
    for part in parts(render([one], LAYOUT)):
        check_entities(clean_text(part.text, 4096), msgspec.to_builtins(part.entities))


@given(st.lists(WORDS, max_size=8).map("".join))
def test_telegrams_own_clean_up_keeps_our_entities(body: str) -> None:
    """The parser of Telegram's apps accepts the nesting: it keeps the header bold and the code
    exact.
    """
    for part in parts(render([entry(body)], LAYOUT)):
        ours = [(e.type, e.offset, e.length) for e in part.entities]
        _text, kept = fixed(part.text, ours)
        for kind in ("bold", "pre", "code"):
            assert [k for k in kept if k[0] == kind] == [o for o in ours if o[0] == kind]


@given(ENTRIES)
def test_no_header_can_be_forged(one: Entry) -> None:
    """C-55, Q7: the only bold lines are ours, and every character of the peer stands inside a
    quote.
    """
    for part in parts(render([one], LAYOUT)):
        units = part.text.encode("utf-16-le")
        for entity in (e for e in part.entities if e.type == "bold"):
            line = units[2 * entity.offset : 2 * (entity.offset + entity.length)].decode(
                "utf-16-le"
            )
            assert "\n" not in line
            assert line.startswith(("🧵 ", "📥 ", "📤 "))
        outside = _outside_quotes(part)
        assert "📥 me → you" not in outside


def _outside_quotes(part: Part) -> str:
    units = part.text.encode("utf-16-le")
    keep = bytearray(units)
    for entity in part.entities:
        if "blockquote" in entity.type:
            keep[2 * entity.offset : 2 * (entity.offset + entity.length)] = (
                b"\n\x00" * entity.length
            )
    return keep.decode("utf-16-le")


@given(BODIES)
def test_nothing_of_the_text_is_lost(body: str) -> None:
    """D2-18 inverted, C-83: all parts together, or the document, hold the whole text."""
    pieces = render([entry(body)], LAYOUT)
    documents = [piece for piece in pieces if isinstance(piece, Document)]
    squeezed = _squeeze(body)
    if documents:
        assert squeezed in _squeeze(documents[0].content)
    else:
        shown = "".join(_squeeze(_body_of(part)) for part in parts(pieces))
        assert shown == squeezed


def _body_of(part: Part) -> str:
    units = part.text.encode("utf-16-le")
    quotes = [e for e in part.entities if "blockquote" in e.type]
    return "".join(
        units[2 * e.offset : 2 * (e.offset + e.length)].decode("utf-16-le") for e in quotes
    )


def _squeeze(text: str) -> str:
    """Letters and digits only: joiners, spaces and the marks of code may differ."""
    return "".join(c for c in text if c.isalnum() and c.isascii())


def test_a_long_text_is_numbered_and_never_cut_inside_a_character() -> None:
    """C-56, C-83, Q7: parts carry (i/n) and end on a grapheme."""
    family = "👨‍👩‍👧‍👦"
    pieces = parts(render([entry(family * 1000)], LAYOUT))
    assert ["(1/2)" in pieces[0].text, "(2/2)" in pieces[-1].text] == [True, True]
    assert sum(len(regex.findall(family, piece.text)) for piece in pieces) == 1000


def test_a_very_long_text_becomes_a_document() -> None:
    """Beyond three parts the beginning is shown and the whole comes as a file."""
    first, document = render([entry("word " * 5000, message_id="m-1")], LAYOUT)
    assert isinstance(first, Part)
    assert isinstance(document, Document)
    assert document.filename == "message-m-1.md"
    assert document.content.count("word") == 5000


def test_without_documents_a_very_long_text_is_sent_in_parts() -> None:
    """A target that takes no file still gets every word."""
    pieces = parts(render([entry("word " * 5000)], Layout(now_ms=NOW, zone=UTC, documents=False)))
    assert sum(piece.text.count("word") for piece in pieces) == 5000


@given(st.lists(ENTRIES, min_size=1, max_size=8))
def test_merged_neighbours_fit_one_message(entries: list[Entry]) -> None:
    """As many neighbours are merged as fit, in order, each under its own header."""
    count = fitting(entries, LAYOUT)
    pieces = render(entries[:count], LAYOUT)
    if count > 1:
        (part,) = parts(pieces)
        assert len(part.text) <= 4096
        heads = [part.text.find(header(one, LAYOUT)) for one in entries[:count]]
        assert all(at >= 0 for at in heads)


def test_d4_15_and_16_history_shows_its_time() -> None:
    """D4-15, D4-16: header of the reference with the local agent's name, a line of time, the
    text.
    """
    (inbound,) = parts(render([entry("hi", history=True)], LAYOUT))
    (outbound,) = parts(render([entry("hi", history=True, direction="out")], LAYOUT))
    assert inbound.text == "📥 Dawn (a1b2c3d4) → echo\n2026-05-01 10:00:00 UTC\nhi"
    assert outbound.text.startswith("📤 echo → Dawn (a1b2c3d4)\n")


def test_a_fingerprint_stands_beside_every_name() -> None:
    """C-53, C-54: the label is the peer's, the fingerprint is not; unverified is said."""
    assert header(entry(), LAYOUT) == "📥 Dawn (a1b2c3d4) → echo"
    assert header(entry(peer_name=""), LAYOUT) == "📥 a1b2c3d4 → echo"
    assert "unverified" in header(entry(verified=False), LAYOUT)


def test_a_late_message_carries_its_time() -> None:
    """What waited in the queue says when it was written."""
    assert header(entry(at_ms=NOW - 3_600_000), LAYOUT).endswith(" · 09:00")
    assert header(entry(at_ms=NOW - 100 * 3_600_000), LAYOUT).endswith(" · 2026-04-27 06:00")


def test_a_repeat_is_marked_outside_the_quote() -> None:
    """The mark of a possible repeat is ours and stands after everything else."""
    (part,) = parts(render([entry()], LAYOUT))
    marked = marked_as_repeat(part)
    assert marked.text.endswith("\n↻ possibly repeated")
    assert "↻" in _outside_quotes(marked)


@pytest.mark.parametrize(
    ("case", "local", "remote", "subject", "expected"),
    [
        ("D2-13", "echo", "Dawn", "memory rot gates", "echo↔Dawn — memory rot gates"),
        ("D2-15", "echo", "Dawn", None, "echo↔Dawn — thread"),
        ("D4-4", "echo", "Dawn", "a   b\t\nc", "echo↔Dawn — a b c"),
    ],
)
def test_topic_names_of_the_reference(
    case: str, local: str, remote: str, subject: str | None, expected: str
) -> None:
    """D2-13 to 15, D4-1 to 4: names have the reference's shape."""
    assert topic_name(local, remote, subject) == expected, case


def test_d2_14_long_subjects_are_shortened() -> None:
    """D2-14, D4-2: a long subject ends in an ellipsis, and the name has at most 96 characters."""
    name = topic_name("echo", "Dawn", "s" * 200)
    assert len(name) <= 96
    assert name.endswith("…")


@given(st.text(max_size=300), st.text(max_size=300), st.none() | st.text(max_size=300))
def test_topic_names_end_with_the_fingerprint(local: str, remote: str, subject: str | None) -> None:
    """C-45: whatever the peer calls itself and the subject, the name fits and shows who it is."""
    name = topic_name(local, remote, subject, "a1b2c3d4e5f6")
    assert 0 < len(name) <= 96
    assert name.endswith(" · a1b2c3d4")
    assert "\n" not in name


@pytest.mark.parametrize("at_ms", [-62_135_596_800_000, 253_402_300_799_999])
@pytest.mark.parametrize("zone", [timezone(timedelta(hours=h)) for h in (-12, 14)])
@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("text", ["hello", "x " * 20_000])
def test_a_peer_cannot_date_a_message_so_that_it_cannot_be_shown(
    at_ms: int, zone: timezone, history: bool, text: str
) -> None:
    """The first and the last instant of the calendar are shown in every zone: in UTC where they
    have no local time. Such a message stopped the whole chat.
    """
    shown = render([entry(text, at_ms=at_ms, history=history)], Layout(now_ms=NOW, zone=zone))
    assert shown
