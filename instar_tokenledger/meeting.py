"""Where a batch's requests meet those stored: which are one, and what has to be written for it.

Most requests of a batch are told by one row and meet nobody; they go straight to their columns.
The others are looked up by every node they might share, united and compared with what is stored,
so that nothing is written that did not change. Reads the store; writes nothing but an index the
first time it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import apsw
import msgspec

from instar_tokenledger import request_rows
from instar_tokenledger.accounting import Request, absorb, request_of, unite
from instar_tokenledger.batch import ROW_ID, Key, Lone
from instar_tokenledger.interning import Interned, Place
from instar_tokenledger.request_rows import Rows
from instar_tokenledger.rollups import NO_NAME, Change, Totals, facts_of
from instar_tokenledger.schema import ANY_REQUEST_ID
from instar_tokenledger.usage import UsageRow


class Merged:
    """What one batch does to the requests of one source."""

    def __init__(self, names: Interned) -> None:
        self.fresh = Rows(names)
        self.updated = Rows(names)
        self.dropped: list[int] = []
        """Stored requests that are now part of others."""
        self.totals = Totals(names)

    def write(self, connection: apsw.Connection) -> None:
        """Bring the store up to date, inside the caller's transaction."""
        request_rows.delete(connection, self.dropped)
        self.fresh.insert(connection)
        self.updated.replace(connection)
        self.totals.write(connection)


class _Spot(NamedTuple):
    """The numbers under which a row's surroundings are stored; successive rows often share them."""

    path: bytes
    row: UsageRow
    place: int
    session: int
    project: int


def _made_alike(a: UsageRow, b: UsageRow) -> bool:
    """True when two rows bear the very same text objects, as rows of one decoder's run do."""
    return (
        a.session is b.session
        and a.project is b.project
        and a.version is b.version
        and a.branch is b.branch
        and a.agent is b.agent
        and a.sidechain is b.sidechain
    )


