"""The ledger in a running host: who writes, who reads, and how it fares.

One thread at a time writes, in the process that holds the lease; every question opens a reader of
its own, so that no handle outlives its file. A ledger that cannot be opened is reported and tried
again, never given up. What writes is imported when the first step begins: questions do without.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import apsw
import msgspec

from instar_host.errors import ConfigError, InstarError, reason
from instar_host.records import HostContext
from instar_host.store import ballast, sqlite
from instar_host.store.errors import MissingStore, StoreError, shown
from instar_tokenledger import journal, retention
from instar_tokenledger.committed import Committed
from instar_tokenledger.config import SECTION, LedgerSettings
from instar_tokenledger.events import LedgerEvents
from instar_tokenledger.opening import STEM, backup_folder, doubt, ledger_path, open_ledger
from instar_tokenledger.queries import Queries
from instar_tokenledger.schema import APPLICATION_ID, DAY_MS, MIGRATIONS
from instar_tokenledger.session_queries import SessionQueries
from instar_tokenledger.usage import TokenSource
from instar_tokenledger.wishes import WishBook

if TYPE_CHECKING:
    from instar_tokenledger.ingest import Budget, Ingest, Progress
    from instar_tokenledger.ledger import Ledger

TROUBLE = (apsw.Error, OSError, StoreError, InstarError)
"""What opening or writing a ledger may raise and a later try may cure."""


class Reading(NamedTuple):
    """Questions to the ledger as it stood at one instant."""

    totals: Queries
    sessions: SessionQueries
    connection: apsw.Connection


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How reading fares in this process; all zero where another process reads."""

    progress: Progress | None = None
    trouble: str | None = None
    """Why the ledger cannot be written at the moment."""
    notes: tuple[str, ...] = ()
    """What opening the ledger had to do: a take-over, a restored backup."""
    looked_at_ms: int | None = None
    bytes_per_s: float | None = None
    """Of the reading since the host started, while it reads."""
    watch: str = "off: nothing reads here"
    """`on` while the system tells of changes, else `off: ` and why."""
    max_age_ms: int = 0
    """Files last written to longer ago wait; 0: none do."""
    detail_days: int = 0
    """Requests older than this are let go of; 0: none are."""


