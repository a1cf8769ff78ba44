"""The ledger's writer: one transaction for requests and the marks of the files they came from.

Promises: what `commit` returned stays, apart from the newest commits at a power cut, which are
read again from the transcripts because their marks are gone with them. Requests only ever grow.
One writer a database; it never reads a transcript and never decides what a row means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apsw
import msgspec

from instar_host.store import soundness, sqlite
from instar_host.store.tail import Mark
from instar_tokenledger import readings
from instar_tokenledger.batch import Batch, FileProgress
from instar_tokenledger.committed import Committed
from instar_tokenledger.ids import number_of
from instar_tokenledger.interning import Interned
from instar_tokenledger.meeting import Meeting
from instar_tokenledger.retention import Horizon, horizon_of
from instar_tokenledger.rollups import Totals
from instar_tokenledger.schema import COUNTERS
from instar_tokenledger.usage import CostState

_GREATEST = ", ".join(f"{c} = max({c}, excluded.{c})" for c in ("cost_micro_usd", *COUNTERS))


class KnownMark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a file was read, with what its decoder wanted back."""

    mark: Mark
    state: bytes


class Ledger:
    """The one writer of a ledger database."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._names = Interned(connection)
        self._next_id = self._count("SELECT coalesce(max(id), 0) FROM requests") + 1
        self._meeting = Meeting(connection, self._names)

    @property
    def connection(self) -> apsw.Connection:
        return self._connection

    @property
    def empty(self) -> bool:
        """True when it holds no request yet."""
        return self._next_id == 1

    @property
    def horizon(self) -> Horizon:
        """From when on there is detail, and below which instant nothing is added any more."""
        return horizon_of(self._connection)

    def close(self) -> None:
        """Close it in order, so that the next to open it need not check it again."""
        path = self._connection.filename
        sqlite.close_writer(self._connection)
        soundness.closed(path)

    def commit(self, batch: Batch) -> Committed:
        """Write `batch` whole. Raises `apsw.Error` and leaves nothing of it when the disk
        refuses."""
        next_id = self._next_id
        try:
            with sqlite.write_transaction(self._connection):
                added, changed, sessions = self._commit_requests(batch)
                self._commit_costs(batch.cost_states.values())
                self._commit_files(batch.files)
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
            " WHERE files.number = ? AND folders.path = ? AND files.name = ?",
            (number_of(path), folder, name),
        ).fetchone()
        if row is None:
            return None
        offset, dev, inode, size, ctime_ns, skipping, guard, state = row
        mark = Mark(
            offset=offset, dev=dev, inode=inode, size=size, ctime_ns=ctime_ns,
            skipping=bool(skipping), guard=guard,
        )  # fmt: skip
        return KnownMark(mark=mark, state=state or b"")

    def marks(self, source: str, root: bytes) -> Iterator[tuple[bytes, bytes, int, int, int, int]]:
        """(folder, name, dev, inode, size, ctime_ns) of every mark of a source at or below
        `root`: enough to know an unchanged file by its stat."""
        yield from self._connection.execute(
            "SELECT folders.path, files.name, dev, inode, size, ctime_ns"
            " FROM marks JOIN sources ON sources.id = source JOIN files ON files.id = file"
            " JOIN folders ON folders.id = folder WHERE sources.name = ?"
            " AND (folders.path = ? OR folders.path > ? AND folders.path < ?)",
            (source, root, root + b"/", root + b"0"),
        )

    def forget_files(self, paths: Iterable[bytes]) -> None:
        """Drop the marks of files that have gone. What was read from them stays."""
        with sqlite.write_transaction(self._connection):
            for path in paths:
                file = self._names.file(path)
                self._connection.execute("DELETE FROM skips WHERE file = ?", (file,))
                self._connection.execute("DELETE FROM marks WHERE file = ?", (file,))
            self._names.write()

    def forget_marks(self) -> None:
        """Drop every mark, so that everything is read again: rows are only ever added to."""
        with sqlite.write_transaction(self._connection):
            self._connection.execute("DELETE FROM marks")
            self._connection.execute("DELETE FROM skips")

    def _commit_requests(self, batch: Batch) -> tuple[int, int, set[str]]:
        added = changed = 0
        sessions: set[str] = set()
        for source, by_key in batch.requests.items():
            merged = self._meeting.merge(source, by_key, self._new_ids)
            merged.write(self._connection)
            added += len(merged.fresh.requests)
            changed += len(merged.updated.requests)
            sessions |= merged.totals.sessions
        for source, rows in batch.readings.items():
            said = readings.commit(self._connection, self._names, source, rows, self._new_ids)
            totals = Totals(self._names)
            for change in said.changes:
                totals.change(change)
            totals.write(self._connection)
            added += said.added
            changed += said.changed
            sessions |= totals.sessions
        return added, changed, sessions

    def _new_ids(self, count: int = 1) -> int:
        self._next_id += count
        return self._next_id - count

    def _commit_costs(self, states: Iterable[CostState]) -> None:
        marks = ", ".join("?" * (3 + len(COUNTERS)))
        rows = [
            (self._names.session(s.session), s.model, s.cost_micro_usd, *s.counters) for s in states
        ]
        self._names.write()
        self._connection.executemany(
            f"INSERT INTO cost_states (session, model, cost_micro_usd, {', '.join(COUNTERS)})"
            f" VALUES ({marks}) ON CONFLICT DO UPDATE SET {_GREATEST}",
            rows,
        )

    def _commit_files(self, files: Mapping[bytes, FileProgress]) -> None:
        numbered = [(self._names.file(path), progress) for path, progress in files.items()]
        rows = [
            (
                file, self._names.source(progress.source), mark.offset, mark.dev, mark.inode,
                mark.size, mark.ctime_ns, int(mark.skipping), mark.guard, progress.state or None,
            )
            for file, progress in numbered
            for mark in (progress.mark,)
        ]  # fmt: skip
        self._names.write()
        self._connection.executemany(
            "INSERT OR REPLACE INTO marks"
            " (file, source, offset, dev, inode, size, ctime_ns, skipping, guard, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._connection.executemany(
            "DELETE FROM skips WHERE file = ?",
            [(file,) for file, progress in numbered if progress.restarted],
        )
        self._connection.executemany(
            "INSERT INTO skips (file, reason, lines) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET lines = lines + excluded.lines",
            [
                (file, reason, lines)
                for file, progress in numbered
                for reason, lines in progress.skips.items()
            ],
        )

    def _count(self, sql: str) -> int:
        rows: list[Any] = self._connection.execute(sql).fetchall()
        return int(rows[0][0])
