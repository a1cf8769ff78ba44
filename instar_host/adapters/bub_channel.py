"""Ours inside Bub's gateway: a channel that carries no messages.

Promises that nothing runs before `start`, that nothing is left after `stop`, and that Bub's loop is
never blocked. Bub leaves SIGTERM to the system, which ends a process where it stands; where nobody
else listens for it, ours ends first and the process then dies of the signal as it would have.
Imported by processes that run channels only.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any, ClassVar

from bub.channels.base import Lifecycle  # type: ignore[import-not-found]

from instar_host.adapters.entry import Entry
from instar_host.adapters.resident import Resident

STOP_S = 1.5
"""How long an end of ours may hold up that of the gateway; what is late then dies with it."""


class InstarChannel(Lifecycle):  # type: ignore[misc]
    """What Bub's channel manager holds of us."""

    name: ClassVar[str] = "instar"

    def __init__(self, read_entry: Callable[[], Entry], *, stop_s: float = STOP_S) -> None:
        self._read_entry = read_entry
        self._stop_s = stop_s
        self._resident: Resident | None = None
        self._handler: Any = None
        self._ending: asyncio.Task[None] | None = None

    async def start(self, stop_event: asyncio.Event) -> None:  # noqa: ARG002 - Bub's signature
        """Begin; plugins load and the port opens on a thread of ours. Raises ConfigError."""
        entry = self._read_entry()
        self._resident = Resident(
            lambda: entry.open_host(capabilities=("http", "commands")),
            listen_on=entry.listen,
            allow_hosts=entry.allow_hosts,
        )
        await asyncio.to_thread(self._resident.start)
        self._listen_for_sigterm()

    async def stop(self) -> None:
        """End everything of ours."""
        if self._resident is not None:
            await asyncio.to_thread(self._resident.stop, self._stop_s)

    def _listen_for_sigterm(self) -> None:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return  # whoever asked for it decides how the process ends
        try:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminated)
        except (NotImplementedError, RuntimeError, ValueError):
            return  # not on the main thread: the kernel frees the lease, and the log is whole
        self._handler = signal.getsignal(signal.SIGTERM)

    def _terminated(self) -> None:
        if signal.getsignal(signal.SIGTERM) is not self._handler:
            return  # somebody has asked for it since
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)  # a second one is heard
        self._ending = asyncio.ensure_future(self._end_and_die())

    async def _end_and_die(self) -> None:
        try:
            await self.stop()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
