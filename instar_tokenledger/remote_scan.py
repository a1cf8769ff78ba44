"""A scan done by the process that holds the lease, seen from another one.

Promises to ask once and then only to look: the other process reads whether anybody waits or not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from instar_host.clock import Clock
from instar_host.remote import RemoteHost
from instar_tokenledger.errors import LedgerError
from instar_tokenledger.ingest import Progress

POLL_S = 0.2
TROUBLED_POLLS = 10
"""A ledger that cannot be written for this many looks on end is reported."""


class RemoteScan:
    """One wish, from asking to its fulfilment."""

    def __init__(self, remote: RemoteHost, clock: Clock) -> None:
        self._remote = remote
        self._clock = clock

    def run(self, *, anew: bool) -> Iterator[Progress]:
        """Ask for everything to be read, whatever its age; gives progress until it is.

        Raises LeaseHeld when the process falls silent, LedgerError when it cannot write.
        """
        before = self._remote.get("/tokens/status")
        number = self._remote.post("/tokens/scan", {"all": True, "anew": anew})["scan"]
        troubled = 0
        never = threading.Event()
        while True:
            status = self._remote.get("/tokens/status")
            yield progress_of(before, status)
            if status["scans"]["done"] >= number:
                return
            troubled = troubled + 1 if status["trouble"] else 0
            if troubled >= TROUBLED_POLLS:
                raise LedgerError(
                    f"process {self._remote.holder.pid} cannot write the ledger:"
                    f" {status['trouble']}"
                )
            self._clock.wait(never, POLL_S)


def progress_of(before: dict[str, Any], status: dict[str, Any]) -> Progress:
    """How far the other process has come since `before`, both as `/tokens/status` answers them."""
    files, sizes = status["files"], status["bytes"]
    return Progress(
        files_seen=files["seen"] or 0,
        files_waiting=files["waiting"] or 0,
        bytes_waiting=sizes["waiting"] or 0,
        files_read=max(0, files["read"] - before["files"]["read"]),
        bytes_read=max(0, sizes["read"] - before["bytes"]["read"]),
        errors=status["errors"],
    )
