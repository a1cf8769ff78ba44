"""A home of Hermes with its database, as the gateway has it open."""

from __future__ import annotations

from pathlib import Path

import apsw

from instar_host.store.tail import Lines
from instar_tokenledger.sources.hermes import FILE, HermesReadings, decode
from instar_tokenledger.usage import UsageRow

SCHEMA = """
    CREATE TABLE sessions (id TEXT PRIMARY KEY, cwd TEXT, git_branch TEXT);
    CREATE TABLE session_model_usage (
        session_id TEXT NOT NULL, model TEXT NOT NULL, billing_provider TEXT NOT NULL DEFAULT '',
        billing_base_url TEXT NOT NULL DEFAULT '', billing_mode TEXT NOT NULL DEFAULT '',
        task TEXT NOT NULL DEFAULT '', input_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0, cache_read_tokens INTEGER NOT NULL DEFAULT 0,
        cache_write_tokens INTEGER NOT NULL DEFAULT 0, reasoning_tokens INTEGER NOT NULL DEFAULT 0,
        first_seen REAL, last_seen REAL);
"""
"""The columns of 0.19 that are read."""


class Home:
    """A home of Hermes with its database open, as the gateway has it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hermes"
        self.path.mkdir()
        self.database = apsw.Connection(str(self.path / "state.db"))
        self.database.pragma("journal_mode", "WAL")
        self.database.execute(SCHEMA)
        self.database.execute("INSERT INTO sessions VALUES ('s', '/app', 'main')")
        self.kept = folder / "kept"
        self.readings = self.reopened()

    def reopened(self) -> HermesReadings:
        """The same readings in a process that has just started."""
        return HermesReadings(lambda: self.path, self.kept)

    def use(self, total: int, at_s: float) -> None:
        """Hermes has used so many tokens by then, in all."""
        self.database.execute("DELETE FROM session_model_usage")
        self.database.execute(
            "INSERT INTO session_model_usage (session_id, model, input_tokens, output_tokens,"
            " cache_read_tokens, reasoning_tokens, last_seen) VALUES ('s', 'm', ?, 5, 7, 2, ?)",
            (total, at_s),
        )

    def rows(self) -> list[UsageRow]:
        data = (self.kept / FILE).read_bytes()
        return list(decode(Lines(data=data, offset=0), b"").rows)
