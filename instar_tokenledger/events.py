"""What happens to the ledger, told as it happens: the server-sent events of `/tokens/events`.

Promises that telling never slows reading down: at most four times a second, never waiting for a
listener, and what came in between is told as one. The end of a step is always told. Tells counts
and ids only; whoever wants the numbers asks the routes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from instar_host.broadcast import Broadcast, sse
from instar_host.clock import Clock
from instar_host.endpoints import HttpError
from instar_tokenledger.committed import Committed

if TYPE_CHECKING:
    from instar_tokenledger.ingest import Progress

GAP_S = 0.25
"""Between two events while reading goes on."""
MAX_SESSIONS = 100
"""Of the ids in one event; `more` says that there were others."""


class LedgerEvents:
    """One ledger's events. The thread that writes the ledger tells; any number of streams hear."""

    def __init__(self, clock: Clock, broadcast: Broadcast | None = None) -> None:
        self._clock = clock
        self._broadcast = broadcast or Broadcast()
        self._told_at_s: float | None = None
        self._told: dict[str, Any] | None = None
        self._now: dict[str, Any] | None = None
        self._commits: list[Committed] = []

    @property
    def listeners(self) -> int:
        """How many streams listen now."""
        return self._broadcast.subscribers

    def progress(self, progress: Progress, bytes_per_s: float | None) -> None:
        """Reading has come this far."""
        self._now = progress_event(progress, bytes_per_s)
        self._tell_if_due()

    def committed(self, committed: Committed) -> None:
        """These changes are in the ledger now."""
        if self._broadcast.subscribers:
            self._commits.append(committed)
            self._tell_if_due()

    def settled(self) -> None:
        """A step has ended: tell what is left to tell."""
        self._tell()

    def trouble(self, reason: str) -> None:
        """The ledger cannot be written at the moment; `reason` is for people."""
        self._tell()
        self._told = None
        self._broadcast.publish({"reason": reason}, "trouble")

    async def stream(self) -> AsyncIterator[bytes]:
        """Frames for one listener: `hello` once it is sure to miss nothing, then what happens.

        Raises HttpError 503 when too many listen already.
        """
        frames = self._broadcast.subscribe()
        try:
            try:
                beat = await anext(frames)
            except RuntimeError as error:
                raise HttpError(503, f"No more live views now: {error}") from None
            yield beat
            yield sse("hello", {"progress": self._now})
            async for frame in frames:
                yield frame
        finally:
            await frames.aclose()  # type: ignore[attr-defined]  # an async generator

    def close(self) -> None:
        """End every stream. Idempotent."""
        self._broadcast.close()

    def _tell_if_due(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._told_at_s is None or now_s - self._told_at_s >= GAP_S:
            self._tell()

    def _tell(self) -> None:
        self._told_at_s = self._clock.monotonic_s()
        if self._commits:
            commits, self._commits = self._commits, []
            self._broadcast.publish(commit_event(commits), "committed")
        if self._now is not None and self._now != self._told:
            self._told = self._now
            self._broadcast.publish(self._now, "progress")


def progress_event(progress: Progress, bytes_per_s: float | None) -> dict[str, Any]:
    """`{state, filesSeen, filesWaiting, bytesWaiting, bytesPerSecond, secondsLeft}`."""
    waiting = progress.bytes_waiting
    return {
        "state": "up-to-date" if progress.caught_up else "catching-up",
        "filesSeen": progress.files_seen,
        "filesWaiting": progress.files_waiting,
        "bytesWaiting": waiting,
        "bytesPerSecond": None if bytes_per_s is None else round(bytes_per_s),
        "secondsLeft": round(waiting / bytes_per_s) if waiting and bytes_per_s else None,
    }


def commit_event(commits: list[Committed]) -> dict[str, Any]:
    """`{added, changed, files, sessions, more}` of one commit or several."""
    sessions = sorted({session for commit in commits for session in commit.sessions})
    return {
        "added": sum(commit.added for commit in commits),
        "changed": sum(commit.changed for commit in commits),
        "files": sum(commit.files for commit in commits),
        "sessions": sessions[:MAX_SESSIONS],
        "more": len(sessions) > MAX_SESSIONS,
    }
