"""Every transcript that is known, and the line of those that wait to be read.

Promises that what has changed within the last hour is read first, then the backlog from the newest
day to the oldest and folder by folder; that among live files the one that waits longest is next;
and that a file costs about 130 bytes here, name included. Files older than `max_age_ms` wait apart
until they change, are asked for, or the limit is widened. Opens nothing and reads no disk: it is
told what a stat showed.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator

import msgspec

from instar_host.clock import Clock
from instar_host.store.tail import Mark

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS
HOT_FILES = 1_000
"""So many of the files that changed last are looked at more often than the rest."""
NOBODY = -1
UNSEEN = -1
"""The stamp of a file that was another when it was read than when it was looked at."""
ROWS_AT_A_TIME = 512
"""Room in the columns is made for so many files at once."""

QUIET, WAITING, TOO_OLD, STUCK = range(4)
"""Nothing to read; to be read; older than the limit; could not be read, tried at the next look."""
BEFORE_ALL_MS = -(1 << 62)
"""Earlier than any file: a clock that was wrong may have dated one before 1970."""
_KNOWN, _STIRRED = 1, 2
"""The ledger has read of it; it has changed while we looked."""
_MASK = (1 << 60) - 1
_ROW_BITS = _FOLDER_BITS = 31
_AFTER_ALL_DAYS = 1 << 100


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits."""

    waiting: int
    waiting_bytes: int
    too_old: int
    too_old_bytes: int


