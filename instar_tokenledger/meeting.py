"""Where a batch's requests meet those stored: which are one, and what has to be written for it.

Most requests of a batch are told by one row and meet nobody; they go straight to their columns.
The others are looked up by every node they might share, united and compared with what is stored,
so that nothing is written that did not change. Reads the store; writes nothing but an index the
first time it is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import apsw
import msgspec

from instar_tokenledger import ids, request_rows
from instar_tokenledger.accounting import Request, absorb, request_of, unite
from instar_tokenledger.batch import ROW_ID, Key, Lone
from instar_tokenledger.interning import Interned
from instar_tokenledger.lone_requests import LoneRequests, NewIds
from instar_tokenledger.request_rows import Rows
from instar_tokenledger.rollups import Change, Totals, facts_of
from instar_tokenledger.schema import ANY_REQUEST_ID


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


class Meeting:
    """Looks up and merges, over one connection, inside its owner's transaction."""

    def __init__(self, connection: apsw.Connection, names: Interned) -> None:
        self._connection = connection
        self._names = names

    def merge(self, source: str, by_key: Mapping[Key, Request | Lone], new_ids: NewIds) -> Merged:
        """What has to be written once the requests of `by_key` have met those stored."""
        merged = Merged(self._names)
        stored = self._stored(source, by_key)
        messages, request_ids = _met(by_key, stored)
        together: list[Request] = list(stored)
        lones: list[Lone] = []
        for (message_id, request_id), known in by_key.items():
            if not isinstance(known, tuple):
                together.append(known)
            elif (
                not message_id
                or message_id == ROW_ID
                or message_id in messages
                or request_id in request_ids
            ):
                together.append(request_of(known[1], known[0]))
            else:
                lones.append(known)
        LoneRequests(source, self._names, merged.fresh, merged.totals, new_ids).add(lones)
        for group in unite(together):
            if not group[0].stored_id:
                self._add_new(source, group, new_ids(1), merged)
            elif len(group) > 1:
                self._add_known(source, group, merged)
        return merged

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
        messages = list({m for m, _ in keys if m and m != ROW_ID})
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
    every = [message_id for message_id, _ in by_key]
    if len(set(every)) < len(every):
        messages.update(message_id for message_id, times in Counter(every).items() if times > 1)
    if "" in every:
        request_ids.update(request_id for message_id, request_id in by_key if not message_id)
    return messages, request_ids


def _request_ids(keys: Collection[Key]) -> list[str]:
    return list({q for m, q in keys if q and m != ROW_ID})


_COLUMNS = request_rows.SELECT.removesuffix(" FROM requests r")


def _by(condition: str, join: str = "") -> str:
    # CROSS JOIN keeps the order written: for each id asked for, one look into the index.
    return f"{_COLUMNS} FROM json_each(?) j {join} CROSS JOIN requests r {condition}"


def _by_id(column: str, beginning: str, more: str = "") -> str:
    kept = ids.short_sql("j.value", beginning)
    return _by(f"ON substr(r.{column}, -6) = substr({kept}, -6) AND r.{column} = {kept}{more}")


_BY_MESSAGE = _by_id("message_id", ids.MESSAGE)
_BY_REQUEST = _by_id("request_id", ids.REQUEST)
_BY_WILD_REQUEST = _by_id("request_id", ids.REQUEST, " AND r.flags & 2")
_BY_ROW = _by("ON r.row_id = j.value")
_BY_FURTHER_MESSAGE = _by("ON r.id = n.request", "CROSS JOIN nodes n ON n.message_id = j.value")
_BY_FURTHER_REQUEST = _by("ON r.id = n.request", "CROSS JOIN nodes n ON n.request_id = j.value")
