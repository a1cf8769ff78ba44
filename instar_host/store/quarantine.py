"""Setting a damaged database aside, with its log, so that a person can still look at it.

Promises: database, log and index of the log move together, the database first, so that a crash in
between leaves nothing that opens as if it were whole. It never looks into the files, and deletes
nothing but the oldest beyond `keep`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from datetime import UTC, datetime

from instar_host.store.errors import AnyPath, MissingStore, shown
from instar_host.store.files import ensure_private_dir, sync_directory

_SUFFIXES = ("", "-journal", "-wal", "-shm")
_UNSAFE = re.compile(r"[^a-z0-9]+")
_OURS = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[a-z0-9-]+")


def quarantine(path: AnyPath, reason: str, now_ms: int, keep: int = 2) -> str:
    """Move the database at `path` to `quarantine/<utc>-<reason>/` beside it; return that directory.

    Every connection to it must be closed. Of this database's earlier ones the newest are kept, so
    that `keep` remain in all. Raises `MissingStore` if nothing is there, and `OSError`.
    """
    name = os.fsdecode(path)
    present = [suffix for suffix in _SUFFIXES if os.path.lexists(name + suffix)]
    if not present:
        raise MissingStore(f"There is nothing at {shown(name)} to set aside.")
    parent = os.path.join(os.path.dirname(name), "quarantine")
    ensure_private_dir(parent)
    target = _new_directory(parent, reason, now_ms)
    for suffix in present:
        os.rename(name + suffix, os.path.join(target, os.path.basename(name) + suffix))
    sync_directory(target)
    sync_directory(os.path.dirname(name) or ".")
    _prune(parent, os.path.basename(name), keep)
    return target


def _new_directory(parent: str, reason: str, now_ms: int) -> str:
    word = _UNSAFE.sub("-", reason.lower()).strip("-") or "unknown"
    while True:  # two in one millisecond: the later one says a later millisecond
        instant = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%dT%H%M%S")
        target = os.path.join(parent, f"{instant}.{now_ms % 1000:03d}Z-{word[:60]}")
        try:
            os.mkdir(target, 0o700)
        except FileExistsError:
            now_ms += 1
        else:
            return target


def _prune(parent: str, database: str, keep: int) -> None:
    mine = sorted(
        name
        for name in os.listdir(parent)
        if _OURS.fullmatch(name)
        and any(os.path.lexists(os.path.join(parent, name, database + end)) for end in _SUFFIXES)
    )
    for name in mine[: max(0, len(mine) - max(1, keep))]:
        with contextlib.suppress(OSError):
            shutil.rmtree(os.path.join(parent, name))
