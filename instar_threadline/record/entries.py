"""The entries of a chain file from a place on: one by one, or a stretch of ordinary ones at once.

An *ordinary* entry is genuine, the next in number, and announces one line right behind the line
before, under the key of its whole stretch. Promises that what it calls ordinary is; whatever else
stands in the file, an altered entry or the beginning of the next file, is left to be judged one
entry at a time. Reads whole entries only, up to the size it was given; writes nothing.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from instar_threadline.messages import Direction
from instar_threadline.record.awaited import Pulled
from instar_threadline.record.chain import CLOSING_BYTES, Entry, ReadEntry, closing_of, read_entry
from instar_threadline.record.keyring import Key, Keyring
from instar_threadline.record.signing import MAC_HEX_CHARS

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
        if self.at_end or self._next >= len(self._entries):
            return []
        entries = self._entries[self._next :]
        count = _in_a_row(entries, n, reach)
        key = keyring.get(entries[0].key)
        if not count or key is None:
            return []
        raw = self._raw[self._next : self._next + count]
        macs = _macs(raw, mac, direction, key)
        count = _genuine(raw, macs)
        ends = list(accumulate([len(one) + 1 for one in raw[:count]], initial=self._begin))
        found = [
            Pulled(entry, _GENUINE, at, end, entry.n - 1, before, mac, entry.offset)
            for entry, at, end, before, mac in zip(
                entries, ends, ends[1:], [mac, *macs], macs, strict=False
            )
        ]
        self._next += count
        self._begin = ends[-1]
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


def _macs(raw: Sequence[bytes], mac: str, direction: Direction, key: Key) -> list[str]:
    """What the MAC of each has to be, if that of the one before is what it claims."""
    begun = key.entry_mac.copy()
    begun.update(direction.encode().ljust(4))
    copy, before, found = begun.copy, mac.encode(), []
    for one in raw:
        sealed = copy()
        sealed.update(before + one[:-CLOSING_BYTES] + b"}")
        found.append(sealed.hexdigest())
        before = one[-2 - MAC_HEX_CHARS : -2]
    return found


def _genuine(raw: Sequence[bytes], macs: Sequence[str]) -> int:
    """How many of them, from the first on, have the MAC that they have to have."""
    closings = [closing_of(mac) for mac in macs]
    claimed = [one[-CLOSING_BYTES:] for one in raw]
    if hmac.compare_digest(b"".join(closings), b"".join(claimed)):
        return len(raw)
    pairs = zip(closings, claimed, strict=True)
    return next(i for i, (one, other) in enumerate(pairs) if one != other)


def _in_a_row(entries: Sequence[Entry], n: int, reach: int) -> int:
    """How many of them, from the first on, announce one line each, behind the one before."""
    key = entries[0].key
    for count, entry in enumerate(entries):
        n += 1
        if (
            entry.n != n
            or entry.offset != reach
            or entry.kind != "line"
            or entry.key != key
            or entry.lost
        ):
            return count
        reach += entry.length + 1
    return len(entries)
