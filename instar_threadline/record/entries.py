"""The entries of a chain file from a place on: one by one, or a stretch of ordinary ones at once.

An *ordinary* entry is genuine, the next in number, and announces one line right behind the line
before, under the key of its whole stretch. Promises that what it calls ordinary is; whatever else
stands in the file, an altered entry or the beginning of the next file, is left to be judged one
entry at a time. Reads whole entries only, up to the size it was given; writes nothing.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from itertools import islice

import msgspec

from instar_threadline.messages import Direction
from instar_threadline.record.awaited import Pulled
from instar_threadline.record.chain import CLOSING_BYTES, Entry, ReadEntry, closing_of, read_entry
from instar_threadline.record.keyring import Keyring

READ_BYTES = 1 << 17

_GENUINE = True
_decode_entries = msgspec.json.Decoder(Entry).decode_lines


class Entries(Iterator[ReadEntry]):
    """Goes through one chain file. `at_end` after it gave the last entry."""

    def __init__(self, descriptor: int | None, offset: int, size: int) -> None:
        """From `offset` to `size`, both in bytes; None: there is no file."""
        self._descriptor = descriptor
        self._read_to = offset
        self._size = size if descriptor is not None else offset
        self._begin = offset
        """Where the entry begins that is given next."""
        self._raw: list[bytes] = []
        self._entries: list[Entry] = []
        self._next = 0

    @property
    def at_end(self) -> bool:
        """Nothing is left."""
        return self._next == len(self._raw) and not self._refill()

    def __next__(self) -> ReadEntry:
        if self.at_end:
            raise StopIteration
        raw = self._raw[self._next]
        self._next += 1
        self._begin += len(raw) + 1
        return read_entry(raw, self._begin)

    def ordinary(
        self, n: int, mac: str, reach: int, direction: Direction, keyring: Keyring
    ) -> list[Pulled]:
        """The next entries as far as they are ordinary after entry `n`, whose MAC is `mac`; some
        of them, none where there is none or the next one is not ordinary.

        `reach`: how far the log goes by the entries before, in bytes.
        """
        found: list[Pulled] = []
        if self.at_end or self._next >= len(self._entries):
            return found
        key_id = self._entries[self._next].key
        key = keyring.get(key_id)
        if key is None:
            return found
        begun = key.entry_mac.copy()
        begun.update(direction.encode().ljust(4))
        copy, same, begin = begun.copy, hmac.compare_digest, self._begin
        rest = zip(
            islice(self._raw, self._next, None),
            islice(self._entries, self._next, None),
            strict=True,
        )
        for raw, entry in rest:
            sealed = copy()
            sealed.update(mac.encode() + raw[:-CLOSING_BYTES] + b"}")
            claimed = sealed.hexdigest()
            if (
                entry.n != n + 1
                or entry.kind != "line"
                or entry.offset != reach
                or entry.key != key_id
                or entry.lost
                or not same(raw[-CLOSING_BYTES:], closing_of(claimed))
            ):
                break
            end = begin + len(raw) + 1
            found.append(Pulled(entry, _GENUINE, begin, end, n, mac, claimed, reach))
            begin, n, mac, reach = end, n + 1, claimed, reach + entry.length + 1
        self._next += len(found)
        self._begin = begin
        return found

    def _refill(self) -> bool:
        """Read the next whole entries; false when there are none."""
        want = READ_BYTES
        while self._read_to < self._size and self._descriptor is not None:
            want = min(want, self._size - self._read_to)
            data = os.pread(self._descriptor, want, self._read_to)
            cut = data.rfind(b"\n") + 1
            if cut:
                self._read_to += cut
                self._take(data[:cut])
                return True
            if len(data) < want or self._read_to + want >= self._size:
                break
            want *= 2
        self._size = self._read_to
        return False

    def _take(self, block: bytes) -> None:
        self._raw = block.split(b"\n")[:-1]
        self._next = 0
        try:
            entries = _decode_entries(block)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            entries = []
        whole = len(entries) == len(self._raw)  # a newline inside of one, or an empty line
        self._entries = entries if whole else []
