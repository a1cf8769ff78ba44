"""What arrives where an encoding lacks a character."""

from __future__ import annotations

import io
import json

import pytest

from instar_host.characters import json_for, let_everything_through

HARD = "3↓ ▇▇ “né” 😀 \udcff"


def written(text: str, encoding: str, *, as_json: bool = False) -> bytes:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    let_everything_through(stream)
    stream.write(json_for(stream, text) if as_json else text)
    stream.flush()
    return raw.getvalue()


def test_our_own_signs_keep_their_columns_in_any_encoding() -> None:
    """A table stays a table, and nothing that anybody wrote is lost."""
    shown = rb"3v ## \u201cn\u00e9\u201d \ud83d\ude00 \udcff"
    assert written(HARD, "ascii") == shown
    assert written(HARD, "latin-1") == shown.replace(rb"\u00e9", b"\xe9")


def test_utf_8_gets_everything_as_it_is() -> None:
    """Only what no encoding has, a byte of a file's name, is spelt out."""
    assert written(HARD, "utf-8") == HARD.replace("\udcff", r"\udcff").encode()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "koi8-r", "utf-8"])
def test_json_is_json_in_any_encoding(encoding: str) -> None:
    """JSON is UTF-8, of which ASCII is a part: a byte of Latin-1 is an error to every reader."""
    text = json.dumps({"name": HARD[:-1]}, ensure_ascii=False)
    assert json.loads(written(text, encoding, as_json=True)) == {"name": HARD[:-1]}
