"""D17: a ledger of the first shape becomes what it would be, had it been made today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from benchmarks.corpus import build
from instar_tokenledger import ids
from instar_tokenledger.schema import COUNTERS, MIGRATIONS
from tests.tokenledger.homes import SESSION, LedgerHome, said

_COUNTERS = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in COUNTERS)
FIRST = f"""
CREATE TABLE sessions (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE folders (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    folder INTEGER NOT NULL REFERENCES folders,
    name BLOB NOT NULL,
    UNIQUE (folder, name)
) STRICT;
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    variant INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    size INTEGER,
    {_COUNTERS},
    message_id TEXT,
    request_id TEXT,
    row_id TEXT
) STRICT;
CREATE INDEX requests_message ON requests (substr(message_id, -8)) WHERE message_id IS NOT NULL;
CREATE INDEX requests_wild ON requests (substr(request_id, -8)) WHERE flags & 2;
CREATE INDEX requests_row ON requests (row_id) WHERE row_id IS NOT NULL;
CREATE INDEX requests_place ON requests (place, at_ms);
CREATE TABLE contents (
    request INTEGER NOT NULL,
    file INTEGER NOT NULL REFERENCES files,
    row INTEGER NOT NULL,
    chars INTEGER NOT NULL,
    PRIMARY KEY (request, file, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX places_file ON places (file);
CREATE INDEX places_session ON places (session);
"""
"""What was different, as it was."""
REST_OF_A_HASH = 0xABCDEF


def dump(connection: apsw.Connection) -> dict[str, Any]:
    """Every table's rows and the schema, but for the planner's statistics and the index that is
    made when it is first needed."""
    schema: list[Any] = connection.execute(
        "SELECT name, type, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'"
        " AND name <> 'requests_request' ORDER BY name"
    ).fetchall()
    return {
        name: (sql, _rows(connection, name) if kind == "table" else None)
        for name, kind, sql in schema
    }


def make_first(path: str) -> None:
    """Turn a ledger back into the first shape, with its rows as they would have been."""
    connection = apsw.Connection(path)
    tables = ("sessions", "folders", "files", "requests", "contents")
    rows = {table: _rows(connection, table) for table in tables}
    for table in tables:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DROP VIEW requests_in_full; DROP INDEX places_session")
    connection.execute("DROP INDEX session_totals_tokens")
    connection.execute(FIRST)
    for table in ("sessions", "folders", "files"):
        _fill(connection, table, [row[:-1] for row in rows[table]])
    _fill(connection, "requests", [
        (*row[:-3], ids.whole(row[-3], ids.MESSAGE) or None,
         ids.whole(row[-2], ids.REQUEST) or None, row[-1])
        for row in rows["requests"]
    ])  # fmt: skip
    _fill(connection, "contents", [
        (request, file, line if line < 0 else line << 24 | REST_OF_A_HASH, chars)
        for request, file, _, packed in rows["contents"]
        for line, chars in msgspec.msgpack.decode(packed, type=dict[int, int]).items()
    ])  # fmt: skip
    connection.pragma("user_version", len(MIGRATIONS) - 1)
    connection.close()


def test_a_ledger_of_the_first_shape_becomes_one_of_the_present(
    home: LedgerHome, tmp_path: Path
) -> None:
    """D17: the same tables and the same rows as a ledger made today, and the same answers."""
    build(home.claude, seed=5, sessions=25)
    home.scan()
    home.service.close()
    with _reader(home) as connection:
        made_today = dump(connection)
        assert made_today["contents"][1]
    before = home.answers()
    make_first(home.database)
    home.restart()
    home.scan()
    home.service.close()
    assert home.answers() == before
    with _reader(home) as connection:
        found = dump(connection)
        assert _lines(found.pop("contents")[1]) == _lines(made_today.pop("contents")[1])
        assert found == made_today
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_line_met_again_counts_once_in_a_ledger_of_the_first_shape(home: LedgerHome) -> None:
    """A placeholder's content is known by the numbers that were kept of its lines."""
    placeholder = said("m1", "r1", output=1, uuid="u1", chars=500)
    home.write(SESSION, placeholder)
    home.scan()
    before = home.summary()["partial"]
    assert before["estimatedOutput"] > 100
    home.service.close()
    make_first(home.database)
    home.write(SESSION, said("m0", "r0"), placeholder)
    home.restart()
    home.scan()
    assert home.summary()["partial"]["estimatedOutput"] == before["estimatedOutput"]


def _reader(home: LedgerHome) -> apsw.Connection:
    return apsw.Connection(home.database)


def _rows(connection: apsw.Connection, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


def _fill(connection: apsw.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _lines(rows: list[tuple[Any, ...]]) -> list[tuple[int, int, int, dict[int, int]]]:
    """Rows of contents; a map has no order."""
    return [(r, f, chars, msgspec.msgpack.decode(packed)) for r, f, chars, packed in rows]
