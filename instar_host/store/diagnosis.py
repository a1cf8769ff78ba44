"""What is wrong with a database, said in one word: from an exception, or from the file.

Promises that looking changes nothing: `inspect` reads the header through SQLite's own file layer
(a plain open and close would drop the locks of this whole process) and never opens a connection to
a database that is not ours, so somebody else's file, log and locks stay as they are.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from typing import Literal
from urllib.parse import quote

import apsw
from msgspec import Struct

from instar_host.store import policy
from instar_host.store.errors import (
    AnyPath,
    CorruptStore,
    MissingStore,
    NetworkFilesystem,
    ReadOnlyStore,
    StoreError,
    UnsafeFile,
    shown,
)

log = logging.getLogger("instar.store")

Trouble = Literal[
    "corrupt", "not-a-database", "full", "busy", "io", "cant-open", "read-only", "other"
]
State = Literal["missing", "empty", "ours", "foreign", "newer", "corrupt"]

DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)
"""What a damaged file makes a correct PRAGMA raise: a bad schema format is a mere `SQLError`."""

_HEADING = "***"
"""How SQLite begins the line that names the database, above what is wrong with it."""
_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\x00"
_PAGE_COUNT_AT, _USER_VERSION_AT, _APPLICATION_ID_AT = 28, 60, 68
_BY_SQLITE: tuple[tuple[type[apsw.Error], Trouble], ...] = (
    (apsw.CorruptError, "corrupt"),
    (apsw.NotADBError, "not-a-database"),
    (apsw.FullError, "full"),
    (apsw.BusyError, "busy"),
    (apsw.LockedError, "busy"),
    (apsw.ReadOnlyError, "read-only"),
    (apsw.CantOpenError, "cant-open"),
    (apsw.PermissionsError, "cant-open"),
    (apsw.IOError, "io"),
)


class Inspection(Struct, frozen=True, kw_only=True):
    """What lies at a database path.

    "empty" is a database file whose content is gone (zero length, blank, or only its log left): it
    opens without an error, and is as lost as a corrupt one. "newer" may be read, not written.
    """

    state: State
    application_id: int = 0
    user_version: int = 0
    detail: str = ""


def classify(error: BaseException) -> Trouble:
    """Name what an exception of SQLite, of the system or of this package means.

    Only "corrupt" and "not-a-database" are reasons to set a database aside. "full" and "io" are the
    disk's: after "io" close every connection and open again before going on. A quota or a file size
    limit reaches us from SQLite as "io".
    """
    for kind, trouble in _BY_SQLITE:
        if isinstance(error, kind):
            return trouble
    if isinstance(error, CorruptStore):
        return "corrupt"
    if isinstance(error, ReadOnlyStore):
        return "read-only"
    if isinstance(error, (MissingStore, NetworkFilesystem)):
        return "cant-open"
    if isinstance(error, OSError):
        return _classify_os(error)
    return "other"


def inspect(
    path: AnyPath, *, application_id: int, user_version: int, vfs: str | None = None
) -> Inspection:
    """Say what lies at `path`, for a program whose newest schema is `user_version`.

    Raises `UnsafeFile` for a link or a non-regular file, and `apsw.Error` or `OSError` when it is
    busy, unreadable or the disk fails: that is no verdict about the content.
    """
    name = os.fsdecode(path)
    size = _regular_size(name)
    if size is None and not _has_log(name):
        return Inspection(state="missing")
    if not size:
        return Inspection(state="empty", detail="zero length" if size == 0 else "only its log left")
    header = _read_header(name, vfs)
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        return Inspection(state="corrupt", detail="no SQLite header")
    found_id = _integer(header, _APPLICATION_ID_AT)
    found_version = _integer(header, _USER_VERSION_AT)
    if found_id != application_id:
        blank = found_id == 0 and 0 <= _integer(header, _PAGE_COUNT_AT) <= 1 and not _has_log(name)
        state: State = "empty" if blank else "foreign"
        return Inspection(state=state, application_id=found_id, user_version=found_version)
    return _inspect_ours(name, application_id, user_version, vfs)


def damage(connection: apsw.Connection, *, full: bool = False) -> str:
    """Return the first thing that a check of the whole database finds, "" if nothing.

    One line for a sentence; all that SQLite says goes to the log, where `INSTAR_DEBUG=1` shows it.
    The quick check (0.15 s for a million rows) looks at the structure; the full one (0.4 s) also
    compares indexes with their tables. Neither sees a changed byte in a value that no index holds.
    """
    check = "integrity_check(10)" if full else "quick_check(10)"
    try:
        rows = connection.execute(f"PRAGMA {check}").fetchall()
    except DAMAGE as error:
        return str(error)
    found = "\n".join(str(row[0]) for row in rows)
    if found == "ok":
        return ""
    log.info("%s is damaged:\n%s", shown(connection.filename), found)
    lines = [line for line in found.splitlines() if line and not line.startswith(_HEADING)]
    return lines[0] if lines else found


def connect_reader(path: AnyPath, vfs: str | None = None) -> apsw.Connection:
    """Return a connection to the database at `path`, known to be ours, that can only read.

    On a file system mounted read-only, where nobody can write, a database whose log is empty is
    read without one. Raises `ReadOnlyStore` where the folder forbids what reading needs, and
    `apsw.Error`.
    """
    name = require_utf8(path)
    try:
        return _connect(name, apsw.SQLITE_OPEN_READONLY, vfs)
    except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
        if os.path.lexists(name + "-journal"):  # a transaction cut off has to be undone first
            return _connect(name, apsw.SQLITE_OPEN_READWRITE, vfs)
        if _has_log(name) or not _mounted_read_only(name):
            if not os.access(os.path.dirname(name) or ".", os.W_OK):
                raise ReadOnlyStore(
                    f"{shown(name)} is read by way of a file that SQLite keeps beside it, and"
                    " that folder cannot be written to. Ask as its owner, or copy the state"
                    " directory to where you may write."
                ) from error
            raise
        uri = f"file:{quote(os.path.abspath(name))}?immutable=1"
        return _connect(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, vfs)


def connect_checker(path: AnyPath) -> apsw.Connection:
    """Return a connection for `damage` to a database that nobody else uses, such as a backup.

    It only reads, but is not opened read-only: SQLite skips CHECK constraints then.
    """
    return _connect(require_utf8(path), apsw.SQLITE_OPEN_READWRITE, None)


def require_utf8(path: AnyPath) -> str:
    """Return `path` as SQLite takes it, or raise `StoreError`: its names are UTF-8 only."""
    name = os.fsdecode(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise StoreError(
            f"SQLite cannot open {shown(path)}: the name is not UTF-8. Use another state directory."
        ) from None
    return name


def _classify_os(error: OSError) -> Trouble:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "full"
    if error.errno == errno.EROFS:
        return "read-only"
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EMFILE, errno.ENFILE):
        return "cant-open"
    return "io" if error.errno in (errno.EIO, errno.ESTALE) else "other"


def _connect(name: str, flags: int, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(name, flags=flags, vfs=vfs)
    try:
        policy.apply(policy.READER, connection)
        connection.pragma("schema_version")  # the file and its log are opened by the first read
    except BaseException:
        connection.close()
        raise
    return connection


def _mounted_read_only(name: str) -> bool:
    return bool(os.statvfs(os.path.dirname(name) or ".").f_flag & os.ST_RDONLY)


def _inspect_ours(name: str, expected_id: int, newest: int, vfs: str | None) -> Inspection:
    """Read the version as the log has it; the header in the file may be older."""
    try:
        connection = connect_reader(name, vfs)
        try:
            found_id = int(connection.pragma("application_id"))
            version = int(connection.pragma("user_version"))
        finally:
            connection.close()
    except DAMAGE as error:
        return Inspection(state="corrupt", application_id=expected_id, detail=str(error))
    state: State = "newer" if version > newest else "ours"
    if found_id != expected_id or (version < 1 <= newest):
        state = "corrupt"  # the log of another database, or a version that was never written
    return Inspection(state=state, application_id=found_id, user_version=version)


def _regular_size(name: str) -> int | None:
    try:
        found = os.stat(name, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFile("symlink", f"The database {shown(name)} is a symbolic link; move it here.")
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFile("not-regular", f"{shown(name)} is not a regular file.")
    return found.st_size


def _has_log(name: str) -> bool:
    try:
        return os.stat(name + "-wal").st_size > 0
    except FileNotFoundError:
        return False


def _read_header(name: str, vfs: str | None) -> bytes:
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0]
    file = apsw.VFSFile(vfs or "", require_utf8(name), flags)
    try:
        length = min(_HEADER_BYTES, file.xFileSize())
        return file.xRead(length, 0)
    finally:
        file.xClose()


def _integer(header: bytes, at: int) -> int:
    return int.from_bytes(header[at : at + 4], "big", signed=True)
