"""The ledger's writer: one transaction for requests and the marks of the files they came from.

Promises: what `commit` returned stays, apart from the newest commits at a power cut, which are
read again from the transcripts because their marks are gone with them. Requests only ever grow.
One writer a database; it never reads a transcript and never decides what a row means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apsw
import msgspec

from instar_host.store import sqlite
from instar_host.store.tail import Mark
from instar_tokenledger import readings, request_rows, rollups
from instar_tokenledger.accounting import Request, absorb, unite
from instar_tokenledger.batch import Batch, FileProgress
from instar_tokenledger.interning import Interned
from instar_tokenledger.request_rows import Written
from instar_tokenledger.rollups import Change, facts_of
from instar_tokenledger.schema import ANY_REQUEST_ID, COUNTERS
from instar_tokenledger.usage import CostState

_GREATEST = ", ".join(f"{c} = max({c}, excluded.{c})" for c in ("cost_micro_usd", *COUNTERS))


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What one commit changed; observers receive it after the fact."""

    added: int
    changed: int
    sessions: tuple[str, ...]
    """Sessions with a new or changed request, sorted."""
    files: int
    """Files whose mark moved."""


class KnownMark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a file was read, with what its decoder wanted back."""

    mark: Mark
    state: bytes


class _Merged(NamedTuple):
    fresh: list[Written]
    updated: list[Written]
    dropped: list[int]
    """Stored requests that are now part of others."""
    changes: list[Change]


class Ledger:
    """The one writer of a ledger database."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._names = Interned(connection)
        self._next_id = self._count("SELECT coalesce(max(id), 0) FROM requests") + 1
        self._any_request_id = bool(
            self._count("SELECT count(*) FROM sqlite_schema WHERE name = 'requests_request'")
        )

    @property
    def connection(self) -> apsw.Connection:
        return self._connection

    def close(self) -> None:
        sqlite.close_writer(self._connection)

    def commit(self, batch: Batch) -> Committed:
        """Write `batch` whole. Raises `apsw.Error` and leaves nothing of it when the disk
        refuses."""
        next_id = self._next_id
        try:
            with sqlite.write_transaction(self._connection):
                added, changed, sessions = self._commit_requests(batch)
                self._commit_costs(batch.cost_states.values())
                for path, progress in batch.files.items():
                    self._commit_file(path, progress)
        except BaseException:
            self._names.forget()
            self._next_id = next_id
            raise
        return Committed(
            added=added, changed=changed, sessions=tuple(sorted(sessions)), files=len(batch.files)
        )

    def known_mark(self, path: bytes) -> KnownMark | None:
        """How far `path` has been read; None for a file never met."""
        folder, _, name = path.rpartition(b"/")
        row = self._connection.execute(
            "SELECT offset, dev, inode, size, ctime_ns, skipping, guard, state FROM marks"
            " JOIN files ON files.id = file JOIN folders ON folders.id = folder"
            " WHERE folders.path = ? AND files.name = ?",
            (folder, name),
        ).fetchone()
        if row is None:
            return None
        offset, dev, inode, size, ctime_ns, skipping, guard, state = row
        mark = Mark(
            offset=offset, dev=dev, inode=inode, size=size, ctime_ns=ctime_ns,
            skipping=bool(skipping), guard=guard,
        )  # fmt: skip
        return KnownMark(mark=mark, state=state or b"")

    def marks(self) -> Iterator[tuple[bytes, int, int, int, int]]:
        """(path, dev, inode, size, ctime_ns) of every mark: enough to know an unchanged file by
        its stat."""
        rows: list[Any] = self._connection.execute(
            "SELECT CAST(folders.path || '/' || files.name AS BLOB), dev, inode, size, ctime_ns"
            " FROM marks JOIN files ON files.id = file JOIN folders ON folders.id = folder"
        ).fetchall()
        return iter(rows)

    def forget_files(self, paths: Iterable[bytes]) -> None:
        """Drop the marks of files that have gone. What was read from them stays."""
        with sqlite.write_transaction(self._connection):
            for path in paths:
                file = self._names.file(path)
                self._connection.execute("DELETE FROM skips WHERE file = ?", (file,))
                self._connection.execute("DELETE FROM marks WHERE file = ?", (file,))

    def forget_marks(self) -> None:
        """Drop every mark, so that everything is read again: rows are only ever added to."""
        with sqlite.write_transaction(self._connection):
            self._connection.execute("DELETE FROM marks")
            self._connection.execute("DELETE FROM skips")

    def _commit_requests(self, batch: Batch) -> tuple[int, int, set[str]]:
        added = changed = 0
        sessions: set[str] = set()
        for source, by_key in batch.requests.items():
            merged = self._merged(source, list(by_key.values()))
            request_rows.delete(self._connection, merged.dropped)
            request_rows.save(self._connection, self._names, merged.fresh, fresh=True)
            request_rows.save(self._connection, self._names, merged.updated, fresh=False)
            rollups.apply(self._connection, self._names, merged.changes)
            added += len(merged.fresh)
            changed += len(merged.updated)
            sessions |= {c.after.session for c in merged.changes if c.after is not None}
        for source, rows in batch.readings.items():
            said = readings.commit(self._connection, self._names, source, rows, self._new_id)
            rollups.apply(self._connection, self._names, said.changes)
            added += said.added
            changed += said.changed
            sessions |= {c.after.session for c in said.changes if c.after is not None}
        return added, changed, sessions

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _merged(self, source: str, requests: list[Request]) -> _Merged:
        """What has to be written once `requests` have met those stored."""
        merged = _Merged([], [], [], [])
        for group in unite([*self._stored(source, requests), *requests]):
            if not group[0].stored_id:
                self._merge_new(source, group, merged)
            elif len(group) > 1:
                self._merge_known(source, group, merged)
        return merged

    def _merge_new(self, source: str, group: list[Request], merged: _Merged) -> None:
        request = group[0]
        for other in group[1:]:
            absorb(request, other)
        request.stored_id = self._next_id
        self._next_id += 1
        merged.fresh.append(request_rows.written(request, source, self._names))
        merged.changes.append(Change(None, facts_of(request)))

    def _merge_known(self, source: str, group: list[Request], merged: _Merged) -> None:
        request = group[0]
        before = request_rows.written(request, source, self._names)
        facts = facts_of(request)
        for other in group[1:]:
            if other.stored_id:
                merged.dropped.append(other.stored_id)
                merged.changes.append(Change(facts_of(other), None))
            absorb(request, other)
        after = request_rows.written(request, source, self._names)
        if after != before:
            merged.updated.append(after)
            merged.changes.append(Change(facts, facts_of(request)))

    def _stored(self, source: str, requests: list[Request]) -> list[Request]:
        """Every stored request that may be one with some of `requests`, oldest first."""
        found: dict[int, Request] = {}
        for sql, values in self._lookups(requests):
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

    def _lookups(self, requests: list[Request]) -> Iterator[tuple[str, list[str]]]:
        nodes = [node for request in requests for node in request.nodes]
        messages = list({m for m, _ in nodes if m})
        yield _BY_MESSAGE, messages
        yield _BY_ROW, [request.row_id for request in requests if not request.nodes]
        asked = list({q for _, q in nodes if q})
        if self._count("SELECT EXISTS (SELECT 1 FROM requests WHERE flags & 2)"):
            yield _BY_WILD_REQUEST, asked
        alone = list({q for m, q in nodes if not m})
        if alone:
            if not self._any_request_id:
                self._connection.execute(ANY_REQUEST_ID)
                self._any_request_id = True
            yield _BY_REQUEST, alone
        if self._count("SELECT EXISTS (SELECT 1 FROM nodes)"):
            yield _BY_FURTHER_MESSAGE, messages
            yield _BY_FURTHER_REQUEST, asked

    def _commit_costs(self, states: Iterable[CostState]) -> None:
        marks = ", ".join("?" * (3 + len(COUNTERS)))
        self._connection.executemany(
            f"INSERT INTO cost_states (session, model, cost_micro_usd, {', '.join(COUNTERS)})"
            f" VALUES ({marks}) ON CONFLICT DO UPDATE SET {_GREATEST}",
            (
                (self._names.session(s.session), s.model, s.cost_micro_usd, *s.counters)
                for s in states
            ),
        )

    def _commit_file(self, path: bytes, progress: FileProgress) -> None:
        file = self._names.file(path)
        mark = progress.mark
        self._connection.execute(
            "INSERT OR REPLACE INTO marks"
            " (file, source, offset, dev, inode, size, ctime_ns, skipping, guard, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                file, self._names.source(progress.source), mark.offset, mark.dev, mark.inode,
                mark.size, mark.ctime_ns, int(mark.skipping), mark.guard, progress.state or None,
            ),
        )  # fmt: skip
        if progress.restarted:
            self._connection.execute("DELETE FROM skips WHERE file = ?", (file,))
        for reason, lines in progress.skips.items():
            self._connection.execute(
                "INSERT INTO skips (file, reason, lines) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET lines = lines + excluded.lines",
                (file, reason, lines),
            )

    def _count(self, sql: str) -> int:
        rows: list[Any] = self._connection.execute(sql).fetchall()
        return int(rows[0][0])


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
