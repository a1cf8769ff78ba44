"""Whole lines of one append-only file past a saved mark, in bounded memory.

Promises: every line that ended in a newline is handed out at least once, and exactly once as long
as the file only grows; memory stays under two times `max_line_bytes`; the file is opened read-only;
nothing is remembered outside the `Mark`, which the caller saves in the same transaction as what it
made of the lines. It never decodes, never strips anything but the newline (a BOM, a CR and NULs are
the decoder's), never waits, and never trusts an inode alone.

Whether a file is still the one that the mark was taken from is decided by its bytes: the guard is a
hash of the first 256 and the last 256 bytes before the offset. A guard that matches continues,
under whatever inode (moved, restored, remounted); one that does not, or a file shorter than the
offset, starts again at 0, so a file replaced between two calls is read in full.

Races, and what happens:
- Appended to while read: only the size found at open is read; the next call sees the rest.
- Replaced by rename or unlink while read: the open descriptor reads the old file to its end, and
  the next open compares the guard.
- Truncated while read: reading stops at the short read; the next open finds the truncation.
- Rewritten in place while read: `mark` looks again at the bytes before the place where this tail
  began; if they changed, the mark it gives matches nothing, so that the next open starts at 0.
- Rewritten in place with the same size within one tick of the file system's clock after the stat
  of the open (4 ms on Linux before 6.13, which gives a stat and a later write distinct times):
  found at the next change only.
Not detected: a rewrite that keeps both guarded stretches byte for byte and is not shorter. No
writer of transcripts does that; re-reading everything is always safe and finds it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from hashlib import blake2b
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct

from instar_host.store.errors import AnyPath
from instar_host.store.files import Root, open_regular

BLOCK_BYTES = 1 << 18
MAX_LINE_BYTES = 16 << 20
GUARD_BYTES = 256
"""How many bytes at the head of the file, and before the offset, the guard covers."""

_GUARD_OF_A_REWRITE = bytes(16)  # matches no content: a hash that comes out all zero is not met
_SIGNED_63 = (1 << 63) - 1  # inodes may go up to 2**64, SQLite's integers are signed

Verdict = Literal["new", "same", "grown", "rewritten", "truncated"]


class Mark(Struct, frozen=True, kw_only=True, gc=False):
    """How far one file has been handed out, and how to know it again.

    `offset` stands after the last whole line (or inside a line that is being skipped: `skipping`).
    `size` is how far the file has been looked at: the whole size once its end was reached, `offset`
    while lines are left; so an unchanged file costs one stat even if its last line is unfinished.
    All integers fit SQLite's.
    """

    offset: int
    dev: int
    inode: int
    size: int
    ctime_ns: int
    guard: bytes
    skipping: bool = False


class Lines(Struct, frozen=True, kw_only=True, gc=False):
    """Whole lines: `data[i]` stands at file offset `offset + i`.

    `data` ends with a newline, except where `terminated` is false: then it is the one unfinished
    line at the end of the file.
    """

    data: bytes
    offset: int
    terminated: bool = True


class TooLong(Struct, frozen=True, kw_only=True, gc=False):
    """A stretch of a line over `max_line_bytes` that was passed over, `length` bytes from `offset`.

    A line gives one stretch a call: the one with `continued` false is its beginning (count that
    one), and later calls go on with `continued` true.
    """

    offset: int
    length: int
    continued: bool = False


class Tail:
    """One open file past one mark; made by `open_tail`, used once, closed by `with`.

    `verdict` says how the file relates to the mark, `size` its size in bytes at open, `start` the
    offset where reading begins (0 unless the verdict is "same" or "grown").
    """

    def __init__(
        self, descriptor: int, mark: Mark | None, *, block_bytes: int, max_line_bytes: int
    ) -> None:
        """Take over `descriptor`, an open regular file; `open_tail` is the way to get one."""
        self._fd = descriptor
        self.stat = os.fstat(descriptor)
        self.size = self.stat.st_size
        self._max_line = max_line_bytes
        self._block = min(block_bytes, max_line_bytes + 1)
        self._head = b""  # the first bytes of the file, as read, up to GUARD_BYTES
        self._last = b""  # the last bytes before the offset, as read, up to GUARD_BYTES
        self.verdict: Verdict = self._compare(mark)
        goes_on = mark is not None and self.verdict in ("same", "grown")
        self.start = mark.offset if mark is not None and goes_on else 0
        self._skipping = mark.skipping if mark is not None and goes_on else False
        self._offset = self.start
        self._before_start = self._last
        self._at_end = False
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def blocks(self, *, max_bytes: int | None = None) -> Iterator[Lines | TooLong]:
        """Yield the lines up to the end of the file as found at open, in blocks of whole lines.

        With `max_bytes` it stops at a line's end before that many bytes were handed out, but always
        hands out at least one line or one skipped stretch, so that calls make progress. Call again
        to go on. Raises `OSError` when the disk does; what was handed out before stays handed out.
        """
        stop = self.size if max_bytes is None else min(self.size, self._offset + max(1, max_bytes))
        first = True
        while self._offset < stop:
            found = (
                self._skip(stop)
                if self._skipping
                else self._read_lines(stop, self.size if first else stop)
            )
            if found is None:
                return
            first = False
            yield found
        self._at_end = self._offset == self.size

    @property
    def offset(self) -> int:
        """How far lines were handed out."""
        return self._offset

    def unfinished(self) -> Lines | None:
        """Return the line at the end that has no newline yet, once `blocks` reached the end.

        It stays beyond the mark: it is handed out again when the file has changed. None if there is
        no such line or it is over `max_line_bytes`.
        """
        if not self._rest:
            return None
        return Lines(data=self._rest, offset=self._offset, terminated=False)

    def mark(self) -> Mark:
        """Return the mark after the last line handed out. Raises `OSError` when the disk does."""
        same_file = self._start_is_unchanged()
        size = self.size if self._at_end else self._offset
        return Mark(
            offset=self._offset,
            dev=self.stat.st_dev & _SIGNED_63,
            inode=self.stat.st_ino & _SIGNED_63,
            size=size if same_file else 0,
            ctime_ns=self.stat.st_ctime_ns,
            guard=_guard(self._head, self._last) if same_file else _GUARD_OF_A_REWRITE,
            skipping=self._skipping,
        )

    def _compare(self, mark: Mark | None) -> Verdict:
        if mark is None:
            return "new"
        if self.size < mark.offset:
            return "truncated"
        covered = min(GUARD_BYTES, mark.offset)
        head = os.pread(self._fd, covered, 0)
        last = os.pread(self._fd, covered, mark.offset - covered) if mark.offset > covered else head
        if _guard(head, last) != mark.guard:
            return "rewritten"
        self._head, self._last = head, last
        return "same" if self.size == mark.offset or unchanged(mark, self.stat) else "grown"

    def _read_lines(self, stop: int, limit: int) -> Lines | TooLong | None:
        """Read up to `stop`; where that holds no newline, read on, doubling, up to `limit`.

        Reading again from the line's beginning, instead of keeping a rest, costs half a line a
        block and never joins bytes of two moments; doubling keeps a long line linear.
        """
        want = min(self._block, stop - self._offset)
        longest = self._max_line + 1
        while True:
            data = os.pread(self._fd, want, self._offset)
            beyond = self._offset + want > stop  # then nothing but the one line that goes over it
            cut = (data.find(b"\n") if beyond else data.rfind(b"\n")) + 1
            if cut:
                lines = Lines(data=data[:cut], offset=self._offset)
                self._passed(lines.data)
                return lines
            if len(data) < want:
                return None  # shrunk while read: the next open finds out what happened
            if want == longest:
                return self._skip(stop, already=data)
            if self._offset + want == limit:
                if limit == self.size:
                    self._at_end, self._rest = True, data
                return None
            want = min(max(2 * want, self._block), longest, limit - self._offset)

    def _skip(self, stop: int, already: bytes = b"") -> TooLong | None:
        """Pass over a long line to its newline, to `stop` or to the end, a block at a time."""
        begin, continued = self._offset, self._skipping
        if already:
            self._skipping = True
            self._passed(already)
        self._pass_hole()
        while self._skipping and self._offset < stop:
            data = os.pread(self._fd, min(self._block, stop - self._offset), self._offset)
            if not data:
                break
            cut = data.find(b"\n") + 1
            self._passed(data[:cut] if cut else data)
            self._skipping = not cut
        if self._offset == begin:
            return None
        return TooLong(offset=begin, length=self._offset - begin, continued=continued)

    def _pass_hole(self) -> None:
        """Move the mark over a hole: a sparse terabyte has no newline and need not be read."""
        try:
            data_at = os.lseek(self._fd, self._offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # this file system cannot tell
                return
            data_at = self.size  # a hole up to the end
        length = min(data_at, self.size) - self._offset
        if length > GUARD_BYTES:
            self._passed(bytes(GUARD_BYTES))  # zeros are what reading would have given
            self._offset += length - GUARD_BYTES

    def _passed(self, data: bytes) -> None:
        """Move the mark over `data`, and keep of it what the guard needs."""
        self._offset += len(data)
        if len(self._head) < GUARD_BYTES:
            self._head = (self._head + data[:GUARD_BYTES])[:GUARD_BYTES]
        self._last = (self._last + data[-GUARD_BYTES:])[-GUARD_BYTES:]

    def _start_is_unchanged(self) -> bool:
        before = self._before_start
        if not before or self._offset == self.start:
            return True
        return os.pread(self._fd, len(before), self.start - len(before)) == before


def open_tail(
    path: AnyPath,
    mark: Mark | None,
    *,
    block_bytes: int = BLOCK_BYTES,
    max_line_bytes: int = MAX_LINE_BYTES,
    root: Root | None = None,
) -> Tail:
    """Open `path` (relative to `root` where one is given) to read on from `mark`.

    Raises `UnsafeFile` for anything but a regular file reached without a link, and `OSError` as the
    system gives it.
    """
    if block_bytes < 1 or max_line_bytes < 1:
        raise ValueError("block_bytes and max_line_bytes must be at least 1")
    descriptor = open_regular(path) if root is None else root.open_regular(path)
    try:
        return Tail(descriptor, mark, block_bytes=block_bytes, max_line_bytes=max_line_bytes)
    except BaseException:
        os.close(descriptor)
        raise


def unchanged(mark: Mark, stat: os.stat_result) -> bool:
    """Say whether `stat` proves that there is nothing new past `mark`: no open is needed then."""
    return (
        stat.st_size == mark.size >= mark.offset
        and stat.st_ino & _SIGNED_63 == mark.inode
        and stat.st_ctime_ns == mark.ctime_ns
        and stat.st_dev & _SIGNED_63 == mark.dev
    )


def iter_lines(lines: Lines) -> Iterator[tuple[int, bytes]]:
    """Yield (file offset, line without its newline) of a block, empty lines included."""
    data, position = lines.data, 0
    while (newline := data.find(b"\n", position)) >= 0:
        yield lines.offset + position, data[position:newline]
        position = newline + 1
    if position < len(data):
        yield lines.offset + position, data[position:]


def _guard(head: bytes, last: bytes) -> bytes:
    return blake2b(head + last, digest_size=16).digest()