class Meeting:
    """Looks up and merges, over one connection, inside its owner's transaction."""

    def __init__(self, connection: apsw.Connection, names: Interned) -> None:
        self._connection = connection
        self._names = names
        self._spot: _Spot | None = None

    def merge(
        self, source: str, by_key: Mapping[Key, Request | Lone], new_id: Callable[[], int]
    ) -> Merged:
        """What has to be written once the requests of `by_key` have met those stored."""
        merged = Merged(self._names)
        self._spot = None  # what a transaction that failed has numbered is not to be believed
        stored = self._stored(source, by_key)
        messages, request_ids = _met(by_key, stored)
        together: list[Request] = list(stored)
        for (message_id, request_id), known in by_key.items():
            if not isinstance(known, Lone):
                together.append(known)
            elif (
                message_id == ROW_ID
                or not message_id
                or message_id in messages
                or request_id in request_ids
            ):
                together.append(request_of(known.row, known.path))
            else:
                self._add_lone(source, known, new_id(), merged)
        for group in unite(together):
            if not group[0].stored_id:
                self._add_new(source, group, new_id(), merged)
            elif len(group) > 1:
                self._add_known(source, group, merged)
        return merged

    def _add_lone(self, source: str, lone: Lone, number: int, merged: Merged) -> None:
        path, row = lone
        spot = self._spot
        if spot is None or spot.path is not path or not _made_alike(spot.row, row):
            spot = self._spot = self._spot_of(source, path, row)
        model = row.model
        variant = self._names.variant(model, row.tier, row.speed)
        merged.fresh.add_lone(row, path, number, spot.place, variant)
        project, named = spot.project, self._names.name(model) or NO_NAME
        merged.totals.add_row(row, spot.session, project, named)

    def _spot_of(self, source: str, path: bytes, row: UsageRow) -> _Spot:
        names = self._names
        place = Place(
            source, path, row.session, row.project, row.agent, row.sidechain, row.branch,
            row.version,
        )  # fmt: skip
        return _Spot(
            path, row, names.place(place), names.session(row.session),
            names.name(row.project) or NO_NAME,
        )  # fmt: skip

    def _add_new(self, source: str, group: list[Request], number: int, merged: Merged) -> None:
        request = group[0]
        for other in group[1:]:
            absorb(request, other)
        request.stored_id = number
        merged.fresh.add(request_rows.written(request, source, self._names))
        merged.totals.change(Change(None, facts_of(request)))

    def _add_known(self, source: str, group: list[Request], merged: Merged) -> None:
        request = group[0]
        before = request_rows.written(request, source, self._names)
        facts = facts_of(request)
        for other in group[1:]:
            if other.stored_id:
                merged.dropped.append(other.stored_id)
                merged.totals.change(Change(facts_of(other), None))
            absorb(request, other)
        after = request_rows.written(request, source, self._names)
        if after != before:
            merged.updated.add(after)
            merged.totals.change(Change(facts, facts_of(request)))

    def _stored(self, source: str, keys: Collection[Key]) -> list[Request]:
        """Every stored request that may be one with some of those keyed, oldest first."""
        found: dict[int, Request] = {}
        for sql, values in self._lookups(keys):
            if not values:
                continue
            encoded = msgspec.json.encode(values).decode()
            rows: list[Any] = self._connection.execute(sql, (encoded,)).fetchall()
            for row in rows:
                if row[0] not in found:
                    request, of_source = request_rows.load(self._connection, self._names, row)
                    if of_source == source:
                        found[row[0]] = request
        return [found[i] for i in sorted(found)]

    def _lookups(self, keys: Collection[Key]) -> Iterator[tuple[str, list[str]]]:
        messages = list({m: None for m, _ in keys if m and m != ROW_ID})
        yield _BY_MESSAGE, messages
        yield _BY_ROW, [row_id for m, row_id in keys if m == ROW_ID]
        if self._any("SELECT 1 FROM requests WHERE flags & 2"):
            yield _BY_WILD_REQUEST, _request_ids(keys)
        alone = [q for m, q in keys if not m]
        if alone:
            self._connection.execute(ANY_REQUEST_ID)
            yield _BY_REQUEST, alone
        if self._any("SELECT 1 FROM nodes"):
            yield _BY_FURTHER_MESSAGE, messages
            yield _BY_FURTHER_REQUEST, _request_ids(keys)

    def _any(self, sql: str) -> bool:
        return bool(self._connection.execute(f"{sql} LIMIT 1").fetchall())


def _met(by_key: Mapping[Key, object], stored: list[Request]) -> tuple[set[str], set[str]]:
    """Message and request ids under which some request of the batch is not alone."""
    messages = {message_id for request in stored for message_id, _ in request.nodes}
    request_ids = {q for request in stored for m, q in request.nodes if not m}
    once: set[str] = set()
    for message_id, request_id in by_key:
        if not message_id:
            request_ids.add(request_id)
        elif message_id in once:
            messages.add(message_id)
        else:
            once.add(message_id)
    return messages, request_ids


def _request_ids(keys: Collection[Key]) -> list[str]:
    return list({q: None for m, q in keys if q and m != ROW_ID})


_COLUMNS = request_rows.SELECT.removesuffix(" FROM requests r")


def _by(condition: str, join: str = "") -> str:
    # CROSS JOIN keeps the order written: for each id asked for, one look into the index.
    return f"{_COLUMNS} FROM json_each(?) j {join} CROSS JOIN requests r {condition}"


_BY_MESSAGE = _by("ON substr(r.message_id, -8) = substr(j.value, -8) AND r.message_id = j.value")
_BY_REQUEST = _by("ON substr(r.request_id, -8) = substr(j.value, -8) AND r.request_id = j.value")
_BY_WILD_REQUEST = _by(
    "ON substr(r.request_id, -8) = substr(j.value, -8) AND r.request_id = j.value AND r.flags & 2"
)
_BY_ROW = _by("ON r.row_id = j.value")
_BY_FURTHER_MESSAGE = _by("ON r.id = n.request", "CROSS JOIN nodes n ON n.message_id = j.value")
_BY_FURTHER_REQUEST = _by("ON r.id = n.request", "CROSS JOIN nodes n ON n.request_id = j.value")
