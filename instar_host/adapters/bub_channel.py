"""Ours inside Bub's gateway: a channel that carries no messages.

Promises that nothing runs before `start`, that nothing is left after `stop`, and that Bub's loop is
never blocked. Imported by processes that run channels only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from bub.channels.base import Lifecycle  # type: ignore[import-not-found]

from instar_host.adapters.entry import Entry
from instar_host.adapters.resident import Resident


class InstarChannel(Lifecycle):  # type: ignore[misc]
    """What Bub's channel manager holds of us."""

    name: ClassVar[str] = "instar"

    def __init__(self, read_entry: Callable[[], Entry]) -> None:
        self._read_entry = read_entry
        self._resident: Resident | None = None

    async def start(self, stop_event: asyncio.Event) -> None:  # noqa: ARG002 - Bub's signature
        """Begin; plugins load and the port opens on a thread of ours. Raises ConfigError."""
        entry = self._read_entry()
        self._resident = Resident(
            lambda: entry.open_host(capabilities=("http", "commands")),
            listen_on=entry.listen,
            allow_hosts=entry.allow_hosts,
        )
        await asyncio.to_thread(self._resident.start)

    async def stop(self) -> None:
        """End everything of ours."""
        if self._resident is not None:
            await asyncio.to_thread(self._resident.stop)
