"""Another process that has the ledger open: it reads on and on, or holds the write lock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

READS = "BEGIN; SELECT count(*) FROM requests"
"""A question whose answer is never put away: its log cannot be cut."""
WRITES = "BEGIN IMMEDIATE"

CHILD = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
cursor = [list(connection.execute(sql)) for sql in sys.argv[2].split(";")]
print("there", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
connection.close()
"""


@contextmanager
def neighbour(database: str, sql: str) -> Iterator[subprocess.Popen[bytes]]:
    """The other process, for the block; it lets go at its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, database, sql], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"there\n"
        yield process
        assert process.poll() is None
    finally:
        process.communicate(b"", timeout=60)
