"""Texts that repeat, kept once in the database and pointed at by number.

The ledger is the only writer, so numbers are given out here, and what is new is written many rows
at a time: whoever writes something that points at a number calls `write` first. A text is looked up
in a bounded cache, then in the table, unless the cache holds all of it. Always inside the caller's
transaction; `forget` drops what a rolled-back one makes untrue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import apsw

from instar_tokenledger.ids import number_of

MAX_CACHED = 25_000


class Place(NamedTuple):
    """Where a request was made. `path` is `NO_FILE` for rows whose transcript was never seen."""

    source: str
    path: bytes
    session: str
    project: str
    agent: str
    sidechain: bool
    branch: str
    version: str


NO_FILE = b"\xff"
"""Sorts after every real path, so that a transcript read later becomes the provenance."""


class Interned:
    """The ids of sources, sessions, names, files, places and variants of one database."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._tables: list[_Table] = []
        self._sources = self._table("sources", "name")
        self._sessions = self._table("sessions", "name", numbered=True)
        self._names = self._table("names", "name")
        self._folders = self._table("folders", "path", numbered=True)
        self._files = self._table("files", "folder", "name", numbered=True)
        self._place_ids = self._table(
            "places", "source", "file", "session", "project", "agent", "sidechain", "branch",
            "version",
        )  # fmt: skip
        self._variants = self._table("variants", "model", "tier", "speed")
        self._places: dict[int, Place] = {}

    def _table(self, name: str, *columns: str, numbered: bool = False) -> _Table:
        """A table; one that points at others comes after them, as `write` has to."""
        table = _Table(self._connection, self.write, name, *columns, numbered=numbered)
        self._tables.append(table)
        return table

    def write(self) -> None:
        """Write what is new, so that it can be read and joined."""
        for table in self._tables:
            table.write()

    def forget(self) -> None:
        """Trust nothing remembered: what a transaction added may be gone with it."""
        for table in self._tables:
            table.forget()
        self._places.clear()

    def source(self, name: str) -> int:
        return self._sources.id(name, (name,))

    def session(self, name: str) -> int:
        return self._sessions.id(name, (name,))

    def name(self, text: str) -> int | None:
        """A project, agent, branch, version or model; None for the empty text."""
        return self._names.id(text, (text,)) if text else None

    def file(self, path: bytes) -> int | None:
        """The id of a file by its absolute path; None for `NO_FILE`."""
        known = self._files.known(path)
        if known is not None or path == NO_FILE:
            return known
        folder, _, name = path.rpartition(b"/")
        return self._files.new(path, (self._folders.id(folder, (folder,)), name))

    def place(self, place: Place) -> int:
        known = self._place_ids.known(place)
        if known is not None:
            return known
        return self._place_ids.new(place, (
            self.source(place.source), self.file(place.path), self.session(place.session),
            self.name(place.project), self.name(place.agent), int(place.sidechain),
            self.name(place.branch), self.name(place.version),
        ))  # fmt: skip

    def place_of(self, place_id: int) -> Place:
        """The place with this id."""
        known = self._places.get(place_id)
        if known is None:
            known = self._read_place(place_id)
            if len(self._places) >= MAX_CACHED:
                self._places.clear()
            self._places[place_id] = known
        return known

    def variant(self, model: str, tier: str, speed: str) -> int:
        values = (model, tier, speed)
        return self._variants.id(values, values)

    def path_of(self, file_id: int) -> bytes:
        """The absolute path of a file."""
        self.write()
        for folder, name in self._connection.execute(
            "SELECT path, name FROM files JOIN folders ON folders.id = folder WHERE files.id = ?",
            (file_id,),
        ):
            return bytes(folder) + b"/" + bytes(name)
        return NO_FILE

    def _read_place(self, place_id: int) -> Place:
        self.write()
        rows: list[Any] = self._connection.execute(
            "SELECT sources.name, file, sessions.name, p.name, a.name, sidechain, b.name, v.name"
            " FROM places JOIN sources ON sources.id = source"
            " JOIN sessions ON sessions.id = session"
            " LEFT JOIN names p ON p.id = project LEFT JOIN names a ON a.id = agent"
            " LEFT JOIN names b ON b.id = branch LEFT JOIN names v ON v.id = version"
            " WHERE places.id = ?",
            (place_id,),
        ).fetchall()
        source, file, session, project, agent, sidechain, branch, version = rows[0]
        return Place(
            source,
            NO_FILE if file is None else self.path_of(file),
            session,
            project or "",
            agent or "",
            bool(sidechain),
            branch or "",
            version or "",
        )


Value = str | bytes | int | None


class _Table:
    """Rows of some columns, each once, numbered from 1. The rows of a `numbered` table are found by
    a number made of their key, a text or a path."""

    def __init__(
        self,
        connection: apsw.Connection,
        write_all: Callable[[], None],
        table: str,
        *columns: str,
        numbered: bool,
    ) -> None:
        self._connection = connection
        self._write_all = write_all
        self._last = f"SELECT coalesce(max(id), 0) FROM {table}"
        self._numbered = numbered
        columns = (*columns, "number") if numbered else columns
        self._select = f"SELECT id FROM {table} WHERE " + " AND ".join(f"{c} IS ?" for c in columns)
        marks = ", ".join("?" * len(columns))
        self._insert = f"INSERT INTO {table} (id, {', '.join(columns)}) VALUES (?, {marks})"
        self._ids: dict[object, int] = {}
        self._new: list[tuple[Value, ...]] = []
        self._next = 0
        """The number given out next; 0: not known yet."""
        self._whole = False
        """True while the cache holds all there is, which makes looking in the table needless."""

    def known(self, key: object) -> int | None:
        """A number given out or looked up before."""
        return self._ids.get(key)

    def id(self, key: object, values: tuple[Value, ...]) -> int:
        """The number of the row with these values, remembered under `key`."""
        found = self._ids.get(key)
        return self.new(key, values) if found is None else found

    def new(self, key: object, values: tuple[Value, ...]) -> int:
        """The same of a key that is not `known`."""
        if not self._next:
            self._next = 1 + self._one(self._last, ())
            self._whole = self._next == 1
        if self._numbered:
            assert isinstance(key, str | bytes)
            values = (*values, number_of(key))
        found = 0 if self._whole else self._one(self._select, values)
        if not found:
            found = self._next
            self._next += 1
            self._new.append((found, *values))
        if len(self._ids) >= MAX_CACHED:
            self._write_all()
            self._ids.clear()
            self._whole = False
        self._ids[key] = found
        return found

    def write(self) -> None:
        if self._new:
            self._connection.executemany(self._insert, self._new)
            self._new = []

    def forget(self) -> None:
        self._ids.clear()
        self._new = []
        self._next, self._whole = 0, False

    def _one(self, sql: str, values: tuple[Value, ...]) -> int:
        """A number, 0 for no row."""
        row = self._connection.execute(sql, values).fetchone()
        return 0 if row is None else int(row[0])