class LedgerService:
    """The ledger of one host. Opens nothing before it is asked to."""

    def __init__(self, host: HostContext, sources: Callable[[], list[TokenSource]]) -> None:
        self._host = host
        self._sources = sources
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._ingest: Ingest | None = None
        self._begun_on_day: int | None = None
        """When this process found the ledger empty, in days since 1970."""
        self._listed: list[TokenSource] | None = None
        self._health = Health()
        self._config = host.config
        self._settings: LedgerSettings | None = None
        self.pause: Callable[[], None] = lambda: None
        """Called between slices of work: a host's tick rests here."""
        self.wishes = WishBook()
        """What was asked of this process."""
        self.gather: Callable[[], object] = lambda: None
        """Called before a look that a person asked for: what is copied from elsewhere is renewed.

        Raises LedgerError or OSError; then the copies are as they were.
        """
        self.roots: list[bytes] = []
        """Folders that the last step looked into."""
        self.log_limit_bytes = journal.LIMIT_BYTES
        """A log longer than this is cut before anything else is written."""
        self.events = LedgerEvents(host.clock)
        """What happens here, for those who listen."""

    @property
    def settings(self) -> LedgerSettings:
        """The settings as the file has them now; a file with a mistake leaves them as they were.

        Raises ConfigError only where there were none yet.
        """
        try:
            config = self._config.reloaded()
            if self._settings is None or config is not self._config:
                self._settings = config.section(SECTION, LedgerSettings)
                self._config = config
        except ConfigError:
            if self._settings is None:
                raise
        return self._settings

    @property
    def host(self) -> HostContext:
        return self._host

    @property
    def health(self) -> Health:
        return self._health

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Questions that agree with each other. An empty ledger where there is none yet.

        Raises what opening a database raises; nothing is remembered of a failure.
        """
        connection = self._reader()
        try:
            totals = Queries(connection)
            with totals.at_one_instant():
                yield Reading(totals, SessionQueries(connection), connection)
        except apsw.Error as error:
            doubt(self._host.state_dir, error)
            raise
        finally:
            connection.close()

    def open_reader(self) -> apsw.Connection:
        """A read-only connection for the caller to close. Raises `MissingStore` and the like."""
        return sqlite.open_reader(ledger_path(self._host.state_dir), application_id=APPLICATION_ID)

    def sources(self) -> list[TokenSource]:
        """The sources as they are now."""
        return self._sources()

    def places(self) -> list[str]:
        """The folders that are looked into for transcripts, printable."""
        if self._listed is None:
            self._listed = self._sources()
        return [shown(os.fsencode(root)) for source in self._listed for root in source.roots()]

    def step(
        self,
        budget: Budget,
        stopping: Callable[[], bool],
        *,
        look: Callable[[Ingest], object] = lambda ingest: ingest.look(),
        again: Callable[[], bool] = lambda: False,
        max_age_ms: int = 0,
    ) -> Iterator[Progress]:
        """Look for changes, then read within `budget`; gives progress as it goes. Needs the lease.

        While files wait and `again` says so, the budget is spent once more.

        Raises one of `TROUBLE` with the ledger closed, so that the next step opens it afresh.
        """
        with self._lock:
            try:
                ingest = self._opened()
                self._keep_log_short()
                ingest.limit_age(max_age_ms)
                look(ingest)
                self._health = msgspec.structs.replace(self._health, max_age_ms=max_age_ms)
                yield from self._read(ingest, budget, stopping)
                while ingest.progress.files_waiting and not stopping() and again():
                    yield from self._read(ingest, budget, stopping)
                self.roots = ingest.roots
                self._back_up()
                self.events.settled()
            except TROUBLE as error:
                self._troubled(error)
                raise

    def tidy(self, detail_days: int, go_on: Callable[[], bool]) -> bool:
        """What is best done while nothing waits: let go of old detail, and cut the log that a
        long reader let grow. True when there is more to do than `go_on` allowed.

        Raises as `step` does.
        """
        with self._lock:
            self._health = msgspec.structs.replace(self._health, detail_days=detail_days)
            if self._ledger is None:
                return False
            connection = self._ledger.connection
            try:
                more = retention.prune(connection, detail_days, self._host.clock.now_ms(), go_on)
                if journal.is_too_long(connection, journal.LONG_LOG_BYTES):
                    journal.cut(connection)
                ballast.keep(connection.filename)
            except TROUBLE as error:
                self._troubled(error)
                raise
            return more

    def make_room(self, detail_days: int, go_on: Callable[[], bool]) -> bool:
        """After a full disk: let go of old detail in the room that the ballast took up. False
        where there is no ballast, or no detail is to be let go of.

        Raises as `step` does.
        """
        with self._lock:
            if not (detail_days and ballast.give_up(ledger_path(self._host.state_dir))):
                return False
            try:
                self._opened()
                if self._ledger is not None:
                    connection = self._ledger.connection
                    retention.prune(connection, detail_days, self._host.clock.now_ms(), go_on)
                    journal.cut(connection)
            except TROUBLE as error:
                self._troubled(error)
                raise
            return True

    def note_watch(self, state: str) -> None:
        """How the watch fares, for the status."""
        self._health = msgspec.structs.replace(self._health, watch=state)

    def forget_marks(self) -> None:
        """Make the next step read every transcript from its beginning."""
        with self._lock:
            self._opened()
            if self._ledger is not None:
                self._ledger.forget_marks()
            self._close()

    def close(self) -> None:
        """Finish the step that runs, if any, and close. Idempotent."""
        with self._lock:
            self._close()

    def _read(
        self, ingest: Ingest, budget: Budget, stopping: Callable[[], bool]
    ) -> Iterator[Progress]:
        clock = self._host.clock
        began_s, read_before = clock.monotonic_s(), ingest.progress.bytes_read
        self._note(ingest.progress, clock.now_ms(), None)
        yield ingest.progress
        for progress in ingest.read(budget, stopping):
            spent_s = clock.monotonic_s() - began_s
            rate = (progress.bytes_read - read_before) / spent_s if spent_s > 0 else None
            self._note(progress, clock.now_ms(), rate)
            yield progress

    def _note(self, progress: Progress, now_ms: int, rate: float | None) -> None:
        self._health = msgspec.structs.replace(
            self._health,
            progress=progress,
            trouble=None,
            looked_at_ms=now_ms,
            bytes_per_s=rate if rate is not None else self._health.bytes_per_s,
        )
        self.events.progress(progress, self._health.bytes_per_s)

    def _opened(self) -> Ingest:
        if self._ingest is None:
            from instar_tokenledger.ingest import Ingest
            from instar_tokenledger.ledger import Ledger

            connection, notes = open_ledger(self._host.state_dir, self._host.clock)
            self._ledger = Ledger(connection)
            if self._ledger.empty:
                self._begun_on_day = self._host.clock.now_ms() // DAY_MS
            self._health = msgspec.structs.replace(
                self._health, notes=(*self._health.notes, *notes)
            )
            self._ingest = Ingest(
                self._ledger,
                self._sources(),
                self._host.clock,
                on_commit=self._committed,
                pause=self._rest,
            )
        return self._ingest

    def _troubled(self, error: Exception) -> None:
        """Close, so that the next step opens the ledger afresh."""
        self._close()
        doubt(self._host.state_dir, error)
        self._health = msgspec.structs.replace(self._health, trouble=reason(error))
        self.events.trouble(reason(error))

    def _rest(self) -> None:
        self.pause()

    def _committed(self, committed: Committed) -> None:
        self._host.plugins.notify("tokenledger_committed", batch=committed)
        self.events.committed(committed)
        self._keep_log_short()

    def _keep_log_short(self) -> None:
        if self._ledger is not None:
            journal.keep_short(self._ledger.connection, self.log_limit_bytes)

    def _back_up(self) -> None:
        """A verified copy a day: transcripts get deleted, and the ledger is all that is left. On
        the day on which it began, all that it holds can be read again."""
        keep = self.settings.daily_backups
        begun_today = self._begun_on_day == self._host.clock.now_ms() // DAY_MS
        if self._ledger is not None and keep and not begun_today:
            from instar_host.store import backups

            backups.daily_backup(
                self._ledger.connection,
                backup_folder(self._host.state_dir),
                STEM,
                self._host.clock.now_ms(),
                keep,
            )

    def _close(self) -> None:
        ledger, self._ledger, self._ingest = self._ledger, None, None
        if ledger is not None:
            ledger.close()

    def _reader(self) -> apsw.Connection:
        try:
            return self.open_reader()
        except MissingStore:
            return _empty_ledger()


def _empty_ledger() -> apsw.Connection:
    """A ledger in memory with nothing in it, to answer before the first transcript was read."""
    connection = apsw.Connection(":memory:")
    for step in MIGRATIONS:
        if isinstance(step.script, str):
            connection.execute(step.script)
    return connection


def file_bytes(path: str) -> int:
    """Size of the ledger with its log, by stat alone; 0 when there is none."""
    total = 0
    for suffix in ("", "-wal"):
        try:
            total += os.stat(path + suffix).st_size
        except FileNotFoundError:
            continue
    return total
