"""A ledger that instar 0.28 left at our path, taken over without losing a row.

Its rows may be all that is left of deleted transcripts. It is recognised by its tables, refused
while a process still has it open, imported into a new file beside it, and only then set aside
under a name of its own; a crash at any moment leaves the old file or the new one in place, never
neither.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import apsw

from instar_host.store import sqlite
from instar_host.store.errors import shown
from instar_tokenledger.batch import Batch
from instar_tokenledger.errors import LedgerError, LedgerInUse
from instar_tokenledger.interning import NO_FILE
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.schema import APPLICATION_ID, MIGRATIONS
from instar_tokenledger.sources.claude_code import NAME
from instar_tokenledger.sources.claude_rows import SYNTHETIC
from instar_tokenledger.usage import MAX_COUNT, Counters, Decoded, UsageRow

SUFFIX = ".instar-0.28"
ROWS_A_COMMIT = 10_000
LAST_MS = 253_402_300_799_999
"""The end of the year 9999, beyond which no transcript can name an instant."""
COLUMNS = (
    "request_id", "session_id", "project_path", "ts", "model", "input_tokens", "output_tokens",
    "cache_creation_tokens", "cache_read_tokens", "service_tier",
)  # fmt: skip


def is_old_ledger(path: str) -> bool:
    """True for a database with the tables of instar 0.28 or a later 0.x; looks and changes
    nothing."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        found: list[Any] = connection.execute(
            "SELECT name FROM pragma_table_info('token_events')"
        ).fetchall()
    finally:
        connection.close()
    return set(COLUMNS) <= {row[0] for row in found}


def take_over(path: str) -> str:
    """Import the old ledger at `path` into a new one there; returns where the old one now lies.

    Raises `LedgerInUse` while another process has it open, `LedgerError` when a copy from an
    earlier take-over is in the way.
    """
    aside = path + SUFFIX
    if os.path.lexists(aside) and os.path.samefile(path, aside):
        os.unlink(aside)  # a crash came between the two names; nothing else was done yet
    if os.path.lexists(aside):
        raise LedgerError(
            f"{shown(path)} is a ledger of instar 0.28, and {shown(aside)} from an earlier"
            " take-over still exists. Move one of the two away and start again."
        )
    draft = path + ".taking-over"
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft + suffix)
    old = _open_alone(path)
    try:
        _import(old, draft)
    finally:
        old.close()
    os.link(path, aside)
    os.rename(draft, path)
    return aside


def _open_alone(path: str) -> apsw.Connection:
    """Open the old ledger; only a sole owner may leave WAL mode, which is how others are found
    out."""
    old = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        old.set_busy_timeout(500)
        alone = old.pragma("journal_mode", "DELETE") == "delete"
        old.execute("BEGIN EXCLUSIVE")
    except (apsw.BusyError, apsw.LockedError):
        alone = False
    if not alone:
        old.close()
        raise LedgerInUse(
            f"{shown(path)} is a ledger of instar 0.28 that a running process still has open."
            " Stop that process, then start again; nothing was changed."
        )
    return old


def _import(old: apsw.Connection, draft: str) -> None:
    connection = sqlite.open_writer(
        draft, application_id=APPLICATION_ID, migrations=MIGRATIONS, synchronous="FULL"
    )
    ledger = Ledger(connection)
    try:
        for rows in _batches(old):
            batch = Batch()
            batch.add(NAME, NO_FILE, Decoded(rows=rows))
            ledger.commit(batch)
        sqlite.truncate_log(connection)
    finally:
        ledger.close()


def _batches(old: apsw.Connection) -> Iterator[list[UsageRow]]:
    rows: list[UsageRow] = []
    for values in old.execute(f"SELECT {', '.join(COLUMNS)} FROM token_events"):
        row = _row(values)
        if row is not None:
            rows.append(row)
        if len(rows) >= ROWS_A_COMMIT:
            yield rows
            rows = []
    yield rows


def _row(values: tuple[Any, ...]) -> UsageRow | None:
    """One old row; None for a local error and for one that names no request, session or instant.
    Odd numbers count as 0."""
    request_id, session, project, at_ms, model, *counters, tier = values
    if not request_id or not session or model == SYNTHETIC:
        return None
    if not isinstance(at_ms, int) or not 0 <= at_ms <= LAST_MS:
        return None
    return UsageRow(
        session=str(session),
        at_ms=at_ms,
        offset=0,
        counters=Counters(*(_count(value) for value in counters)),
        request_id=str(request_id),
        model=_text(model),
        tier=_text(tier),
        project=_text(project),
        has_stop=True,  # nothing tells whether it was partial, so it is not called so
    )


def _count(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
