"""The errors of the storage layer: each says what is wrong, where, and what to do.

They promise to be printable: a path is shown with control and undecodable bytes escaped, and a
secret never stands in a message. Faults of the disk itself stay `OSError` or `apsw.Error`;
`instar_host.store.diagnosis.classify` names those.
"""

# The names say what is wrong; "Error" on each would say nothing more.
# ruff: noqa: N818

from __future__ import annotations

import os
from typing import Literal

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A path as the operating system takes it; bytes where the name may not be UTF-8."""

UnsafeReason = Literal["symlink", "not-regular", "outside", "permissions", "owner", "size"]


def shown(path: AnyPath) -> str:
    """Return `path` as printable text: no control, bidi or undecodable byte survives unescaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class StoreError(Exception):
    """Something is wrong with stored state, and a person or the caller can act on it."""


class UnsupportedSQLite(StoreError):
    """The linked SQLite has a known corruption bug, or is too old."""


class MissingStore(StoreError):
    """There is no database at the path."""


class ForeignDatabase(StoreError):
    """The file is somebody else's database; it was left untouched."""


class NewerSchema(StoreError):
    """A newer version of this program wrote the database; reading is fine, writing is not."""


class CorruptStore(StoreError):
    """The database is damaged, empty or not a database: set it aside and restore a backup."""


class ReadOnlyStore(StoreError):
    """The database or its file system cannot be written to; reading still works."""


class NetworkFilesystem(StoreError):
    """The database lies on a file system where its durability promise cannot be kept."""


class BackupFailed(StoreError):
    """A backup could not be made or did not verify; nothing was replaced."""


class UnsafeFile(StoreError):
    """A file that must not be read or written as it stands; `reason` says why in one word."""

    def __init__(self, reason: UnsafeReason, message: str) -> None:
        super().__init__(message)
        self.reason: UnsafeReason = reason
