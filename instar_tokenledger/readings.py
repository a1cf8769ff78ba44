"""Running totals: agents that say how much a session has used so far, and never what a call used.

Promises that the last reading wins and is never added to anything: the requests of a total are the
differences between one reading and the next, and they sum to the last reading whatever came
before. The law of the ledger holds: every distinct reading is kept, and the requests are worked
out from the set of them, so no order of arrival, no copy of a file and no restart changes an
answer. Writes only inside the caller's transaction.

A total that falls takes back what was said before: a reading counts for no more than the least of
itself and all readings after it, counter by counter. So an agent that starts again from nothing
under the same key ends at what it says last; one that means a new total has to use a new key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import apsw

from instar_tokenledger import ids, request_rows
from instar_tokenledger.interning import Interned, Place
from instar_tokenledger.request_rows import ENDED, Written
from instar_tokenledger.rollups import MESSAGE, Change, Facts
from instar_tokenledger.schema import COUNTERS
from instar_tokenledger.usage import NOTHING, Counters, UsageRow


class Reading(NamedTuple):
    """What one running total stood at; readings of one total are compared as wholes."""

    at_ms: int
    path: bytes
    offset: int
    counters: Counters
    session: str
    project: str = ""
    agent: str = ""
    sidechain: bool = False
    branch: str = ""
    version: str = ""
    model: str = ""
    tier: str = ""
    speed: str = ""


Identity = tuple[int, Counters]
"""Instant and counters: a reading met again in a copy of its file is the same reading."""


class Outcome(NamedTuple):
    """What one source's readings changed; the changes are still to be brought into the totals."""

    added: int
    changed: int
    changes: list[Change]


class _Stored(NamedTuple):
    id: int
    request: int | None
    """The request that is its difference; None where there is none."""
    reading: Reading


class _Known(NamedTuple):
    """Stored readings that new ones may touch, and what the total stood at before them."""

    base: Counters
    readings: dict[Identity, _Stored]


def reading_of(row: UsageRow, path: bytes) -> Reading:
    """A reading as one row of the file `path` tells it."""
    return Reading(
        row.at_ms, path, row.offset, row.counters, row.session, row.project, row.agent,
        row.sidechain, row.branch, row.version, row.model, row.tier, row.speed,
    )  # fmt: skip


def distinct(readings: Iterable[Reading]) -> dict[Identity, Reading]:
    """Each reading once; of its copies the smallest."""
    found: dict[Identity, Reading] = {}
    for reading in readings:
        key = (reading.at_ms, reading.counters)
        known = found.get(key)
        found[key] = reading if known is None else min(known, reading)
    return found


def differences(
    readings: Mapping[Identity, Reading], base: Counters = NOTHING
) -> dict[Identity, Counters]:
    """What each reading adds to those before it, in order of time; those that add nothing are
    left out.

    `base` is what the total stood at before all of them, and none of them may be below it.
    """
    ordered = sorted(readings.items(), key=lambda item: item[1])
    borne_out: list[Counters] = []
    for _, reading in reversed(ordered):
        after = borne_out[-1] if borne_out else reading.counters
        borne_out.append(least(reading.counters, after))
    found: dict[Identity, Counters] = {}
    before = base
    for (identity, _), now in zip(ordered, reversed(borne_out), strict=True):
        if now != before:
            found[identity] = Counters._make(b - a for a, b in zip(before, now, strict=True))
            before = now
    return found


def least(a: Counters, b: Counters) -> Counters:
    """Field-wise minimum."""
    return Counters._make(map(min, a, b))


def commit(
    connection: apsw.Connection,
    names: Interned,
    source: str,
    rows: Iterable[tuple[bytes, UsageRow]],
    new_id: Callable[[], int],
) -> Outcome:
    """Write one source's readings and the requests they amount to. `new_id` numbers a request."""
    by_key: dict[str, list[Reading]] = {}
    for path, row in rows:
        by_key.setdefault(row.request_id, []).append(reading_of(row, path))
    outcome = Outcome(0, 0, [])
    for key, readings in by_key.items():
        total = _Total(connection, names, source, key)
        added, changed, changes = total.take(distinct(readings), new_id)
        outcome = Outcome(
            outcome.added + added, outcome.changed + changed, outcome.changes + changes
        )
    return outcome


