"""A ledger on a disk that may fail, and what its own marks say it has to hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from benchmarks.corpus.disk import Reading as TreeReading
from benchmarks.corpus.disk import read_lines
from benchmarks.corpus.truth import truth_of
from instar_host.clock import SystemClock
from instar_host.store import sqlite
from instar_host.store.diagnosis import damage
from instar_tokenledger.ingest import Budget, Ingest
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.queries import Queries
from instar_tokenledger.schema import APPLICATION_ID, MIGRATIONS
from instar_tokenledger.service import Reading
from instar_tokenledger.session_queries import SessionQueries
from instar_tokenledger.sources.claude_code import claude_code
from tests.tokenledger.homes import EVER, answers_of, true_answers

Json = dict[str, Any]


def opened(path: Path, vfs: str | None = None) -> Ledger:
    """The writer of the ledger at `path`, over a file layer of the test's."""
    connection = sqlite.open_writer(
        path,
        application_id=APPLICATION_ID,
        migrations=MIGRATIONS,
        synchronous="NORMAL",
        vfs=vfs,
    )
    return Ledger(connection)


def scan(
    ledger: Ledger, claude: Path, budget: Callable[[], Budget], steps: int | None = None
) -> bool:
    """Read in steps of `budget`, at most `steps` of them; true when everything was read."""
    ingest = Ingest(ledger, [claude_code(lambda: [claude / "projects"])], SystemClock())
    while steps is None or steps > 0:
        ingest.look()
        for _ in ingest.read(budget()):
            pass
        if ingest.progress.caught_up:
            return True
        steps = None if steps is None else steps - 1
    return False


def marks_of(connection: apsw.Connection) -> dict[bytes, int]:
    """How far each file has been read."""
    rows: list[Any] = connection.execute(
        "SELECT CAST(folders.path || '/' || files.name AS BLOB), offset FROM marks"
        " JOIN files ON files.id = file JOIN folders ON folders.id = folder"
    ).fetchall()
    return {bytes(path): offset for path, offset in rows}


def answers_in(connection: apsw.Connection) -> tuple[Json, dict[str, int]]:
    """Every view of the ledger, and its skips."""
    reading = Reading(Queries(connection), SessionQueries(connection), connection)
    return answers_of(reading, EVER), reading.totals.contents()["skips"]


def implied_by(marks: dict[bytes, int]) -> tuple[Json, dict[str, int]]:
    """What a ledger with these marks has to answer: the truth of what stands before them."""
    found = TreeReading()
    for path, offset in marks.items():
        with open(path, "rb") as file:
            read_lines(found, path, file.read(offset))
    truth = truth_of(found.rows, skips=found.skips, costs=found.costs)
    return true_answers(truth, EVER), dict(truth.skips)


def assert_rows_are_what_marks_imply(connection: apsw.Connection) -> dict[bytes, int]:
    """I2: nothing is damaged, nothing is there without its mark, nothing is missing before one."""
    assert damage(connection, full=True) == ""
    marks = marks_of(connection)
    assert answers_in(connection) == implied_by(marks)
    return marks


def total_of(claude: Path) -> int:
    """Bytes of all files below a configuration folder's projects."""
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(claude / "projects")
        for name in names
    )
