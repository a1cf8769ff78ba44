"""Verified copies of a database: made, checked, only then put into place, and found again.

Promises: a file that bears a backup's name passed the full check and has its source's ids; a
failed backup replaces nothing. It never copies a database file by its bytes (a copy of a database
in use is torn, and a plain open drops locks), and removes an old backup only after a new one.
"""

from __future__ import annotations

import contextlib
import os
import re
from datetime import UTC, datetime

import apsw

from instar_host.store import diagnosis
from instar_host.store.errors import AnyPath, BackupFailed, shown
from instar_host.store.files import ensure_private_dir, sync_directory

_SUFFIXES = ("", "-journal", "-wal", "-shm")
_DAILY = re.compile(r"(.+)-(\d{4}-\d{2}-\d{2})\.db")


def backup(connection: apsw.Connection, destination: AnyPath) -> None:
    """Write a compact copy of the database of `connection` to `destination`, verified, mode 0600.

    The copy is one consistent moment and a single file, without a log. An existing database at
    `destination` is replaced. Use a reader of its own where the writer must not wait; not inside a
    transaction. Raises `BackupFailed`, and `apsw.Error` or `OSError` as `diagnosis.classify` names
    them; then nothing was replaced.
    """
    target = diagnosis.require_utf8(destination)
    for suffix in _SUFFIXES[1:]:
        if os.path.lexists(target + suffix):
            raise BackupFailed(
                f"{shown(target + suffix)} lies beside the destination and would be taken for part"
                " of the copy. Remove it, or choose another name."
            )
    directory = os.path.dirname(target) or "."
    draft = os.path.join(directory, f".{os.path.basename(target)}.new")
    _remove(draft)  # what a crash may have left
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        os.chmod(draft, 0o600)
        _copy(connection, draft)
        _verify(connection, draft)
        _sync(draft)
        os.replace(draft, target)
    finally:
        _remove(draft)
    sync_directory(directory)


def daily_backup(
    connection: apsw.Connection, directory: AnyPath, stem: str, now_ms: int, keep: int = 3
) -> str | None:
    """Make the backup of the UTC day of `now_ms` as `<stem>-<day>.db`; None if it is there already.

    Older ones beyond `keep` are removed after the new one is in place, and before them those of
    later days, which a clock that was ahead has left. Raises as `backup` does.
    """
    folder = os.fsdecode(directory)
    ensure_private_dir(folder)
    day = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d")
    target = os.path.join(folder, f"{stem}-{day}.db")
    if os.path.lexists(target):
        return None
    backup(connection, target)
    rotate_backups(folder, stem, keep, today=target)
    return target


def rotate_backups(
    directory: AnyPath, stem: str, keep: int = 3, today: str | None = None
) -> list[str]:
    """Remove the oldest daily backups beyond `keep` (at least 1), those after `today`'s first;
    return what was removed."""
    found = _dailies(directory, stem)
    if today is not None:
        found.sort(key=lambda path: path > today)
    surplus = found[max(1, keep) :]
    for path in surplus:
        os.unlink(path)
    return surplus


def newest_good_backup(directory: AnyPath, stem: str, *, application_id: int) -> str | None:
    """Return the newest daily backup that still passes the full check, or None."""
    for path in _dailies(directory, stem):
        with contextlib.suppress(apsw.Error):
            checker = diagnosis.connect_checker(path)
            try:
                ours = int(checker.pragma("application_id")) == application_id
                if ours and not diagnosis.damage(checker, full=True):
                    return path
            finally:
                checker.close()
    return None


def restore(source: AnyPath, destination: AnyPath) -> None:
    """Copy the backup `source` to `destination`, where nothing may lie; the backup stays.

    Raises `BackupFailed` if something lies there (set it aside first), else as `backup` does.
    """
    target = os.fsdecode(destination)
    if os.path.lexists(target):
        raise BackupFailed(f"{shown(target)} still exists; set it aside before restoring.")
    reader = diagnosis.connect_reader(source)
    try:
        backup(reader, target)
    finally:
        reader.close()


def _dailies(directory: AnyPath, stem: str) -> list[str]:
    """Return the daily backups of `stem`, newest first."""
    folder = os.fsdecode(directory)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [match for name in names if (match := _DAILY.fullmatch(name)) and match[1] == stem]
    return [os.path.join(folder, m[0]) for m in sorted(found, key=lambda m: m[2], reverse=True)]


def _remove(draft: str) -> None:
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft + suffix)


def _copy(connection: apsw.Connection, draft: str) -> None:
    reading_only = bool(connection.pragma("query_only"))  # which forbids writing the copy, too
    if reading_only:
        connection.pragma("query_only", "OFF")
    try:
        connection.execute("VACUUM INTO ?", (draft,))
    finally:
        if reading_only:
            connection.pragma("query_only", "ON")


def _verify(connection: apsw.Connection, draft: str) -> None:
    copy = diagnosis.connect_checker(draft)
    try:
        for name in ("application_id", "user_version"):
            if copy.pragma(name) != connection.pragma(name):
                raise BackupFailed(f"The copy of {shown(connection.filename)} has another {name}.")
        if damaged := diagnosis.damage(copy, full=True):
            raise BackupFailed(
                f"The copy of {shown(connection.filename)} does not verify ({damaged})."
            )
    finally:
        copy.close()


def _sync(draft: str) -> None:
    """Sync through SQLite's file layer, like every touch of a database file."""
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0]
    file = apsw.VFSFile("", draft, flags)
    try:
        file.xSync(apsw.SQLITE_SYNC_FULL)
    finally:
        file.xClose()
