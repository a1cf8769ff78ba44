"""Hermes Agent as a token source: its running totals, copied out of its database from outside.

Hermes keeps one row a session, model and provider, and only ever raises its counters. A process of
its own reads those rows now and then, because a host's database must never be opened inside the
host by a second SQLite; what has changed is appended to a file of ours, which is read like any
transcript. A file that has grown over `COMPACT_BYTES` is written anew with the last reading of each
total, which is all that a sum needs. Never writes to anything of Hermes, never adds a reading to
another one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from instar_host.store.files import ensure_private_dir, write_atomic
from instar_host.store.tail import Lines, iter_lines
from instar_tokenledger.errors import LedgerError
from instar_tokenledger.sources.hermes_database import Total
from instar_tokenledger.usage import MAX_COUNT, Counters, Decoded, TokenSource, UsageRow

NAME = "hermes"
DATABASE = "state.db"
FOLDER = "hermes"
FILE = "usage.jsonl"
READER = "instar_tokenledger.sources.hermes_database"
READ_S = 20.0
"""How long a reader may take; a longer one is ended and tried at the next tick."""
COMPACT_BYTES = 16 << 20
"""Some 50,000 readings. What is written anew may be larger; then it may double first."""
UNREADABLE = "a reading that is none"
NO_READING = (msgspec.DecodeError, ValueError, RecursionError)
"""What such a reading raises."""


def hermes(folder: Path) -> TokenSource:
    """The source over the readings in `folder`."""
    return TokenSource(
        name=NAME,
        roots=lambda: [folder],
        selects=lambda path: path == FILE.encode(),
        decode=decode,
        semantics="cumulative",
    )


def decode(lines: Lines, _state: bytes) -> Decoded:
    """A row a reading."""
    rows: list[UsageRow] = []
    bad = 0
    for offset, line in iter_lines(lines):
        try:
            rows.append(_row(msgspec.json.decode(line, type=Total), offset))
        except NO_READING:
            bad += bool(line)
    return Decoded(rows=rows, skips={UNREADABLE: bad} if bad else {})


class HermesReadings:
    """Keeps the readings up to date. One thread at a time, in the process with the lease."""

    def __init__(self, home: Callable[[], Path | None], folder: Path) -> None:
        self._home = home
        self._folder = folder
        self._known: dict[tuple[str, ...], Total] | None = None
        self._stamp: object = None
        self._compacted_bytes = 0

    def refresh(self) -> bool:
        """Append what has changed in Hermes's database; true when something has.

        One or two stats when nothing was written there. Raises LedgerError when it cannot be read,
        OSError when ours cannot be written.
        """
        home = self._home()
        path = home / DATABASE if home is not None else None
        stamp = _stamp(path) if path is not None else None
        if path is None or stamp is None or stamp == self._stamp:
            return False
        if self._known is None:
            self._known = {one.key: one for one in _kept(self._folder / FILE)}
        fresh = [one for one in _read(path) if self._known.get(one.key) != one]
        if fresh:
            self._known.update((one.key, one) for one in fresh)
            try:
                self._keep(fresh)
            except BaseException:
                self._known = None  # the file says what was kept
                raise
        self._stamp = stamp
        return bool(fresh)

    def _keep(self, fresh: list[Total]) -> None:
        ensure_private_dir(self._folder)
        path = self._folder / FILE
        if _append(path, _lines(fresh)) <= max(COMPACT_BYTES, 2 * self._compacted_bytes):
            return
        whole = _lines((self._known or {}).values())
        write_atomic(path, whole)
        self._compacted_bytes = len(whole)


def _lines(totals: Iterable[Total]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in totals)


def _append(path: Path, data: bytes) -> int:
    """Append whole lines, also after one that a crash cut off; the size of the file."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        file.write(data)
    return size + len(data)


def _read(path: Path) -> list[Total]:
    """The rows of Hermes's database, read by a process that ends at once."""
    import subprocess  # most programs never get here, and it costs 2 ms

    command = [sys.executable, "-P", "-m", READER, os.fspath(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=READ_S, check=False)
    except subprocess.TimeoutExpired:
        raise LedgerError(f"Reading {path} took longer than {READ_S:g} s.") from None
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise LedgerError(f"{path} cannot be read: {why[-1][:200] if why else done.returncode}")
    return [msgspec.json.decode(line, type=Total) for line in done.stdout.splitlines()]


def _kept(path: Path) -> list[Total]:
    """The readings that are kept; one cut off by a crash is left out, and read again."""
    found: list[Total] = []
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    found.append(msgspec.json.decode(line, type=Total))
                except NO_READING:
                    continue
    except FileNotFoundError:
        return []
    return found


def _row(total: Total, offset: int) -> UsageRow:
    def count(value: int) -> int:
        return min(max(value, 0), MAX_COUNT)

    return UsageRow(
        session=total.session,
        request_id="|".join(total.key),
        at_ms=count(total.at_ms),
        offset=offset,
        model=total.model,
        project=total.folder,
        branch=total.branch,
        agent=total.task,
        counters=Counters(
            input=count(total.input),
            output=count(total.output),
            cache_create=count(total.cache_write),
            cache_read=count(total.cache_read),
            thinking=min(count(total.reasoning), count(total.output)),
        ),
    )


def _stamp(path: Path) -> object:
    """What changes whenever something is written; None where there is no database."""
    found: list[tuple[int, int, int]] = []
    for name in (path, path.with_name(path.name + "-wal")):
        try:
            said = os.stat(name)
        except OSError:
            continue
        found.append((said.st_ino, said.st_size, said.st_mtime_ns))
    return tuple(found) or None
