"""The tick: a bounded look, then a bounded read, then how soon to come back.

Promises that while files wait every tick looks at every file that it knows before it reads, so
that a new line anywhere is in the ledger after the next tick, whatever the backlog; that looking
takes a small share of the time, for which a tick may read its budget several times over; and that
settings are those of this very moment. Never runs without the lease: its owner sees to that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from instar_host.errors import InstarError
from instar_host.records import TickControl
from instar_host.store.diagnosis import classify
from instar_tokenledger import cadence
from instar_tokenledger.cadence import Pulse
from instar_tokenledger.config import LedgerSettings
from instar_tokenledger.errors import LedgerError
from instar_tokenledger.ingest import Budget, Ingest
from instar_tokenledger.journal import LONG_LOG_BYTES, log_bytes
from instar_tokenledger.opening import ledger_path
from instar_tokenledger.pace import Pace
from instar_tokenledger.service import TROUBLE, LedgerService
from instar_tokenledger.watch import Watch

TIDY_S = 60 * 60.0
"""Between two times that old detail is let go of."""


class LedgerTick:
    """What is remembered from one tick to the next."""

    def __init__(self, service: LedgerService, watch: Watch, pace: Pace | None = None) -> None:
        self._service = service
        self._watch = watch
        self._clock = service.host.clock
        self._pace = pace or Pace()
        self._look_s = 0.0
        self._looked_at_s: float | None = None
        self._changed_at_s = self._clock.monotonic_s()
        self._changes = 0
        self._ingest: Ingest | None = None
        self._tidied_at_s: float | None = None
        self._untidy = False
        self._missed = False
        """What the watch told while a look was under way may not be all: another look is due."""
        self._look_for = self._looked_for = 0
        """The latest wish when the look began, and when the last whole one did."""

    def run(self, control: TickControl) -> float:
        """One tick; seconds until the next. Raises InstarError when the ledger cannot be
        written."""
        self._service.pause = self._pace
        settings = self._service.settings
        try:
            if self._service.wishes.now.anew:
                self._service.forget_marks()
                self._service.wishes.forgotten()
            self._look_and_read(settings, control.stopping)
            if not self._waiting():
                self._service.wishes.fulfil(self._looked_for)
                self._tidy(settings, control.stopping)
        except InstarError:
            raise
        except TROUBLE as error:
            if classify(error) == "full":
                self._make_room(settings, control.stopping)
            raise InstarError(f"the ledger cannot be written: {error}") from error
        self._watch.keep(self._service.roots if settings.watch else [])
        self._service.note_watch(self._watch.state)
        return cadence.delay_s(self._pulse(settings))

    def _look_and_read(self, settings: LedgerSettings, stopping: Callable[[], bool]) -> None:
        looked_s = ended_s = 0.0
        max_scan_s = settings.max_scan_ms / 1000

        def look(ingest: Ingest) -> None:
            nonlocal looked_s, ended_s
            began_s = self._clock.monotonic_s()
            self._look(ingest, settings, stopping)
            ended_s = self._clock.monotonic_s()
            looked_s = ended_s - began_s

        def again() -> bool:
            read_s = self._clock.monotonic_s() - ended_s
            return read_s < min(cadence.READ_SHARE * looked_s, max_scan_s)

        budget = Budget(
            files=settings.max_files_per_scan,
            bytes=settings.max_bytes_per_scan,
            rows=settings.max_rows_per_scan,
            seconds=max_scan_s,
        )
        max_age_ms = 0 if self._service.wishes.now.all else settings.max_file_age_ms
        steps = self._service.step(budget, stopping, look=look, again=again, max_age_ms=max_age_ms)
        for _ in steps:
            pass

    def _look(self, ingest: Ingest, settings: LedgerSettings, stopping: Callable[[], bool]) -> None:
        """Look at everything where that is due, else at what is known to have changed."""
        going_on = ingest.progress.looking  # what is told now may lie where it has been already
        paths, missed = ([], False) if going_on else self._watch.take()
        now_s = self._clock.monotonic_s()
        if ingest is not self._ingest:  # opened anew: it has seen nothing yet
            self._ingest, self._looked_at_s, self._changes = ingest, None, 0
        since_s = None if self._looked_at_s is None else now_s - self._looked_at_s
        wishes = self._service.wishes.now
        due = missed or self._missed or wishes.open or going_on
        if due or cadence.whole_look_is_due(self._pulse(settings), since_s):
            if not going_on:
                self._look_for, self._missed = wishes.asked, False
                if wishes.open:
                    with contextlib.suppress(LedgerError, OSError):  # its own tick says why
                        self._service.gather()
            if ingest.look(settings.max_scan_ms / 1000, stopping):
                self._looked_for = self._look_for
                self._looked_at_s = self._clock.monotonic_s()
                self._look_s = self._looked_at_s - now_s
                if going_on:
                    paths, self._missed = self._watch.take()
                    ingest.look_at_paths(paths)
        else:
            ingest.look_at_paths(paths)
            ingest.look_at_hot_files()
        if ingest.changes != self._changes:
            self._changes = ingest.changes
            self._changed_at_s = self._clock.monotonic_s()

    def _tidy(self, settings: LedgerSettings, stopping: Callable[[], bool]) -> None:
        """Once an hour, and at once where the last time left something or the setting changed."""
        began_s = self._clock.monotonic_s()
        due = self._tidied_at_s is None or began_s - self._tidied_at_s >= TIDY_S
        due = due or log_bytes(ledger_path(self._service.host.state_dir)) > LONG_LOG_BYTES
        if not (due or self._untidy or settings.detail_days != self._service.health.detail_days):
            return

        self._tidied_at_s = began_s
        self._untidy = True  # stays so where it fails: the next tick tries again
        self._untidy = self._service.tidy(settings.detail_days, self._going_on(settings, stopping))

    def _make_room(self, settings: LedgerSettings, stopping: Callable[[], bool]) -> None:
        """The next tick finds the room, or says once more that there is none."""
        with contextlib.suppress(*TROUBLE):
            self._service.make_room(settings.detail_days, self._going_on(settings, stopping))

    def _going_on(
        self, settings: LedgerSettings, stopping: Callable[[], bool]
    ) -> Callable[[], bool]:
        """Asked between two steps of letting go, for at most as long as a scan may take."""
        began_s = self._clock.monotonic_s()

        def go_on() -> bool:
            self._pace()
            spent_s = self._clock.monotonic_s() - began_s
            return not stopping() and spent_s < settings.max_scan_ms / 1000

        return go_on

    def _waiting(self) -> bool:
        progress = self._service.health.progress
        return progress is not None and not progress.caught_up

    def _pulse(self, settings: LedgerSettings) -> Pulse:
        return Pulse(
            waiting=self._waiting() or self._untidy or self._missed,
            quiet_s=self._clock.monotonic_s() - self._changed_at_s,
            look_s=self._look_s,
            idle_s=settings.idle_interval_ms / 1000,
            listening=self._service.events.listeners > 0,
            watching=self._watch.on,
        )
