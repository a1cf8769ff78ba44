"""How every connection of ours is set up, one small function a rule, each with its reason.

Promises: the rules are applied to the connection they are given and to nothing else. It never
registers `apsw.connection_hooks` or a library-wide log: those belong to the whole process, which is
the host's, not ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import apsw

from instar_host.store.errors import UnsupportedSQLite

WRITER_TIMEOUT_MS = 5_000
READER_TIMEOUT_MS = 1_000
JOURNAL_LIMIT_BYTES = 64 << 20

Synchronous = Literal["NORMAL", "FULL"]
Rule = Callable[[apsw.Connection], None]

_FIRST_SAFE = (3, 51, 3)
_WITHDRAWN = (3, 52, 0)
_BACKPORTS = {(3, 50): 7, (3, 44): 6}  # line: first release of it with the fix


def check_version(version: str | None = None) -> None:
    """Raise `UnsupportedSQLite` unless `version` (default: the linked one) is safe for WAL.

    3.7.0 to 3.51.2 can lose committed pages or corrupt the file when one connection writes while
    another checkpoints (sqlite.org/wal.html#walresetbug); 3.52.0 was withdrawn.
    """
    text = apsw.sqlite_lib_version() if version is None else version
    try:
        number = tuple(int(part) for part in text.split(".")[:3])
    except ValueError:
        number = ()
    if number != _WITHDRAWN and (number >= _FIRST_SAFE or _is_backport(number)):
        return
    raise UnsupportedSQLite(
        f"SQLite {text} is linked, which can corrupt a database in WAL mode; 3.51.3 or newer is"
        " needed (3.52.0 was withdrawn). Run: pip install --upgrade apsw"
    )


def _is_backport(number: tuple[int, ...]) -> bool:
    if len(number) != 3:
        return False
    first = _BACKPORTS.get((number[0], number[1]))
    return first is not None and number[2] >= first


def wait_as_writer(connection: apsw.Connection) -> None:
    """Wait 5 s for a lock: a checkpoint of a busy database takes longer than the usual 100 ms."""
    connection.set_busy_timeout(WRITER_TIMEOUT_MS)


def wait_as_reader(connection: apsw.Connection) -> None:
    """Wait 1 s for a lock: readers wait in WAL only while the log is recovered or reset."""
    connection.set_busy_timeout(READER_TIMEOUT_MS)


def wait_for_nobody(connection: apsw.Connection) -> None:
    """Give up at once where a lock is held: for housekeeping that can be done another time."""
    connection.set_busy_timeout(0)


def check_foreign_keys(connection: apsw.Connection) -> None:
    """Enforce REFERENCES, which SQLite leaves off for the sake of old programs."""
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)


def refuse_double_quoted_strings(connection: apsw.Connection) -> None:
    """Make a misspelt column an error, not a string."""
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)


def distrust_schema(connection: apsw.Connection) -> None:
    """Run no function with side effects from a schema: the file may have been handed to us."""
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)


def check_cells(connection: apsw.Connection) -> None:
    """Check each page's cells when it is read, so that damage is found before it is copied."""
    connection.pragma("cell_size_check", "ON")


def limit_journal(connection: apsw.Connection) -> None:
    """Cut the log back to 64 MiB after a checkpoint; a long reader lets it grow past that."""
    connection.pragma("journal_size_limit", JOURNAL_LIMIT_BYTES)


def keep_temporary_data_in_memory(connection: apsw.Connection) -> None:
    """Sort in memory: temporary files would carry private text to a shared directory."""
    connection.pragma("temp_store", "MEMORY")


def map_no_memory(connection: apsw.Connection) -> None:
    """Read through the page cache: an I/O error stays an error instead of a SIGBUS."""
    connection.pragma("mmap_size", 0)


def refuse_writes(connection: apsw.Connection) -> None:
    """Let a reader be nothing but a reader."""
    connection.pragma("query_only", "ON")


def never_checkpoint(connection: apsw.Connection) -> None:
    """Leave checkpoints to the one writer, also when the reader is the last to close."""
    connection.wal_autocheckpoint(0)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def sync_normal(connection: apsw.Connection) -> None:
    """Sync at checkpoints: a power cut may undo the last commits, never damage the file."""
    connection.pragma("synchronous", "NORMAL")


def sync_full(connection: apsw.Connection) -> None:
    """Sync every commit: for what was acknowledged outward and cannot be read again."""
    connection.pragma("synchronous", "FULL")


EVERYBODY: tuple[Rule, ...] = (
    check_foreign_keys,
    refuse_double_quoted_strings,
    distrust_schema,
    check_cells,
    keep_temporary_data_in_memory,
    map_no_memory,
)
WRITER: tuple[Rule, ...] = (wait_as_writer, *EVERYBODY, limit_journal)
READER: tuple[Rule, ...] = (wait_as_reader, *EVERYBODY, refuse_writes, never_checkpoint)


def writer_rules(synchronous: Synchronous) -> tuple[Rule, ...]:
    """Return the rules of the one writer of a database."""
    return (*WRITER, sync_full if synchronous == "FULL" else sync_normal)


def apply(rules: tuple[Rule, ...], connection: apsw.Connection) -> None:
    """Apply `rules` to `connection` in order."""
    for rule in rules:
        rule(connection)
