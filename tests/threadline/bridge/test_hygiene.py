"""Peer text and names are harmless; Telegram's own parser is the judge of what is tappable."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instar_threadline.bridge.hygiene import (
    clean_body,
    clean_name,
    defang,
    has_visible_text,
    is_receipt,
    short_fingerprint,
)
from tests.threadline.bridge.telegram_parser import tappable_entities

BAIT = st.lists(
    st.sampled_from(
        [
            *"/@#$.:_-+ \n()[]{}<>,;!?'\"",
            "https",
            "http://",
            "tg://",
            "t.me/x",
            "com",
            "py",
            "md",
            "start",
            "bot",
            "USD",
            "1",
            "23",
            "192",
            "файл",
            "рф",
            "example",
            "a",
            "Z",
            "#",
            "\uff03",
            "mailto:",
            "www.",
        ]
    ),
    max_size=14,
).map("".join)


@given(BAIT | st.text(max_size=60))
def test_telegram_finds_nothing_to_tap_in_a_defanged_text(text: str) -> None:
    """C-55: no command, mention, tag, address or link survives, by Telegram's own parser."""
    assert tappable_entities(defang(clean_body(text))) == []


def test_the_parser_finds_the_bait_that_is_not_defanged() -> None:
    """The oracle itself works: untreated text is full of things to tap."""
    bait = "/approve@bot #tag $USD see file.py at https://x.org or mail a@b.co"
    assert len(tappable_entities(bait)) >= 6


@given(st.text(max_size=80))
def test_defanging_hides_nothing(text: str) -> None:
    """Without its joiners a defanged text is the text it was."""
    plain = text.replace("\u2060", "")
    assert defang(plain).replace("\u2060", "") == plain


@pytest.mark.parametrize("text", ["3.14", "see 2.5 of 7", "a - b", "and/or", "no dots"])
def test_ordinary_prose_is_left_alone(text: str) -> None:
    """Numbers and words carry no joiner, so that they can be copied."""
    assert "\u2060" not in defang(text)


@given(st.text())
def test_a_name_is_one_clean_line(name: str) -> None:
    """C-54, C-55: a name has no line break, control, invisible or direction character, no
    arrow.
    """
    cleaned = clean_name(name)
    assert len(cleaned) <= 32
    assert not set(cleaned) & set("\n\r→←↔📥📤↻")
    assert all(unicodedata.category(c)[0] != "C" for c in cleaned)


@given(st.text())
def test_a_body_has_no_control_but_the_newline(text: str) -> None:
    """Nothing that reorders, hides or breaks lines is left in a body."""
    cleaned = clean_body(text)
    assert not set(cleaned) & set("\x00\t\r\x1b\u202e\u2066\u2069\u200f\ud800")


@pytest.mark.parametrize("text", ["", " \n", "\u200b\u200d", "\u2800", "\u3164\u00ad", "\u0301"])
def test_text_without_a_visible_mark_is_empty(text: str) -> None:
    """A text of zero-width and blank characters counts as no text."""
    assert not has_visible_text(text)


def test_c_59_receipts_and_envelopes_are_no_messages() -> None:
    """C-59: automatic acknowledgements and still encrypted envelopes are recognised as a whole
    only.
    """
    envelope = {"ephemeralPubKey": "k", "payload": "p", "nonce": "n", "salt": "s"}
    assert is_receipt(" Message received. Composing response...\n")
    assert is_receipt(json.dumps(envelope))
    assert not is_receipt("Message received. Deploy the fix now.")
    assert not is_receipt('{"ephemeralPubKey": 1}')
    assert not is_receipt("[" * 100_000)


def test_a_fingerprint_is_short_and_plain() -> None:
    """What stands beside a name has eight plain characters, whatever the peer sent."""
    assert short_fingerprint("a1b2c3d4e5f6") == "a1b2c3d4"
    assert short_fingerprint("\n 🙂") == "unknown"
