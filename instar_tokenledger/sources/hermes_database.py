"""Hermes's running totals out of its `state.db`, as JSON lines on stdout: a program of its own.

`python -m instar_tokenledger.sources.hermes_database PATH`. Promises to read only, in one
transaction, and never to be part of Hermes's own process: closing a database drops the locks of
every other library that has it open there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import msgspec

QUERY = """
    SELECT u.session_id, u.model, u.billing_provider, u.billing_base_url, u.billing_mode, u.task,
        coalesce(u.last_seen, u.first_seen, 0), u.input_tokens, u.output_tokens,
        u.cache_read_tokens, u.cache_write_tokens, u.reasoning_tokens,
        coalesce(s.cwd, ''), coalesce(s.git_branch, '')
    FROM session_model_usage u LEFT JOIN sessions s ON s.id = u.session_id
    ORDER BY u.rowid
"""


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """What one session had used of one model when it was read. Buckets exclude each other, but
    `reasoning` is part of `output`."""

    session: str
    model: str
    provider: str
    url: str
    mode: str
    task: str
    at_ms: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int
    folder: str
    branch: str

    @property
    def key(self) -> tuple[str, ...]:
        """What Hermes counts under."""
        return (self.session, self.model, self.provider, self.url, self.mode, self.task)


def totals(path: str) -> Iterator[Total]:
    """Every total of the database at `path`. Raises `apsw.Error` and StoreError."""
    from instar_host.store import diagnosis

    connection = diagnosis.connect_reader(path)
    try:
        rows: list[tuple[Any, ...]] = connection.execute(QUERY).fetchall()
        for row in rows:
            said = [str(value) for value in row[:6]]
            used = [int(value) for value in row[7:12]]
            session, model, provider, url, mode, task = said
            fresh, output, cache_read, cache_write, reasoning = used
            yield Total(
                session=session, model=model, provider=provider, url=url, mode=mode, task=task,
                at_ms=int(float(row[6]) * 1000), input=fresh, output=output,
                cache_read=cache_read, cache_write=cache_write, reasoning=reasoning,
                folder=str(row[12]), branch=str(row[13]),
            )  # fmt: skip
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Print the totals of the one database that is named; the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m instar_tokenledger.sources.hermes_database PATH\n")
        return 2
    out = sys.stdout.buffer
    for total in totals(arguments[0]):
        out.write(msgspec.json.encode(total) + b"\n")
    out.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
