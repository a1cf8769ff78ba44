"""News of the index in a process that only reads it: another one writes, and this one notices.

Promises one cheap look a second, off the loop, and only while somebody listens; and that nothing
is told in the process that writes, for it tells its own news. It knows that the index has come
further in the log, not what was added.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from instar_host.workers import Workers, WorkersBusy
from instar_threadline.messages import DIRECTIONS
from instar_threadline.record.readers import Readers

EVERY_S = 1.0


class Follower:
    """Looks at the index that another process keeps. One for all streams."""

    def __init__(
        self,
        readers: Readers,
        writes: Callable[[], bool],
        changed: Callable[[], None],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        """`writes`: this process keeps the index itself. `changed` is called from a thread."""
        self._readers = readers
        self._writes = writes
        self._changed = changed
        self._every_s = every_s
        self._workers = Workers("threadline-follower", max_workers=1, max_waiting=1)
        self._seen: tuple[tuple[int, int], ...] | None = None

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Look at once, and then as long as the block lasts. Several at once cost one look."""
        await self._look()
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()

    def look(self) -> None:
        """Call `changed` if the index is not what it was at the last look."""
        now = tuple(self._readers.covered(direction) for direction in DIRECTIONS)
        before, self._seen = self._seen, now
        if before is not None and before != now:
            self._changed()

    def close(self) -> None:
        """End the thread, if there is one. Idempotent."""
        self._workers.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._look()

    async def _look(self) -> None:
        if not self._writes():
            with contextlib.suppress(WorkersBusy):  # another stream has just asked
                await self._workers.run(self.look)
