"""Opening the ledger's file whatever lies there: nothing, ours, an older program's, or a wreck.

The ledger outlives its transcripts, so it is never thrown away: a damaged one is set aside and
the newest good backup takes its place, after which what was read since is read again. Somebody
else's database is refused untouched.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from instar_host.clock import Clock
from instar_host.errors import reason
from instar_host.store import backups, diagnosis, soundness, sqlite
from instar_host.store.errors import BackupFailed, CorruptStore, shown
from instar_host.store.files import ensure_private_dir
from instar_tokenledger import journal
from instar_tokenledger.schema import APPLICATION_ID, MIGRATIONS

FOLDER = "server-data"
STEM = "token-ledger"


def ledger_path(state_dir: Path) -> str:
    """Where the ledger of a state directory lies."""
    return os.path.join(state_dir, FOLDER, f"{STEM}.db")


def backup_folder(state_dir: Path) -> str:
    """Where its daily backups lie."""
    return os.path.join(state_dir, FOLDER, "backups")


def open_ledger(state_dir: Path, clock: Clock) -> tuple[apsw.Connection, list[str]]:
    """The writer's connection, and sentences about anything unusual that was done to get it.

    Raises `StoreError`, `LedgerError`, `apsw.Error` or `OSError`; every one is worth trying again
    later.
    """
    path = ledger_path(state_dir)
    ensure_private_dir(os.path.dirname(path))
    notes: list[str] = []
    found = diagnosis.inspect(path, application_id=APPLICATION_ID, user_version=len(MIGRATIONS))
    if found.state == "foreign":
        notes += _take_over_old(path)
    if found.state == "missing":
        notes += _restore_missing(path, state_dir, clock)
    try:
        return _open(path, clock), notes
    except CorruptStore as error:
        notes.append(str(error))
    notes.append(_replace(path, state_dir, clock))
    return _open(path, clock), notes


def unreadable(state_dir: Path, error: BaseException) -> str:
    """Why the ledger cannot be read, in a sentence, with the command that mends it."""
    if isinstance(error, CorruptStore):
        said = f"{error} `instar tokens scan` does both."
    elif diagnosis.classify(error) in ("corrupt", "not-a-database"):
        said = (
            f"{shown(ledger_path(state_dir))} is damaged ({error}). `instar tokens scan` sets it"
            " aside and restores the newest backup."
        )
    else:
        said = reason(error)
    return f"The ledger cannot be read: {said}"


def doubt(state_dir: Path, error: BaseException) -> None:
    """Have the ledger checked when it is opened next, where `error` says that it is damaged."""
    trouble = diagnosis.classify(error)
    if trouble in ("corrupt", "not-a-database") or isinstance(error, BackupFailed):
        soundness.doubted(ledger_path(state_dir))


def _open(path: str, clock: Clock) -> apsw.Connection:
    """Open for writing, checked unless nobody but us has touched it since today's check."""
    schema, now_ms = len(MIGRATIONS), clock.now_ms()
    sound = soundness.is_sound(path, schema=schema, now_ms=now_ms)
    connection = sqlite.open_writer(
        path,
        application_id=APPLICATION_ID,
        migrations=MIGRATIONS,
        synchronous="NORMAL",
        check=not sound,
        fully=soundness.is_doubted(path),
    )
    connection.wal_autocheckpoint(journal.PAGES_A_CHECKPOINT)
    if not sound:
        soundness.checked(path, schema=schema, now_ms=now_ms)
    return connection


def _take_over_old(path: str) -> list[str]:
    from instar_tokenledger.old_ledger import is_old_ledger, take_over

    if not is_old_ledger(path):
        return []
    return [f"Took over the ledger of instar 0.28; the old file is now {shown(take_over(path))}."]


def _restore_missing(path: str, state_dir: Path, clock: Clock) -> list[str]:
    """A ledger that is gone while a backup is there was lost half-way through being replaced, or
    by mistake: what its transcripts no longer hold is in the backup alone."""
    source = backups.newest_good_backup(
        backup_folder(state_dir), STEM, application_id=APPLICATION_ID
    )
    if source is None:
        return []
    if any(os.path.lexists(path + suffix) for suffix in ("-journal", "-wal", "-shm")):
        from instar_host.store.quarantine import quarantine

        quarantine(path, "left behind", clock.now_ms())
    backups.restore(source, path)
    sentence = (
        f"The ledger was missing and {shown(source)} was restored. To begin anew, move the"
        " backups away as well."
    )
    return [sentence]


def _replace(path: str, state_dir: Path, clock: Clock) -> str:
    """Set the damaged ledger aside and put the newest good backup, if any, in its place."""
    from instar_host.store.quarantine import quarantine

    aside = quarantine(path, "corrupt", clock.now_ms())
    source = backups.newest_good_backup(
        backup_folder(state_dir), STEM, application_id=APPLICATION_ID
    )
    if source is None:
        return (
            f"It was set aside as {shown(aside)}. There is no good backup, so the ledger begins"
            " anew; what the transcripts still hold is read again."
        )
    backups.restore(source, path)
    return f"It was set aside as {shown(aside)} and {shown(source)} was restored."
