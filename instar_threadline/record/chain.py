"""The chain beside a log file: one entry a line, each bound to the one before it, and a head.

Promises exact bytes: an entry's MAC (keyed BLAKE2b, 256 bits) is over the entry's bytes as they
stand in the file and the MAC of the entry before it, so nothing is re-serialised to check it.
Entries are numbered without a gap across all files of a direction. The head says how far the
chain reached and lies in another file.

Entries are written before the lines they announce. So a line that no entry announces was not
written by us; and an entry whose line is missing is a crash if the head has not counted it, and a
loss if it has.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from typing import Literal

import msgspec

from instar_threadline.messages import Direction
from instar_threadline.record.keyring import Key, Keyring
from instar_threadline.record.signing import MAC_HEX_CHARS, head_mac, packed

GENESIS = "0" * MAC_HEX_CHARS
"""What stands before the first entry."""

HEAD_SLOT_BYTES = 512
HEAD_GONE = "head-missing"
HEAD_SPOILED = "head-altered"
"""Notes of `resumed`: no head was there; a slot of it was not as it had been written."""

READ_BYTES = 1 << 16

Kind = Literal["start", "line", "adopted", "resumed", "closed"]
"""`start`: a file begins. `line`: announces one line. `adopted`: a stretch of lines that somebody
else wrote. `resumed`: what was found amiss before going on. `closed`: the file is full; another
follows."""

_MEMBER = b',"chain":"'
CLOSING_BYTES = len(_MEMBER) + MAC_HEX_CHARS + len(b'"}')
"""Of an entry's line: the MAC and what stands around it."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One entry. `offset` and `length` are bytes in the log file of the same segment."""

    n: int
    kind: Kind
    key: str
    """Id of the key under which the entry, and the line it announces, are signed."""
    segment: int = 0
    """Of a `start`: the number of the file."""
    offset: int = 0
    length: int = 0
    """Of a line: without its newline."""
    digest: str = ""
    """Over the exact bytes of the line or stretch."""
    mac: str = ""
    """The MAC that stands in the line."""
    thread: str = ""
    lines: int = 0
    lost: int = 0
    """Of `resumed`: lines that the head had counted and that are gone."""
    unwritten: int = 0
    """Of `resumed`: lines that were announced and never written: a crash."""
    torn: int = 0
    """Of `resumed`: bytes of an unfinished line, moved aside."""
    note: str = ""
    """Of `start`: a random name of the log. Of `resumed`: where the torn bytes are, or what was
    wrong with the head."""


class ReadEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry as it stands in the file."""

    entry: Entry | None
    """None: the bytes are no entry."""
    chain: str
    """The MAC it claims; empty if it claims none."""
    body: bytes
    end: int
    """Offset in the chain file of the byte after its newline."""


Beside = Literal["", "spoiled", "unknown-key"]
"""`spoiled`: nobody with a key has written what stands there. `unknown-key`: perhaps somebody."""


class Head(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a chain had certainly come."""

    n: int
    chain: str
    key: str
    segment: int
    mac: str = ""
    known: bool = True
    """Of a head that was read: false when its key is not in the keyring, so nothing can be said."""
    slot: int = 0
    """Of a head that was read: which of the two slots it stands in."""
    beside: Beside = ""
    """Of a head that was read: what is wrong with the other slot."""


_decode_entry = msgspec.json.Decoder(Entry).decode
_encode = msgspec.json.Encoder().encode


def seal(entry: Entry, direction: Direction, previous: str, key: Key) -> tuple[bytes, str]:
    """The entry's line with its newline, and its MAC."""
    body = _encode(entry)
    mac = _mac(body, direction, previous, key)
    return body[:-1] + closing_of(mac) + b"\n", mac


def closing_of(mac: str) -> bytes:
    """How the line of an entry with that MAC ends."""
    return _MEMBER + mac.encode() + b'"}'


