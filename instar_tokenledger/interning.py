"""Texts that repeat, kept once in the database and pointed at by number.

Looks a text up in a bounded cache, then in the table, and adds it when it is new; always inside
the caller's transaction. `forget` drops the cache, which a rolled-back transaction makes untrue.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw

MAX_CACHED = 50_000


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
        self._sources = _Table(connection, "sources", "name")
        self._sessions = _Table(connection, "sessions", "name")
        self._names = _Table(connection, "names", "name")
        self._folders = _Table(connection, "folders", "path")
        self._files: dict[bytes, int] = {}
        self._fresh: set[int] = set()
        """Files added here, whose every place is remembered: no need to look for more."""
        self._place_ids: dict[Place, int] = {}
        self._places: dict[int, Place] = {}
        self._variants: dict[tuple[str, str, str], int] = {}

    def forget(self) -> None:
        """Trust nothing remembered: what a transaction added may be gone with it."""
        for table in (self._sources, self._sessions, self._names, self._folders):
            table.forget()
        for cache in (self._files, self._place_ids, self._places, self._variants):
            cache.clear()
        self._fresh.clear()

    def source(self, name: str) -> int:
        return self._sources.id(name)

    def session(self, name: str) -> int:
        return self._sessions.id(name)

    def name(self, text: str) -> int | None:
        """A project, agent, branch or version; None for the empty text."""
        return self._names.id(text) if text else None

    def file(self, path: bytes) -> int | None:
        """The id of a file by its absolute path; None for `NO_FILE`."""
        known = self._files.get(path)
        if known is not None:
            return known
        if path == NO_FILE:
            return None
        folder, _, name = path.rpartition(b"/")
        values = (self._folders.id(folder), name)
        found = self._one(
            "INSERT INTO files (folder, name) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING id",
            values,
        )
        if found is None:
            found = self._one("SELECT id FROM files WHERE folder = ? AND name = ?", values)
        else:
            self._fresh.add(found)
        return _remembered(self._files, path, found)

    def place(self, place: Place) -> int:
        known = self._place_ids.get(place)
        if known is not None:
            return known
        file = self.file(place.path)
        values = (
            self.source(place.source), file, self.session(place.session),
            self.name(place.project), self.name(place.agent), int(place.sidechain),
            self.name(place.branch), self.name(place.version),
        )  # fmt: skip
        found = None
        if file not in self._fresh:
            found = self._one(
                "SELECT id FROM places WHERE source = ?1 AND file IS ?2 AND session = ?3"
                " AND project IS ?4 AND agent IS ?5 AND sidechain = ?6 AND branch IS ?7"
                " AND version IS ?8",
                values,
            )
        if found is None:
            found = self._one(
                "INSERT INTO places"
                " (source, file, session, project, agent, sidechain, branch, version)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                values,
            )
        if len(self._place_ids) >= MAX_CACHED:
            self._fresh.clear()
        return _remembered(self._place_ids, place, found)

    def place_of(self, place_id: int) -> Place:
        """The place with this id."""
        known = self._places.get(place_id)
        if known is None:
            known = self._read_place(place_id)
            _bound(self._places)
            self._places[place_id] = known
        return known

    def variant(self, model: str, tier: str, speed: str) -> int:
        values = (model, tier, speed)
        known = self._variants.get(values)
        if known is not None:
            return known
        found = self._one(
            "INSERT INTO variants (model, tier, speed) VALUES (?, ?, ?)"
            " ON CONFLICT DO NOTHING RETURNING id",
            values,
        )
        if found is None:
            found = self._one(
                "SELECT id FROM variants WHERE model = ? AND tier = ? AND speed = ?", values
            )
        return _remembered(self._variants, values, found)

    def path_of(self, file_id: int) -> bytes:
        """The absolute path of a file."""
        for folder, name in self._connection.execute(
            "SELECT path, name FROM files JOIN folders ON folders.id = folder WHERE files.id = ?",
            (file_id,),
        ):
            return bytes(folder) + b"/" + bytes(name)
        return NO_FILE

    def _read_place(self, place_id: int) -> Place:
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

    def _one(self, sql: str, values: tuple[str | bytes | int | None, ...]) -> int | None:
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else int(row[0])


class _Table:
    """A table of texts, each once."""

    def __init__(self, connection: apsw.Connection, table: str, column: str) -> None:
        self._connection = connection
        self._insert = (
            f"INSERT INTO {table} ({column}) VALUES (?) ON CONFLICT DO NOTHING RETURNING id"
        )
        self._select = f"SELECT id FROM {table} WHERE {column} = ?"
        self._ids: dict[str | bytes, int] = {}

    def id(self, text: str | bytes) -> int:
        known = self._ids.get(text)
        if known is not None:
            return known
        row = self._connection.execute(self._insert, (text,)).fetchone()
        if row is None:
            row = self._connection.execute(self._select, (text,)).fetchone()
        assert row is not None
        return _remembered(self._ids, text, int(row[0]))

    def forget(self) -> None:
        self._ids.clear()


def _remembered(ids: dict[Any, int], key: object, found: int | None) -> int:
    assert found is not None
    _bound(ids)
    ids[key] = found
    return found


def _bound(cache: dict[Any, Any]) -> None:
    if len(cache) >= MAX_CACHED:
        cache.clear()
