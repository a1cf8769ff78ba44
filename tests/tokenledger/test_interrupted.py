"""A database or a source that fails for a moment, inside a look or a step: nothing is left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec
import pytest

from instar_tokenledger.ingest import Budget, Ingest
from instar_tokenledger.ledger import Ledger
from tests.faults.ledgers import marks_of
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said

OTHER = "projects/-home-dev-app/other.jsonl"


def read(ingest: Ingest) -> None:
    """Look and read, as a tick does."""
    ingest.look()
    list(ingest.read(Budget()))


@pytest.fixture
def ingest(home: LedgerHome, ledger: Ledger) -> Ingest:
    """Two transcripts, both read."""
    home.write(SESSION, said("m1", "r1"))
    home.write(OTHER, said("m2", "r2"))
    made = Ingest(ledger, home.service.sources(), clock_of(home))
    read(made)
    return made


def test_a_mark_that_could_not_be_let_go_of_goes_later(
    home: LedgerHome, ledger: Ledger, ingest: Ingest
) -> None:
    """C-35: where the database refuses, what has gone is remembered until it does not."""
    (home.claude / SESSION).unlink()
    ledger.connection.execute("PRAGMA query_only = 1")
    with pytest.raises(apsw.ReadOnlyError):
        ingest.look()
    ledger.connection.execute("PRAGMA query_only = 0")
    ingest.look_at_hot_files()
    assert set(marks_of(ledger.connection)) == {os.fsencode(home.claude / OTHER)}


def test_a_file_whose_mark_could_not_be_read_waits_on(
    home: LedgerHome, ledger: Ledger, ingest: Ingest
) -> None:
    """T15: an error of the database before a file was opened leaves it in the line."""
    home.append(SESSION, said("m3", "r3"))
    ingest.look()
    ledger.connection.authorizer = lambda *what: (
        apsw.SQLITE_DENY if "guard" in what else apsw.SQLITE_OK
    )
    with pytest.raises(apsw.Error):
        list(ingest.read(Budget()))
    ledger.connection.authorizer = None
    list(ingest.read(Budget()))
    assert ingest.progress.caught_up
    assert marks_of(ledger.connection)[os.fsencode(home.claude / SESSION)] > len(said())


def test_a_look_that_broke_off_is_begun_anew(home: LedgerHome, ledger: Ledger) -> None:
    """D1-14: a look that failed half-way does not pass for a whole one."""
    home.write(SESSION, said("m1", "r1"))
    source = home.service.sources()[0]
    failures = [OSError("no roots at the moment")]

    def roots() -> Sequence[Path]:
        if failures:
            raise failures.pop()
        return source.roots()

    ingest = Ingest(ledger, [msgspec.structs.replace(source, roots=roots)], clock_of(home))
    with pytest.raises(OSError, match="no roots"):
        ingest.look()
    assert ingest.look()
    assert ingest.progress.files_waiting == 1
