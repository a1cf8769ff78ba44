"""The open files of a direction, and the two writings that seal them: chain entries and the head.

Promises: entries are on disk when `announce` returns, and only then does the record of the open
files go on to them. The head is written, not synced, into the older of its two places, so that the
newest one stands until the next is whole; written after what it counts, it lags and never leads.

Never writes to the log itself, and never decides what is to be announced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from instar_threadline.record.chain import HEAD_SLOT_BYTES, Entry, Head, head_slot, seal
from instar_threadline.record.disk import Disk, open_private
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import Layout


class OpenFiles(msgspec.Struct, kw_only=True):
    """The active files of a direction, and how far they have come."""

    log: int
    chain: int
    segment: int
    n: int
    mac: str
    end: int
    """Where the chain says that the log ends, in bytes."""
    chain_size: int
    head_slot: int = 0
    """Where the newest head stands; the next one goes into the other."""


class Announcer:
    """Writes the chain and the head of one direction, with the keyring's current key.

    Every method needs the direction's lock to be held.
    """

    def __init__(self, files: Layout, keyring: Keyring, disk: Disk) -> None:
        self._files = files
        self._keyring = keyring
        self._disk = disk

    def announce(self, state: OpenFiles, entries: Sequence[Entry]) -> None:
        """Write entries, at least one, and sync them. Raises OSError."""
        mac, sealed = state.mac, []
        for entry in entries:
            data, mac = seal(entry, self._files.direction, mac, self._keyring.current)
            sealed.append(data)
        joined = b"".join(sealed)
        self._disk.write(state.chain, joined)
        self._disk.sync(state.chain)
        state.n, state.mac = entries[-1].n, mac
        state.chain_size += len(joined)

    def write_head(self, state: OpenFiles) -> None:
        """Write the head of what the chain announces now. Raises OSError or UnsafeFile."""
        key = self._keyring.current
        head = Head(n=state.n, chain=state.mac, key=key.id, segment=state.segment)
        data = head_slot(head, self._files.direction, key)
        slot = 1 - state.head_slot
        descriptor = open_private(self._files.head, append=False)
        try:
            self._disk.write_at(descriptor, data, slot * HEAD_SLOT_BYTES)
        finally:
            os.close(descriptor)
        state.head_slot = slot
