"""A snapshot: a verified copy of the ledger, where somebody asked for one.

Promises that it replaces nothing but an earlier copy, so that a name typed wrong costs no file.
Never touches the ledger itself.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import apsw

from instar_host.errors import reason
from instar_host.store import backups, diagnosis
from instar_host.store.errors import StoreError, shown
from instar_tokenledger.errors import BadQuery, LedgerError
from instar_tokenledger.opening import unreadable
from instar_tokenledger.schema import APPLICATION_ID, MIGRATIONS


def write_snapshot(reader: apsw.Connection, state_dir: Path, target: str) -> None:
    """Write a copy of the ledger that `reader` reads to `target`; the reader is closed.

    Raises LedgerError; then nothing was replaced.
    """
    try:
        _require_replaceable(target, reader.filename)
        backups.backup(reader, target)
    except StoreError as error:
        raise LedgerError(str(error)) from error
    except OSError as error:
        raise LedgerError(
            f"{shown(target)} cannot be written: {error.strerror}. Name a file in a folder that"
            " is there and yours."
        ) from error
    except apsw.Error as error:
        if diagnosis.classify(error) == "corrupt":  # nothing else than the ledger is read
            raise LedgerError(unreadable(state_dir, error)) from error
        raise LedgerError(f"{shown(target)} cannot be written: {reason(error)}") from error
    finally:
        reader.close()


def _require_replaceable(target: str, ledger: str) -> None:
    """Raises LedgerError unless nothing lies at `target`, or nothing but a copy of a ledger."""
    if not target:
        raise BadQuery("Name the file that the copy goes to.")
    try:
        there = os.stat(target, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(there.st_mode):
        kind = "a folder" if stat.S_ISDIR(there.st_mode) else "no plain file"
        raise LedgerError(f"{shown(target)} cannot be written: it is {kind}. Name another file.")
    if os.path.samestat(there, os.stat(ledger)):  # before it is opened: a close drops its locks
        raise LedgerError(f"{shown(target)} is the ledger itself. Name another file.")
    found = diagnosis.inspect(target, application_id=APPLICATION_ID, user_version=len(MIGRATIONS))
    if found.state != "empty" and found.application_id != APPLICATION_ID:
        raise LedgerError(
            f"{shown(target)} is there already, and no copy of a ledger: it is left alone. Name"
            " another file, or move that one away."
        )
