"""What is kept of an id says all of it, in Python and in SQL alike."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instar_tokenledger import ids

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
anything = st.one_of(
    texts, texts.map(lambda rest: ids.MESSAGE + rest), texts.map(lambda rest: "=" + rest)
)


@given(anything)
@example(ids.MESSAGE)
@example(ids.MESSAGE + "=")
@example("")
def test_what_is_kept_of_an_id_says_all_of_it(text: str) -> None:
    """Whatever an agent calls a message, it is called that again."""
    kept = ids.short(text, ids.MESSAGE)
    assert ids.whole(kept, ids.MESSAGE) == text
    connection = apsw.Connection(":memory:")
    sql = f"SELECT {ids.short_sql('?1', ids.MESSAGE)}, {ids.whole_sql('?2', ids.MESSAGE)}"
    assert connection.execute(sql, (text, kept)).fetchone() == (kept, text)


def test_the_usual_beginning_is_not_kept() -> None:
    """What millions of ids begin with costs nothing, what is absent stays absent."""
    assert ids.short("msg_01AbC", ids.MESSAGE) == "AbC"
    assert ids.short("chatcmpl-1", ids.MESSAGE) == "=chatcmpl-1"
    assert ids.whole(None, ids.MESSAGE) == ""


@pytest.mark.parametrize("name", ["", "one", "ü", b"\xff\xfe"])
def test_the_number_of_a_name_fits_into_four_bytes(name: str | bytes) -> None:
    """A database keeps a number of 32 bits with its sign in four bytes."""
    assert -(2**31) <= ids.number_of(name) < 2**31
