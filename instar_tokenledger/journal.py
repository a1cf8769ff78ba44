"""The ledger's write-ahead log: how long it is, and keeping it from growing without end.

While somebody reads on and on, SQLite cannot start the log anew, and every commit makes it longer.
Promises that a log past `LIMIT_BYTES` that cannot be cut stops writing, with a sentence that says
why: transcripts wait, a full disk would not. Never waits longer than `PATIENCE_MS` for readers.
"""

from __future__ import annotations

import os

import apsw

from instar_host.store import policy, sqlite
from instar_host.store.errors import shown
from instar_tokenledger.errors import LogHeld

LONG_LOG_BYTES = 1 << 20
"""A log over this is cut when nothing waits."""
PAGES_A_CHECKPOINT = 4_000
"""16 MiB. A first scan changes the same pages commit by commit, and each checkpoint writes them."""
LIMIT_BYTES = 64 << 20
PATIENCE_MS = 1_000
MB = 1_000_000


def log_bytes(path: str) -> int:
    """Size of the ledger's log, by stat alone; 0 where there is none, or none to be seen."""
    try:
        return os.stat(path + "-wal").st_size
    except OSError:  # whatever is wrong there, writing says it better
        return 0


def is_too_long(connection: apsw.Connection, limit: int = LIMIT_BYTES) -> bool:
    """True for a log that has to be cut before anything is written."""
    return log_bytes(connection.filename) > limit


def cut(connection: apsw.Connection, patience_ms: int = 0) -> bool:
    """Copy the log into the ledger and cut it; false if a reader stood in the way that long."""
    connection.set_busy_timeout(patience_ms)
    try:
        return sqlite.truncate_log(connection)
    finally:
        policy.wait_as_writer(connection)


def keep_short(connection: apsw.Connection, limit: int = LIMIT_BYTES) -> None:
    """Cut a log that has grown past `limit` bytes. Raises `LogHeld` while somebody reads on."""
    if is_too_long(connection, limit) and not cut(connection, PATIENCE_MS):
        raise LogHeld(
            f"Somebody has been reading {shown(connection.filename)} for so long that its log has"
            f" grown to {log_bytes(connection.filename) // MB} MB and cannot be cut. Transcripts"
            " wait until that program lets go of the ledger; give it a copy instead:"
            " `instar tokens snapshot FILE`."
        )
