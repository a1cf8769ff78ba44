"""How long content is, to the code point: what the estimate of missing output stands on."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instar_tokenledger.sources.claude_content import content_chars

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner)
)


def chars(content: Any) -> int:
    return content_chars(msgspec.Raw(json.dumps(content).encode()))


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@settings(max_examples=200, deadline=None)
@given(values)
def test_the_input_of_a_tool_is_as_long_as_its_compact_json(value: Any) -> None:
    """Whatever the input, its length is that of Python's compact JSON in code points."""
    assert chars([{"type": "tool_use", "input": value}]) == len(compact(value))


@pytest.mark.parametrize("number", [6.905249761990362e-06, 1e-5, 1e16, 5e300, 0.0001, 1e15, 1e22])
def test_fractions_with_an_exponent(number: float) -> None:
    """`1e-05` has five characters here, whatever another encoder would write."""
    found = chars([{"type": "server_tool_use", "input": {"n": number}}])
    assert found == len(compact({"n": number}))


@pytest.mark.parametrize(
    ("content", "length"),
    [
        ("größe 🚀", 7), ([], 0), (None, 0), (5, 0), ({"type": "text", "text": "abc"}, 0),
        ([{"type": "text", "text": "größe"}, {"type": "text", "text": "ab"}], 7),
        ([{"type": "thinking", "thinking": "abc", "signature": "x" * 99}], 3),
        ([{"type": "redacted_thinking", "data": "abcd"}], 4),
        ([{"type": "image", "source": {"data": "x" * 99}}], 0),
        ([{"type": "tool_use"}], 0), ([{"type": "text", "text": 5}, "text", None], 0),
    ],
)  # fmt: skip
def test_what_is_measured_of_each_block(content: Any, length: int) -> None:
    """Text, thinking and tool input count by code point; everything else is 0."""
    assert chars(content) == length


def test_what_cannot_be_read_has_no_length() -> None:
    """An estimate's base never fails."""
    for raw in (b"", b"{", b'"\\ud83d"', b"[" * 100_000, b'"\xff"'):
        assert content_chars(msgspec.Raw(raw)) == 0
    for depth in range(900, 1000, 7):
        deep = b"[" * depth + b"1e-9" + b"]" * depth
        raw = b'[{"type":"tool_use","input":%b}]' % deep
        assert content_chars(msgspec.Raw(raw)) in (0, 2 * depth + 5)
