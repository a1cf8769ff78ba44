"""A request as rows of the database, and back.

Knows the columns and nothing of the accounting's rules; writes only inside the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from instar_tokenledger import ids
from instar_tokenledger.accounting import (
    Content,
    Description,
    Node,
    Origin,
    Request,
)
from instar_tokenledger.interning import Interned, Place
from instar_tokenledger.schema import COUNTERS, QUARTER_MS
from instar_tokenledger.usage import KINDS, Counters, Iteration, Kind

WILD_MESSAGE, WILD_REQUEST, ENDED, HAD_STOP, HAD_ITERATIONS, MORE = 1, 2, 4, 8, 16, 32

_COLUMNS = (
    "id", "place", "at_ms", "offset", "variant", "flags", "size", *COUNTERS,
    "message_id", "request_id", "row_id",
)  # fmt: skip
SELECT = "SELECT " + ", ".join(f"r.{column}" for column in _COLUMNS) + " FROM requests r"
_MARKS = ", ".join("?" * len(_COLUMNS))
_INSERT = f"INSERT INTO requests ({', '.join(_COLUMNS)}) VALUES ({_MARKS})"
_REPLACE = _INSERT.replace("INSERT", "INSERT OR REPLACE", 1)
_COUNTER_NAMES = ", ".join(COUNTERS)
_COUNTER_MARKS = ", ".join("?" * len(COUNTERS))
_NEW_NODE = "INSERT INTO nodes (request, message_id, request_id) VALUES (?, ?, ?)"
_NEW_ITERATION = (
    f"INSERT INTO iterations (request, kind, place_in_list, model, {_COUNTER_NAMES})"
    f" VALUES (?, ?, ?, ?, {_COUNTER_MARKS})"
)
_NEW_CONTENT = "INSERT INTO contents (request, file, chars, lines) VALUES (?, ?, ?, ?)"
_NEW_QUARTER_PLACE = "INSERT OR IGNORE INTO quarter_places (quarter, place) VALUES (?, ?)"

Row = tuple[Any, ...]


class Written(msgspec.Struct, frozen=True):
    """A request's rows: what is compared to know whether anything changed."""

    row: Row
    nodes: frozenset[Node]
    iterations: dict[tuple[Kind, int], tuple[str, Counters]]
    contents: dict[Content, int]


def written(request: Request, source: str, names: Interned) -> Written:
    """The rows that say `request`; adds the names it needs."""
    origin, description = request.origin, request.description
    place = names.place(
        Place(
            source, origin.path, origin.session, origin.project, origin.agent, origin.sidechain,
            origin.branch, origin.version,
        )
    )  # fmt: skip
    message_id, request_id, covered = _primary(request.nodes)
    further = request.nodes - covered
    flags = (
        (WILD_MESSAGE if (message_id, "") in request.nodes else 0)
        | (WILD_REQUEST if ("", request_id) in request.nodes else 0)
        | (ENDED if request.ended else 0)
        | (HAD_STOP if description.has_stop else 0)
        | (HAD_ITERATIONS if description.has_iterations else 0)
        | (MORE if further or request.iterations or request.contents else 0)
    )
    size = None if description.size == sum(request.counters[:4]) else description.size
    row = (
        request.stored_id, place, origin.at_ms, origin.offset,
        names.variant(description.model, description.tier, description.speed), flags, size,
        *request.counters, ids.short(message_id, ids.MESSAGE) if message_id else None,
        ids.short(request_id, ids.REQUEST) if request_id else None, request.row_id or None,
    )  # fmt: skip
    return Written(row, further, dict(request.iterations), dict(request.contents))


