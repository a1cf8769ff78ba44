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
        self._ids: dict[tuple[str, object], int] = {}
        self._places: dict[int, Place] = {}

    def forget(self) -> None:
        """Trust nothing remembered: what a transaction added may be gone with it."""
        self._ids.clear()
        self._places.clear()

    def source(self, name: str) -> int:
        return self._id("sources", "name", name)

    def session(self, name: str) -> int:
        return self._id("sessions", "name", name)

    def name(self, text: str) -> int | None:
        """A project, agent, branch or version; None for the empty text."""
        return self._id("names", "name", text) if text else None

    def file(self, path: bytes) -> int | None:
        """The id of a file by its absolute path; None for `NO_FILE`."""
        if path == NO_FILE:
            return None
        known = self._ids.get(("files", path))
        if known is not None:
            return known
        folder_path, _, name = path.rpartition(b"/")
        folder = self._id("folders", "path", folder_path)
        found = self._one("SELECT id FROM files WHERE folder = ? AND name = ?", (folder, name))
        if found is None:
            found = self._one(
                "INSERT INTO files (folder, name) VALUES (?, ?) RETURNING id", (folder, name)
            )
        return self._remember(("files", path), found)

    def place(self, place: Place) -> int:
        known = self._ids.get(("places", place))
        if known is not None:
            return known
        values = (
            self.source(place.source), self.file(place.path), self.session(place.session),
            self.name(place.project), self.name(place.agent), int(place.sidechain),
            self.name(place.branch), self.name(place.version),
        )  # fmt: skip
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
        return self._remember(("places", place), found)

    def place_of(self, place_id: int) -> Place:
        """The place with this id."""
        if place_id not in self._places:
            if len(self._places) >= MAX_CACHED:
                self._places.clear()
            self._places[place_id] = self._read_place(place_id)
        return self._places[place_id]

    def variant(self, model: str, tier: str, speed: str) -> int:
        known = self._ids.get(("variants", (model, tier, speed)))
        if known is not None:
            return known
        values = (model, tier, speed)
        found = self._one(
            "SELECT id FROM variants WHERE model = ? AND tier = ? AND speed = ?", values
        )
        if found is None:
            found = self._one(
                "INSERT INTO variants (model, tier, speed) VALUES (?, ?, ?) RETURNING id", values
            )
        return self._remember(("variants", values), found)

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

    def _id(self, table: str, column: str, value: str | bytes) -> int:
        known = self._ids.get((table, value))
        if known is not None:
            return known
        found = self._one(f"SELECT id FROM {table} WHERE {column} = ?", (value,))
        if found is None:
            found = self._one(f"INSERT INTO {table} ({column}) VALUES (?) RETURNING id", (value,))
        return self._remember((table, value), found)

    def _one(self, sql: str, values: tuple[str | bytes | int | None, ...]) -> int | None:
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else int(row[0])

    def _remember(self, key: tuple[str, object], found: int | None) -> int:
        assert found is not None
        if len(self._ids) >= MAX_CACHED:
            self._ids.clear()
        self._ids[key] = found
        return found
