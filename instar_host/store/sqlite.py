"""Opening our databases: who may write, what is refused, how a schema moves forward.

Promises: a new database appears whole (schema, ids, settings) or not at all, readable by its owner
only; an existing one is opened only if it is ours, not newer than us and passes a quick check;
every migration is one transaction. It never touches a database that is not ours, never takes one
that lost its content for a new one, and never changes anything outside its own connections.

Only apsw's SQLite may be in play: a second SQLite library in this process, or a plain open and
close of the file, drops the locks of the whole process.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence

import apsw
from msgspec import Struct

from instar_host.store import diagnosis, policy
from instar_host.store.errors import (
    AnyPath,
    CorruptStore,
    ForeignDatabase,
    MissingStore,
    NetworkFilesystem,
    NewerSchema,
    ReadOnlyStore,
    shown,
)
from instar_host.store.files import ensure_private_dir, sync_directory
from instar_host.store.filesystems import is_network_filesystem
from instar_host.store.policy import Synchronous

_COMPANIONS = ("-journal", "-wal", "-shm")
_WAL_PAGES_A_CHECKPOINT = 1_000


class Migration(Struct, frozen=True, kw_only=True):
    """One step of a schema: the n-th migration of a database leads to `user_version` n.

    `script` is SQL (any number of statements) or a function that works on the connection; either
    runs inside one transaction and must not begin or end one.
    """

    title: str
    script: str | Callable[[apsw.Connection], None]


def open_writer(
    path: AnyPath,
    *,
    application_id: int,
    migrations: Sequence[Migration],
    synchronous: Synchronous,
    check: bool = True,
    fully: bool = False,
    allow_network: bool = False,
    vfs: str | None = None,
) -> apsw.Connection:
    """Open the database at `path` for writing, made or migrated as needed. One writer a database.

    `check` runs the quick check (0.15 s for a million rows), `fully` the full one in its place,
    which sees also an index that left rows out. On a network file system, where WAL is
    unsafe, "NORMAL" falls back to a rollback journal and an exclusive lock, so readers have to
    wait; "FULL" is refused unless `allow_network`.

    Raises `ForeignDatabase` (untouched), `NewerSchema` (untouched), `CorruptStore` (also for a file
    that lost its content: set it aside, then restore or begin anew), `NetworkFilesystem`,
    `ReadOnlyStore`, `UnsupportedSQLite`, and `apsw.Error` or `OSError` for what
    `diagnosis.classify` names.
    """
    policy.check_version()
    if not migrations:
        raise ValueError("a database needs at least one migration, or it could not be told apart")
    name = diagnosis.require_utf8(path)
    shared = is_network_filesystem(name)
    if shared and synchronous == "FULL" and not allow_network:
        raise NetworkFilesystem(
            f"{shown(path)} lies on a network file system, which cannot keep what was acknowledged"
            " safe. Use a state directory on a local disk."
        )
    newest = len(migrations)
    found = diagnosis.inspect(name, application_id=application_id, user_version=newest, vfs=vfs)
    if found.state == "missing":
        _create(name, application_id, migrations, vfs)
    else:
        _refuse(name, found, newest)
        _keep_private(name)
    connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    try:
        _prepare(connection, name, synchronous, shared=shared)
        if check:
            _check(connection, name, fully=fully)
        _migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: AnyPath, *, application_id: int, vfs: str | None = None) -> apsw.Connection:
    """Open the database at `path` for reading only; a newer schema is accepted.

    Fetch all rows of a query at once: a cursor left open keeps the log from being reset. Raises
    `MissingStore`, `ForeignDatabase`, `CorruptStore`, and `apsw.Error` or `OSError` as above.
    """
    policy.check_version()
    name = diagnosis.require_utf8(path)
    newest = 1 << 31
    found = diagnosis.inspect(name, application_id=application_id, user_version=newest, vfs=vfs)
    if found.state == "missing":
        raise MissingStore(f"There is no database at {shown(path)} yet.")
    _refuse(name, found, newest)
    return diagnosis.connect_reader(name, vfs)


@contextlib.contextmanager
def write_transaction(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    """Hold the write lock for the block; commit at its end, roll back on any exception.

    The lock is taken at once (`BEGIN IMMEDIATE`), so that a transaction that has read never fails
    to become a writer. A commit that raises was not acknowledged; after an `apsw.IOError` close the
    connection and open it again, do not try the same commit again on it.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back by itself after some errors
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")
        raise


