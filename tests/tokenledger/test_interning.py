"""Numbers for texts: given out once, kept whatever the cache forgets, and gone with a rollback."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from instar_host.store import sqlite
from instar_tokenledger import interning
from instar_tokenledger.interning import Interned, Place
from instar_tokenledger.schema import APPLICATION_ID, MIGRATIONS


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    """A new ledger's writer."""
    return sqlite.open_writer(
        tmp_path / "ledger.db",
        application_id=APPLICATION_ID,
        migrations=MIGRATIONS,
        synchronous="NORMAL",
    )


def place(number: int) -> Place:
    """A place of its own, in one of two sessions."""
    path = b"/home/dev/%d.jsonl" % number
    return Place("agent", path, f"s{number % 2}", "/p", "", False, "main", "")


def test_a_number_stands_for_the_same_text_in_the_next_process(connection: apsw.Connection) -> None:
    """What one process numbered, the next finds; what it did not number gets a new number."""
    first = Interned(connection)
    numbers = [first.place(place(i)) for i in range(5)]
    first.write()
    second = Interned(connection)
    assert [second.place(place(i)) for i in range(5)] == numbers
    assert second.place(place(5)) not in numbers
    assert [second.place_of(number) for number in numbers] == [place(i) for i in range(5)]


def test_a_full_cache_forgets_nothing(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of texts that left the cache, written or not yet, are found again."""
    monkeypatch.setattr(interning, "MAX_CACHED", 3)
    names = Interned(connection)
    numbers = [names.place(place(i)) for i in range(10)]
    assert [names.place(place(i)) for i in range(10)] == numbers
    assert len(set(numbers)) == 10
    names.write()
    files = connection.execute("SELECT count(*), count(DISTINCT name) FROM files").fetchall()
    assert files == [(10, 10)]


def test_what_a_rollback_took_is_numbered_anew(connection: apsw.Connection) -> None:
    """After `forget` nothing that was only in the lost transaction is believed."""
    names = Interned(connection)
    kept = names.session("kept")
    names.write()
    connection.execute("BEGIN")
    lost = names.session("lost")
    names.write()
    connection.execute("ROLLBACK")
    names.forget()
    assert names.session("kept") == kept
    again = names.session("other")
    names.write()
    assert again == lost  # the number was free again
    assert connection.execute("SELECT name FROM sessions ORDER BY id").fetchall() == [
        ("kept",), ("other",),
    ]  # fmt: skip