class _Total:
    """One running total in the store."""

    def __init__(self, connection: apsw.Connection, names: Interned, source: str, key: str) -> None:
        self._connection = connection
        self._names = names
        self._source = source
        self._key = key
        self._id = self._number()

    def take(self, new: Mapping[Identity, Reading], new_id: Callable[[], int]) -> Outcome:
        """Add readings, and split the total anew where they fall between others."""
        base, known = self._touched(new)
        then = {identity: stored.reading for identity, stored in known.items()}
        now = {**then, **{i: min(then.get(i, r), r) for i, r in new.items()}}
        before, after = differences(then, base), differences(now, base)
        fresh: list[Written] = []
        updated: list[Written] = []
        dropped: list[int] = []
        changes: list[Change] = []
        for identity, reading in now.items():
            stored = known.get(identity)
            was, difference = before.get(identity), after.get(identity)
            if stored is not None and stored.reading == reading and was == difference:
                continue
            request = stored.request if stored is not None else None
            if difference is not None:
                (fresh if request is None else updated).append(
                    self._written(request := request or new_id(), reading, difference)
                )
            elif request is not None:
                dropped.append(request)
                request = None
            old = _facts(stored.reading, was) if stored is not None else None
            changes.append(Change(old, _facts(reading, difference)))
            self._save(stored, reading, request)
        request_rows.delete(self._connection, dropped)
        request_rows.save(self._connection, self._names, fresh, fresh=True)
        request_rows.save(self._connection, self._names, updated, fresh=False)
        return Outcome(len(fresh), len(updated) + len(dropped), changes)

    def _touched(self, new: Mapping[Identity, Reading]) -> _Known:
        """The usual case is a total that goes on where it stood: then its end is all that counts,
        however long it is. Else every reading is needed."""
        latest = self._load("AND at_ms = (SELECT max(at_ms) FROM readings WHERE total = ?1)")
        if not latest:
            return _Known(NOTHING, {})
        end = max(stored.reading for stored in latest.values())
        goes_on = all(
            at_ms > end.at_ms and least(end.counters, counters) == end.counters
            for at_ms, counters in new
        )
        return _Known(end.counters, {}) if goes_on else _Known(NOTHING, self._load(""))

    def _load(self, condition: str) -> dict[Identity, _Stored]:
        rows: list[Any] = self._connection.execute(
            f"{_SELECT} WHERE total = ?1 {condition}", (self._id,)
        ).fetchall()
        return {(s.reading.at_ms, s.reading.counters): s for s in map(self._stored, rows)}

    def _stored(self, row: tuple[Any, ...]) -> _Stored:
        number, request, at_ms, place_id, offset, model, tier, speed, *counters = row
        place = self._names.place_of(place_id)
        reading = Reading(
            at_ms, place.path, offset, Counters._make(counters), place.session, place.project,
            place.agent, place.sidechain, place.branch, place.version, model, tier, speed,
        )  # fmt: skip
        return _Stored(number, request, reading)

    def _save(self, stored: _Stored | None, reading: Reading, request: int | None) -> None:
        row = (
            stored.id if stored is not None else None, self._id, request, reading.at_ms,
            self._place(reading), reading.offset, self._variant(reading), *reading.counters,
        )  # fmt: skip
        self._names.write()
        self._connection.execute(_REPLACE, row)

    def _written(self, request: int, reading: Reading, difference: Counters) -> Written:
        """The difference as a request. It bears the total's key, and has ended by definition."""
        row = (
            request, self._place(reading), reading.at_ms, reading.offset, self._variant(reading),
            ENDED, None, *difference, None, ids.short(self._key, ids.REQUEST), None,
        )  # fmt: skip
        return Written(row, frozenset(), {}, {})

    def _place(self, r: Reading) -> int:
        return self._names.place(
            Place(
                self._source, r.path, r.session, r.project, r.agent, r.sidechain, r.branch,
                r.version,
            )
        )  # fmt: skip

    def _variant(self, reading: Reading) -> int:
        return self._names.variant(reading.model, reading.tier, reading.speed)

    def _number(self) -> int:
        values = (self._names.source(self._source), self._key)
        self._names.write()
        rows: list[Any] = self._connection.execute(
            "INSERT INTO running_totals (source, name) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET name = name RETURNING id",
            values,
        ).fetchall()
        return int(rows[0][0])


def _facts(reading: Reading, difference: Counters | None) -> Facts | None:
    if difference is None:
        return None
    entries = ((MESSAGE, reading.model, difference),)
    return Facts(reading.at_ms, reading.session, reading.project, entries, partial=False, missing=0)


_COUNTERS = ", ".join(COUNTERS)
_SELECT = (
    "SELECT readings.id, request, at_ms, place, offset, model, tier, speed,"
    f" {_COUNTERS} FROM readings JOIN variants ON variants.id = variant"
)
_REPLACE = (
    "INSERT OR REPLACE INTO readings"
    f" (id, total, request, at_ms, place, offset, variant, {_COUNTERS})"
    f" VALUES ({', '.join('?' * (7 + len(COUNTERS)))})"
)