class Catalog:
    """A table of files by number, in columns, because there may be hundreds of thousands."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._max_age_ms = 0
        self._cutoff_ms = BEFORE_ALL_MS
        self.names: list[bytes | None] = []
        """None: a number that is free."""
        self.folder = array("i")
        self.stamp = array("q")
        """What the stat showed last; 0: none yet."""
        self.state = bytearray()
        self._folders: list[bytes] = []
        """Their paths, each with its closing slash."""
        self._first = array("i")
        self._next = array("i")
        self._before = array("i")
        self._read = array("q")
        self._size = array("q")
        self._done = array("q")
        self._mtime_ms = array("q")
        self._flags = bytearray()
        self._free: list[int] = []
        self._noticed = array("i")
        self._again: list[int] = []
        self._line: dict[int, None] = {}
        self._backlog = array("i")
        self._looked = False
        self._hot: dict[int, None] = {}
        self._files = [0, 0, 0, 0]
        self._bytes = [0, 0, 0, 0]
        self.changes = 0
        """Files that were found new or changed, ever."""

    @property
    def counts(self) -> Counts:
        return Counts(
            waiting=self._files[WAITING],
            waiting_bytes=self._bytes[WAITING],
            too_old=self._files[TOO_OLD],
            too_old_bytes=self._bytes[TOO_OLD],
        )

    def add_folder(self, path: bytes) -> int:
        """A number for a folder, by its absolute path with a closing slash."""
        self._folders.append(path)
        self._first.append(NOBODY)
        return len(self._folders) - 1

    def add(self, folder: int, name: bytes) -> int:
        """A number for a file."""
        row = self._free.pop() if self._free else self._new_rows()
        self.names[row] = name
        self.folder[row] = folder
        following = self._next[row] = self._first[folder]
        if following >= 0:
            self._before[following] = row
        self._before[row], self._first[folder] = NOBODY, row
        self.stamp[row] = self._size[row] = self._mtime_ms[row] = 0
        self._read[row] = self._done[row] = self._flags[row] = 0
        self.state[row] = QUIET
        self._files[QUIET] += 1
        return row

    def add_read(
        self, folders: array[int], names: list[bytes], stamps: array[int], sizes: array[int]
    ) -> None:
        """Files that the ledger has read of, each with its stamp and size when it was read: column
        by column, because a start meets all of them."""
        count, first, following, before = len(names), self._first, self._next, self._before
        before.frombytes(b"\xff" * (before.itemsize * count))  # NOBODY
        for row, folder in enumerate(folders, len(self.names)):
            after = first[folder]
            following.append(after)
            if after >= 0:
                before[after] = row
            first[folder] = row
        self.names += names
        self.folder += folders
        self._read += stamps
        self._done += sizes
        for column in (self.stamp, self._size, self._mtime_ms):
            column.frombytes(bytes(column.itemsize * count))
        self.state.extend(bytes(count))
        self._flags.extend(bytes((_KNOWN,)) * count)
        self._files[QUIET] += count

    def drop(self, row: int) -> bytes | None:
        """Forget a file; its path if the ledger knows it."""
        path = self.path(row) if self._flags[row] & _KNOWN else None
        self._leave(row)
        before, following = self._before[row], self._next[row]
        if before >= 0:
            self._next[before] = following
        else:
            self._first[self.folder[row]] = following
        if following >= 0:
            self._before[following] = before
        self.names[row], self.state[row] = None, QUIET
        self._hot.pop(row, None)
        self._line.pop(row, None)
        self._free.append(row)
        return path

    def files_of(self, folder: int) -> Iterator[int]:
        """The files of a folder; they may be dropped on the way."""
        row = self._first[folder]
        while row != NOBODY:
            following = self._next[row]
            yield row
            row = following

    def row_of(self, folder: int, name: bytes) -> int | None:
        """The number of a file by its name; None where there is none."""
        names = self.names
        return next((row for row in self.files_of(folder) if names[row] == name), None)

    def path(self, row: int) -> bytes:
        """The absolute path of a file."""
        name = self.names[row]
        assert name is not None
        return self._folders[self.folder[row]] + name

    def is_known(self, row: int) -> bool:
        """True when the ledger has read of it."""
        return bool(self._flags[row] & _KNOWN)

    def limit_age(self, max_age_ms: int) -> None:
        """Let older files wait apart (0: none), those known to be waiting included."""
        self._cutoff_ms = self._clock.now_ms() - max_age_ms if max_age_ms else BEFORE_ALL_MS
        if max_age_ms == self._max_age_ms:
            return
        self._max_age_ms = max_age_ms
        for row, state in enumerate(self.state):
            if state in (WAITING, TOO_OLD) and self.names[row] is not None:
                self._settle(row)

    def saw(self, row: int, stat: os.stat_result, stamp: int | None = None) -> None:
        """A stat of the file, and its stamp if that is known: new, changed, or stuck and to be
        tried again; else nothing."""
        if stamp is None:
            stamp = stamp_of(stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns)
        if stamp != self.stamp[row]:
            self.notice(row, stat, stamp, self.hot_since_ms())
        elif self.state[row] == STUCK:
            self._flags[row] |= _STIRRED  # tried before any backlog: it costs one attempt
            self._settle(row)

    def hot_since_ms(self) -> int:
        """Files written to since then are hot."""
        return self._clock.now_ms() - HOUR_MS

    def notice(self, row: int, stat: os.stat_result, stamp: int, hot_since_ms: int) -> None:
        """The file is not what it was, or is seen for the first time."""
        mtime_ms = stat.st_mtime_ns // 1_000_000
        if stamp == self._read[row] and not self.stamp[row] and self.state[row] == QUIET:
            self.stamp[row], self._size[row] = stamp, stat.st_size  # read to its end before
            self._mtime_ms[row] = mtime_ms
        else:
            self._change(row, stat.st_size, mtime_ms, stamp)
        if mtime_ms >= hot_since_ms:
            self._hot.pop(row, None)
            self._hot[row] = None
            if len(self._hot) > HOT_FILES:
                del self._hot[next(iter(self._hot))]

    def _change(self, row: int, size: int, mtime_ms: int, stamp: int) -> None:
        if self.stamp[row]:
            self._flags[row] |= _STIRRED
        self._leave(row)
        self.stamp[row], self._size[row], self._mtime_ms[row] = stamp, size, mtime_ms
        self._enter(row, self._judged(row))
        if self.state[row] == WAITING:
            self._noticed.append(row)
            self.changes += 1

    def hot(self) -> list[int]:
        """Files that changed within the hour, at most `HOT_FILES`."""
        since_ms = self.hot_since_ms()
        cold = [row for row in self._hot if self._mtime_ms[row] < since_ms]
        for row in cold:
            del self._hot[row]
        return list(self._hot)

    def line_up(self, *, whole: bool = False) -> None:
        """Put what was noticed since the last call into the line, or into the backlog.

        `whole` says that a whole look has ended: files found from then on are new ones.
        """
        noticed, self._noticed = self._noticed, array("i")
        live = [row for row in noticed if self._is_live(row)]
        live.sort(key=self._mtime_ms.__getitem__, reverse=True)
        for row in live:
            self._line.setdefault(row)
        if len(live) < len(noticed):
            self._backlog = self._sorted_backlog()
        self._looked = self._looked or whole

    def _is_live(self, row: int) -> bool:
        """True for a file that somebody writes to now: its lines come before any backlog."""
        new = self._looked and self._mtime_ms[row] >= self.hot_since_ms()
        return new or bool(self._flags[row] & _STIRRED)

    def take(self) -> int | None:
        """The file to be read next, taken from the line; None when nothing waits."""
        while self._again:
            row = self._again.pop()
            if self.state[row] == WAITING:
                return row
        while self._line:
            row = next(iter(self._line))
            del self._line[row]
            if self.state[row] == WAITING:
                return row
        while self._backlog:
            row = self._backlog.pop()
            if self.state[row] == WAITING:
                return row
        return None

    def put_back(self, row: int) -> None:
        """Read on here first."""
        self._again.append(row)

    def advance(self, row: int, count: int) -> None:
        """So many more bytes of it were read."""
        self._leave(row)
        self._done[row] = max(0, self._done[row] + count)
        self._enter(row, self.state[row])

    def done(self, row: int) -> int:
        """How far it has been read."""
        return self._done[row]

    def opened(self, row: int, stamp: int) -> None:
        """What is read of it has this stamp. Where a look saw another, the next one has to see
        this one: a file that is swapped for the time of its reading may come back as it was."""
        if stamp != self.stamp[row]:
            self.stamp[row] = UNSEEN

    def finished(self, row: int, *, read: bool) -> None:
        """Nothing more of it for now: it was `read` to its end, or could not be."""
        self._leave(row)
        self._enter(row, QUIET if read else STUCK)

    def committed(self, row: int, stamp: int) -> None:
        """What was read of it is in the ledger, with a mark of this stamp."""
        self._read[row] = stamp
        self._flags[row] |= _KNOWN

    def undone(self, row: int, done: int) -> None:
        """What was read of it beyond `done` was lost; the next look tries again."""
        if self.names[row] is not None:
            self._leave(row)
            self._done[row] = done
            self._enter(row, STUCK)

    def _new_rows(self) -> int:
        """Make room for more files, many at a time; the number of the first."""
        first = len(self.names)
        self.names.extend([None] * ROWS_AT_A_TIME)
        for column in (self.folder, self._next, self._before):
            column.frombytes(bytes(column.itemsize * ROWS_AT_A_TIME))
        for wide in (self.stamp, self._read, self._size, self._done, self._mtime_ms):
            wide.frombytes(bytes(wide.itemsize * ROWS_AT_A_TIME))
        self.state.extend(bytes(ROWS_AT_A_TIME))
        self._flags.extend(bytes(ROWS_AT_A_TIME))
        self._free.extend(range(first + ROWS_AT_A_TIME - 1, first, -1))
        return first

    def _settle(self, row: int) -> None:
        """Say anew whether the file waits."""
        self._leave(row)
        self._enter(row, self._judged(row))
        if self.state[row] == WAITING:
            self._noticed.append(row)

    def _judged(self, row: int) -> int:
        if self._read[row] == self.stamp[row]:
            return QUIET
        old = self._mtime_ms[row] < self._cutoff_ms
        return TOO_OLD if old and not self._flags[row] & (_KNOWN | _STIRRED) else WAITING

    def _left(self, row: int) -> int:
        left = self._size[row] - self._done[row]
        return left if left > 0 else 0  # noqa: FURB136 - called for every file several times

    def _leave(self, row: int) -> None:
        state = self.state[row]
        self._files[state] -= 1
        self._bytes[state] -= self._left(row)

    def _enter(self, row: int, state: int) -> None:
        self.state[row] = state
        self._files[state] += 1
        self._bytes[state] += self._left(row)

    def _sorted_backlog(self) -> array[int]:
        """What waits, that which is to be taken first at the end.

        One number a file, with the file's own in its last digits, is all that is sorted: with a
        hundred thousand files, tuples would be the largest thing that a first scan holds.
        """
        hot_since_ms = self.hot_since_ms()
        places = []
        for row, state in enumerate(self.state):
            if state == WAITING:
                mtime_ms = self._mtime_ms[row]
                if mtime_ms >= hot_since_ms:
                    place = _AFTER_ALL_DAYS + mtime_ms
                else:
                    day, in_day_ms = divmod(mtime_ms, DAY_MS)
                    place = (day << _FOLDER_BITS | self.folder[row]) * DAY_MS + in_day_ms
                places.append(place << _ROW_BITS | row)
        places.sort()
        row_of = (1 << _ROW_BITS) - 1
        return array("i", (place & row_of for place in places))


def stamp_of(dev: int, inode: int, size: int, ctime_ns: int) -> int:
    """One number for what tells an unchanged file; never 0."""
    signed_63 = (1 << 63) - 1
    return hash((dev & signed_63, inode & signed_63, size, ctime_ns)) & _MASK or 1


def stamp_of_mark(mark: Mark) -> int:
    """The stamp of a file as it was when it was read so far."""
    return stamp_of(mark.dev, mark.inode, mark.size, mark.ctime_ns)