class Rows:
    """Rows to be written, gathered by table so that each table is written in one go."""

    def __init__(self, names: Interned) -> None:
        self._names = names
        self.requests: list[Row] = []
        self.quarter_places: set[tuple[int, int]] = set()
        """(quarter, place) of the requests."""
        self._nodes: list[Row] = []
        self._iterations: list[Row] = []
        self._contents: list[Row] = []

    def add(self, request: Written) -> None:
        """A request with all that belongs to it."""
        number, place, at_ms = request.row[:3]
        self.requests.append(request.row)
        self.quarter_places.add((at_ms // QUARTER_MS, place))
        self._nodes += [(number, *node) for node in request.nodes]
        for (kind, index), (model, counters) in request.iterations.items():
            self._iterations.append((number, KINDS.index(kind), index, model, *counters))
        by_file: dict[bytes, dict[int, int]] = {}
        for (path, line), chars in request.contents.items():
            by_file.setdefault(path, {})[line] = chars
        for path, lines in by_file.items():
            self._add_content(number, path, lines)

    def add_parts(
        self,
        number: int,
        path: bytes,
        contents: Iterable[tuple[int, int]],
        iterations: Iterable[Iteration],
    ) -> None:
        """What belongs to a request that one row of `path` tells alone, beside `requests`."""
        if contents:
            self._add_content(number, path, dict(contents))
        for i in iterations:
            self._iterations.append((number, KINDS.index(i.kind), i.index, i.model, *i.counters))

    def insert(self, connection: apsw.Connection) -> None:
        """Write requests that stand nowhere yet."""
        self._write(connection, _INSERT)

    def replace(self, connection: apsw.Connection) -> None:
        """Write requests over what is stored under their numbers."""
        _delete_children(connection, [(row[0],) for row in self.requests])
        self._write(connection, _REPLACE)

    def _add_content(self, number: int, path: bytes, lines: dict[int, int]) -> None:
        packed = msgspec.msgpack.encode(lines)
        self._contents.append((number, self._names.file(path), sum(lines.values()), packed))

    def _write(self, connection: apsw.Connection, sql: str) -> None:
        self._names.write()
        connection.executemany(sql, self.requests)
        connection.executemany(_NEW_NODE, self._nodes)
        connection.executemany(_NEW_ITERATION, self._iterations)
        connection.executemany(_NEW_CONTENT, self._contents)
        # In the order of the key, here as elsewhere: pages that are filled from one end stay full.
        connection.executemany(_NEW_QUARTER_PLACE, sorted(self.quarter_places))


def save(
    connection: apsw.Connection, names: Interned, rows: Iterable[Written], *, fresh: bool
) -> None:
    """Write requests. `fresh` promises that they stand nowhere yet."""
    gathered = Rows(names)
    for row in rows:
        gathered.add(row)
    (gathered.insert if fresh else gathered.replace)(connection)


def delete(connection: apsw.Connection, numbers: Iterable[int]) -> None:
    """Remove requests that were found to be part of others."""
    rows = [(number,) for number in numbers]
    _delete_children(connection, rows)
    connection.executemany("DELETE FROM requests WHERE id = ?", rows)


def load(connection: apsw.Connection, names: Interned, row: Row) -> tuple[Request, str]:
    """The request, and the name of its source, that one row of `SELECT` says."""
    stored_id, place_id, at_ms, offset, variant, flags, size, *rest = row
    counters = Counters._make(rest[: len(COUNTERS)])
    kept_message, kept_request, row_id = rest[len(COUNTERS) :]
    message_id = ids.whole(kept_message, ids.MESSAGE)
    request_id = ids.whole(kept_request, ids.REQUEST)
    place = names.place_of(place_id)
    variants: list[Any] = connection.execute(
        "SELECT model, tier, speed FROM variants WHERE id = ?", (variant,)
    ).fetchall()
    model, tier, speed = variants[0]
    request = Request(
        nodes=frozenset(_nodes(message_id, request_id, flags)),
        row_id=row_id or "",
        counters=counters,
        origin=Origin(
            at_ms, place.session, place.path, offset, place.project, place.agent, place.sidechain,
            place.branch, place.version,
        ),
        description=Description(
            bool(flags & HAD_STOP), bool(flags & HAD_ITERATIONS), bool(speed),
            sum(counters[:4]) if size is None else size, model, tier, speed,
        ),
        ended=bool(flags & ENDED),
        iterations={},
        contents={},
        stored_id=stored_id,
    )  # fmt: skip
    if flags & MORE:
        _load_more(connection, names, request)
    return request, place.source


def _delete_children(connection: apsw.Connection, numbers: list[tuple[int]]) -> None:
    for table in ("nodes", "iterations", "contents"):
        connection.executemany(f"DELETE FROM {table} WHERE request = ?", numbers)


def _load_more(connection: apsw.Connection, names: Interned, request: Request) -> None:
    values = (request.stored_id,)
    request.nodes |= frozenset(
        connection.execute("SELECT message_id, request_id FROM nodes WHERE request = ?", values)
    )
    for kind, index, model, *counters in connection.execute(
        f"SELECT kind, place_in_list, model, {_COUNTER_NAMES} FROM iterations WHERE request = ?",
        values,
    ):
        request.iterations[KINDS[kind], index] = (model, Counters._make(counters))
    for file, packed in connection.execute(
        "SELECT file, lines FROM contents WHERE request = ?", values
    ):
        path = names.path_of(file)
        for line, chars in msgspec.msgpack.decode(packed, type=dict[int, int]).items():
            request.contents[path, line] = chars


def _primary(nodes: frozenset[Node]) -> tuple[str, str, frozenset[Node]]:
    """The node that stands in the row, and the nodes that it says together with the flags."""
    if not nodes:
        return "", "", frozenset()
    message_id, request_id = min(nodes, key=lambda node: (not (node[0] and node[1]), node))
    return (
        message_id,
        request_id,
        frozenset({(message_id, request_id), (message_id, ""), ("", request_id)}),
    )


def _nodes(message_id: str, request_id: str, flags: int) -> list[Node]:
    found = [(message_id, request_id)] if message_id or request_id else []
    if flags & WILD_MESSAGE and request_id:
        found.append((message_id, ""))
    if flags & WILD_REQUEST and message_id:
        found.append(("", request_id))
    return found
