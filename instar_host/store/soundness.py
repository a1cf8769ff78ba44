"""Whether a database was found sound today and closed in order since: then it need not be checked.

A quick check reads the whole file, 0.1 s for 30 MB, at every start of every command that writes.
What is promised instead: it is left out only for the very file that this package closed itself, in
the state it was closed in, with no log left over, checked within the day, by this release of SQLite
and for this schema. Anything else, or a note that cannot be read, means a check. The note lies
beside the database; losing it costs a check and nothing more. It never touches the database but for
its time of modification.
"""

from __future__ import annotations

import contextlib
import os

import apsw
import msgspec

from instar_host.store.errors import UnsafeFile
from instar_host.store.files import read_bounded

CHECK_EVERY_MS = 24 * 60 * 60 * 1000
SUFFIX = "-checked"
_MAX_NOTE_BYTES = 4_096

_State = tuple[int, int, int, int, int]
_MTIME = 3
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a check."""

    checked_at_ms: int
    sqlite: str
    schema: int
    closed: _State | None = None
    """Device, inode, size, mtime and ctime in ns as they were left; None while it is in use."""
    doubted: bool = False
    """True when somebody met damage after that check."""


def is_sound(name: str, *, schema: int, now_ms: int) -> bool:
    """True when a check of the database at `name` would find what the last one found."""
    note = _note(name)
    return (
        note is not None
        and note.closed is not None
        and note.closed == _state(name)
        and note.sqlite == apsw.sqlite_lib_version()
        and note.schema == schema
        and 0 <= now_ms - note.checked_at_ms < CHECK_EVERY_MS
    )


def checked(name: str, *, schema: int, now_ms: int) -> None:
    """A check has just found nothing."""
    sqlite = apsw.sqlite_lib_version()
    _write(name, Note(checked_at_ms=now_ms, sqlite=sqlite, schema=schema))


def closed(name: str) -> None:
    """The last connection that writes was closed in order; call it after that.

    Without a note, or with a log left over because somebody still reads, nothing is vouched for.
    """
    note = _note(name)
    before = _state(name)
    if note is None or note.doubted or before is None or note.closed == before:
        return
    with contextlib.suppress(OSError):
        # The clock of file systems ticks every few ms, and a write within the tick would not show:
        # a nanosecond later is a time that no write leaves behind.
        os.utime(name, ns=(before[_MTIME], before[_MTIME] + 1), follow_symlinks=False)
        after = _state(name)
        if after is not None and after[_MTIME] != before[_MTIME]:
            _write(name, msgspec.structs.replace(note, closed=after))


def doubted(name: str) -> None:
    """Somebody met damage: the next to open it checks, and fully, whoever closes it before."""
    with contextlib.suppress(OSError):
        os.unlink(name + SUFFIX)  # also where no other can be written
    _write(name, Note(checked_at_ms=0, sqlite="", schema=0, doubted=True))


def is_doubted(name: str) -> bool:
    """True when damage was met since the last check, which a quick one may not see."""
    note = _note(name)
    return note is not None and note.doubted


def _note(name: str) -> Note | None:
    try:
        return msgspec.json.decode(read_bounded(name + SUFFIX, _MAX_NOTE_BYTES), type=Note)
    except (OSError, UnsafeFile, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _write(name: str, note: Note) -> None:
    """Not synced, nor replaced whole: half a note is none."""
    with contextlib.suppress(OSError):
        descriptor = os.open(name + SUFFIX, _FLAGS, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(note))
        finally:
            os.close(descriptor)


def _state(name: str) -> _State | None:
    """None where there is a log to be played in first, or no file."""
    try:
        if os.path.lexists(name + "-journal") or _size(name + "-wal"):
            return None
        found = os.stat(name, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _size(name: str) -> int:
    try:
        return os.stat(name, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
