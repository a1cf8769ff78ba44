"""Databases as instar 0.28 and its neighbours left them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from benchmarks.corpus import START_MS

COLUMNS = (
    "request_id", "uuid", "session_id", "project_path", "ts", "model", "input_tokens",
    "output_tokens", "cache_creation_tokens", "cache_read_tokens", "service_tier",
)  # fmt: skip
_EVENTS = """
CREATE TABLE token_events (
    request_id TEXT PRIMARY KEY, uuid TEXT, session_id TEXT NOT NULL, project_path TEXT,
    ts INTEGER NOT NULL, model TEXT, input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0, cache_creation_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0, service_tier TEXT {further}
);
CREATE INDEX idx_token_events_session ON token_events (session_id);
CREATE INDEX idx_token_events_ts ON token_events (ts);
CREATE INDEX idx_token_events_project ON token_events (project_path);
CREATE TABLE file_offsets (
    file_path TEXT PRIMARY KEY, offset INTEGER NOT NULL DEFAULT 0, inode INTEGER, size INTEGER,
    {head_hash} last_read INTEGER NOT NULL
);
"""
_HOLD = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("SELECT count(*) FROM token_events").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


def old_row(request_id: str, **changes: Any) -> dict[str, Any]:
    """One old event: 10 in, 900 out, in session-1."""
    return {
        "request_id": request_id,
        "uuid": f"u-{request_id}",
        "session_id": "session-1",
        "project_path": "/home/dev/app",
        "ts": START_MS,
        "model": "claude-opus-4-5",
        "input_tokens": 10,
        "output_tokens": 900,
        "cache_creation_tokens": 0,
        "cache_read_tokens": 0,
        "service_tier": "standard",
        **changes,
    }


def make_old_ledger(
    path: str,
    rows: Sequence[dict[str, Any]],
    *,
    head_hash: bool = True,
    further: Sequence[str] = (),
    clean: bool = True,
) -> None:
    """Write a ledger of 0.28 to `path`: an older one has no head hash, a later one more columns,
    and one that was killed leaves its log behind."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    connection = apsw.Connection(path)
    connection.pragma("journal_mode", "WAL")
    connection.execute(
        _EVENTS.format(
            head_hash="head_hash TEXT," if head_hash else "",
            further="".join(f", {column}" for column in further),
        )
    )
    marks = ", ".join("?" * len(COLUMNS))
    connection.executemany(
        f"INSERT INTO token_events ({', '.join(COLUMNS)}) VALUES ({marks})",
        [tuple(row[column] for column in COLUMNS) for row in rows],
    )
    if clean:
        connection.close()
        return
    files = {suffix: _bytes(path + suffix) for suffix in ("", "-wal")}
    connection.close()
    for suffix, data in files.items():
        with open(path + suffix, "wb") as file:
            file.write(data)


@contextmanager
def held_open(path: str) -> Iterator[None]:
    """Another process has the old ledger open, as a running instar would."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        yield
    finally:
        holder.communicate()


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