def truncate_log(connection: apsw.Connection) -> bool:
    """Copy the log into the database and cut it to nothing; false if a reader stands in the way.

    For idle moments of the writer: a log that a long reader let grow stays that large otherwise.
    """
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return False
    return True


def close_writer(connection: apsw.Connection) -> None:
    """Refresh the planner's statistics where they are stale and nobody else writes, then close."""
    policy.wait_for_nobody(connection)
    with contextlib.suppress(apsw.Error):
        connection.execute("PRAGMA optimize")
    connection.close()


def _refuse(name: str, found: diagnosis.Inspection, newest: int) -> None:
    if found.state == "foreign":
        raise ForeignDatabase(
            f"{shown(name)} is another program's database (application id {found.application_id});"
            " it was left untouched. Move it away, or use another state directory."
        )
    if found.state == "newer":
        raise NewerSchema(
            f"{shown(name)} was written by a newer version (schema {found.user_version}, this one"
            f" knows {newest}). Upgrade this program; reading still works."
        )
    if found.state in ("empty", "corrupt"):
        raise _corrupt(name, found.detail or "the database has lost its content")


def _prepare(
    connection: apsw.Connection, name: str, synchronous: Synchronous, *, shared: bool
) -> None:
    try:
        if connection.readonly("main"):
            raise ReadOnlyStore(f"{shown(name)} cannot be written to. Check its mode and its disk.")
        policy.apply(policy.writer_rules(synchronous), connection)
        _choose_journal(connection, shared=shared)
    except diagnosis.DAMAGE as error:
        raise _corrupt(name, str(error)) from error


def _check(connection: apsw.Connection, name: str, *, fully: bool) -> None:
    if damaged := diagnosis.damage(connection, full=fully):
        raise _corrupt(name, damaged)


def _corrupt(name: str, detail: str) -> CorruptStore:
    return CorruptStore(
        f"{shown(name)} is damaged ({detail}). Set it aside and restore the newest backup."
    )


def _create(
    name: str, application_id: int, migrations: Sequence[Migration], vfs: str | None
) -> None:
    """Build the database under another name and link it into place once it is whole."""
    directory = os.path.dirname(name) or "."
    ensure_private_dir(directory)
    draft = name + ".new"
    for leftover in (draft, *(draft + suffix for suffix in _COMPANIONS)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(leftover)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    os.chmod(draft, 0o600)  # whatever the umask took away
    connection = apsw.Connection(draft, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    try:
        policy.apply(policy.writer_rules("FULL"), connection)
        connection.pragma("auto_vacuum", "INCREMENTAL")  # has no effect once WAL is set
        with write_transaction(connection):
            connection.pragma("application_id", application_id)
            for step in migrations:
                _run(connection, step)
            connection.pragma("user_version", len(migrations))
    finally:
        connection.close()
    with contextlib.suppress(FileExistsError):  # another process was quicker: theirs is as good
        _link(draft, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)
    sync_directory(directory)


def _link(draft: str, name: str) -> None:
    try:
        os.link(draft, name)
    except PermissionError:  # a file system without hard links
        os.rename(draft, name)


def _keep_private(name: str) -> None:
    """Take away what others may do with a file of ours that an older program left readable."""
    for path in (name, name + "-wal", name + "-shm"):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            found = os.stat(path, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                os.chmod(path, 0o600)


def _choose_journal(connection: apsw.Connection, *, shared: bool) -> None:
    if shared:
        connection.pragma("locking_mode", "EXCLUSIVE")
        connection.pragma("journal_mode", "DELETE")
    else:
        connection.pragma("journal_mode", "WAL")
        connection.wal_autocheckpoint(_WAL_PAGES_A_CHECKPOINT)


def _migrate(connection: apsw.Connection, migrations: Sequence[Migration]) -> None:
    for version in range(int(connection.pragma("user_version")) + 1, len(migrations) + 1):
        with write_transaction(connection):
            if int(connection.pragma("user_version")) >= version:
                continue  # another process has been here since
            _run(connection, migrations[version - 1])
            connection.pragma("user_version", version)


def _run(connection: apsw.Connection, step: Migration) -> None:
    if isinstance(step.script, str):
        connection.execute(step.script).fetchall()  # a row would hold back what follows it
    else:
        step.script(connection)
