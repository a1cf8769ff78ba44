"""A host's own database, looked at from outside of it: is it whole, and may anybody write?"""

from __future__ import annotations

from pathlib import Path

import apsw


def is_whole(path: Path) -> bool:
    """What SQLite's own check says."""
    connection = apsw.Connection(str(path))
    try:
        return bool(connection.pragma("integrity_check") == "ok")
    finally:
        connection.close()


def is_locked(path: Path) -> bool:
    """Whether another process may not write there."""
    connection = apsw.Connection(str(path))
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except apsw.BusyError:
        return True
    finally:
        connection.close()
    return False