def read_entry(data: bytes, end: int) -> ReadEntry:
    """An entry from its line without the newline. Never raises."""
    closing = data[-CLOSING_BYTES:]
    claimed, body = "", data
    if closing.startswith(_MEMBER) and closing.endswith(b'"}'):
        claimed = closing[len(_MEMBER) : -2].decode("ascii", "replace")
        body = data[:-CLOSING_BYTES] + b"}"
    try:
        entry = _decode_entry(body) if claimed else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        entry = None
    return ReadEntry(entry=entry, chain=claimed, body=body, end=end)


def sealed(read: ReadEntry, direction: Direction, previous: str, keyring: Keyring) -> bool | None:
    """Whether the entry's MAC binds it to the one before; None when its key is not known."""
    if read.entry is None:
        return False
    expected = expected_mac(read, direction, previous, keyring)
    if not expected:
        return None
    return hmac.compare_digest(expected.encode(), read.chain.encode())


def expected_mac(read: ReadEntry, direction: Direction, previous: str, keyring: Keyring) -> str:
    """The MAC that these bytes would have after that one; empty if no key is known for them."""
    key = keyring.get(read.entry.key) if read.entry is not None else None
    return _mac(read.body, direction, previous, key) if key is not None else ""


def read_entries(descriptor: int, offset: int, size: int) -> Iterator[ReadEntry]:
    """The whole entries between two offsets of a chain file. An unfinished last one is left out."""
    rest, position = b"", offset
    while position < size:
        data = os.pread(descriptor, min(READ_BYTES, size - position), position)
        if not data:
            return
        start = position - len(rest)
        block = rest + data
        position += len(data)
        cut = block.rfind(b"\n") + 1
        at = 0
        while at < cut:
            newline = block.index(b"\n", at)
            yield read_entry(block[at:newline], start + newline + 1)
            at = newline + 1
        rest = block[cut:]


def head_slot(head: Head, direction: Direction, key: Key) -> bytes:
    """The bytes of one slot. Two slots take turns, so that a torn write leaves the other one."""
    written = Head(n=head.n, chain=head.chain, key=head.key, segment=head.segment)
    signed = msgspec.structs.replace(written, mac=_head_mac(head, direction, key))
    return _encode(signed).ljust(HEAD_SLOT_BYTES - 1) + b"\n"


def read_head(data: bytes, direction: Direction, keyring: Keyring) -> Head | None:
    """The farthest head in the bytes of a head file that is exactly as it was written, else one
    whose key is not known; None if there is neither."""
    found: list[Head] = []
    beside: Beside = ""
    for slot in (0, 1):
        raw = data[slot * HEAD_SLOT_BYTES : (slot + 1) * HEAD_SLOT_BYTES]
        head = _read_slot(raw, direction, keyring)
        if head is not None:
            found.append(msgspec.structs.replace(head, slot=slot))
        elif any(raw):
            beside = "spoiled"
    best = max(found, key=lambda head: (head.known, head.n), default=None)
    if best is None:
        return None
    if best.known and not all(head.known for head in found):
        ahead = any(head.n > best.n for head in found)  # of a key that the next writer had not
        beside = "spoiled" if ahead else "unknown-key"
    return msgspec.structs.replace(best, beside=beside)


def _read_slot(raw: bytes, direction: Direction, keyring: Keyring) -> Head | None:
    try:
        head = msgspec.json.decode(raw, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    key = keyring.get(head.key)
    if key is None:
        return msgspec.structs.replace(head, known=False)
    return head if hmac.compare_digest(head_slot(head, direction, key), raw) else None


def _mac(body: bytes, direction: Direction, previous: str, key: Key) -> str:
    # Every part but the last has a fixed length, so no two inputs are the same bytes.
    mac = key.entry_mac.copy()  # of CHAIN_TAG
    mac.update(direction.encode().ljust(4) + previous.encode() + body)
    return mac.hexdigest()


def _head_mac(head: Head, direction: Direction, key: Key) -> str:
    return head_mac(key.chain, packed(direction, head.n, head.chain, head.key, head.segment))
