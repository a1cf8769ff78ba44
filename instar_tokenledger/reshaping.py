"""How a ledger of the first shape gets the present one, in which a request costs a quarter less.

Promises: no row is lost and no answer changes; inside the caller's transaction, so that a crash
leaves the first shape or the present one. A ledger that was made in the present shape is left
alone. Knows what the first shape was; nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import apsw
import msgspec

from instar_tokenledger import ids

_ID_COLUMNS = f"""{ids.short_sql("message_id", ids.MESSAGE)},
    {ids.short_sql("request_id", ids.REQUEST)}, row_id"""
_FILLED = {
    "sessions": "SELECT id, name, number_of(name) FROM before",
    "folders": "SELECT id, path, number_of(path) FROM before",
    "files": """
        SELECT b.id, folder, name, number_of(CAST(path || '/' || name AS BLOB)) FROM before b
        JOIN folders ON folders.id = folder
    """,
    "requests": f"""
        SELECT id, place, at_ms, offset, variant, flags, size, input, output, cache_create,
            cache_read, cache_5m, cache_1h, web_searches, web_fetches, thinking, {_ID_COLUMNS}
        FROM before
    """,
}
"""How each table is filled from what it was before; `contents` is done by hand."""


class Reshape(msgspec.Struct, frozen=True):
    """A migration to the shape that `script` makes."""

    script: str

    def __call__(self, connection: apsw.Connection) -> None:
        """Rebuild what differs, inside the caller's transaction."""
        if any(row[1] == "number" for row in _all(connection, "PRAGMA table_info(files)")):
            return
        connection.create_scalar_function("number_of", _number_of, 1)
        # A table that others point at is made anew under the same name.
        with_keys = connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, -1)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
        connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1)
        try:
            self._rebuild(connection)
        finally:
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, with_keys)
            connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 0)
            connection.create_scalar_function("number_of", None)

    def _rebuild(self, connection: apsw.Connection) -> None:
        tables, rest = self._present()
        for index in _all(
            connection,
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
            " AND tbl_name IN ('requests', 'places')",
        ):
            connection.execute(f"DROP INDEX {index[0]}")
        for table in (*_FILLED, "contents"):
            connection.execute(f"ALTER TABLE {table} RENAME TO before")
            connection.execute(tables[table])
            if table == "contents":
                connection.executemany(
                    "INSERT INTO contents VALUES (?, ?, ?, ?)", _packed(connection)
                )
            else:
                connection.execute(f"INSERT INTO {table} {_FILLED[table]}")
            connection.execute("DROP TABLE before")
        there = {row[0] for row in _all(connection, "SELECT name FROM sqlite_schema")}
        for name, sql in rest.items():
            if name not in there:
                connection.execute(sql)
        connection.execute("PRAGMA incremental_vacuum").fetchall()

    def _present(self) -> tuple[dict[str, str], dict[str, str]]:
        """SQL of the tables, and of the indexes and views, of the present shape."""
        model = apsw.Connection(":memory:")
        try:
            model.execute(self.script).fetchall()
            made = _all(model, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        finally:
            model.close()
        tables = {name: sql for kind, name, sql in made if kind == "table"}
        return tables, {name: sql for kind, name, sql in made if kind != "table"}


def _packed(connection: apsw.Connection) -> Iterator[tuple[int, int, int, bytes]]:
    """The lines of each request and file in one row. Their numbers keep what makes them differ:
    the first four bytes of seven, and the offset of a line without an id."""
    rows = connection.execute("SELECT request, file, row, chars FROM before ORDER BY 1, 2, 3")
    for (request, file), lines in groupby(rows, lambda row: (row[0], row[1])):
        chars = {row if row < 0 else row >> 24: chars for _, _, row, chars in lines}
        yield request, file, sum(chars.values()), msgspec.msgpack.encode(chars)


def _number_of(*names: Any) -> int:
    return ids.number_of(names[0])


def _all(connection: apsw.Connection, sql: str) -> list[Any]:
    return connection.execute(sql).fetchall()
