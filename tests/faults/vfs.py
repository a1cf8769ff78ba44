"""Disks that fail and disks that forget, as SQLite file layers: no root, no kernel module.

`FaultyVFS` fails the n-th operation of a kind. `RecordingVFS` writes down what reaches the disk and
makes, for any moment, a state that a power cut could have left: what was synced is there, each
write since then is there, torn or lost.

The power model: a sync flushes its own file only, deletions are immediate, a torn write keeps a
whole number of 512-byte sectors.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Literal

import apsw

Operation = Literal["read", "write", "sync", "truncate"]
SECTOR_BYTES = 512
KEPT_SHARE, TORN_SHARE = 0.5, 0.1

_Name = str | apsw.URIFilename | None


class _Killed(apsw.Error):
    """Never raised: in its place the process ends."""


class FaultyVFS(apsw.VFS):
    """Passes everything on to the real file layer, except the operation that is to fail.

    Register one per name and keep a reference; `unregister` when done.
    """

    def __init__(self, name: str) -> None:
        self.vfs_name = name
        self.done: Counter[str] = Counter()
        self._plan: tuple[Operation, int, type[apsw.Error]] | None = None
        super().__init__(name, "")

    def fail(self, operation: Operation, nth: int, error: type[apsw.Error]) -> None:
        """Let the `nth` `operation` from now (1 is the next), and all later ones, raise `error`."""
        self.done.clear()
        self._plan = (operation, nth, error)

    def heal(self) -> None:
        """Let everything work again."""
        self._plan = None

    def die(self, operation: Operation, nth: int) -> None:
        """Let the `nth` `operation` from now be where this process is killed."""
        self.fail(operation, nth, _Killed)

    def xOpen(self, name: _Name, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _FaultyFile(self, name, flags)

    def before(self, operation: Operation) -> None:
        self.done[operation] += 1
        if self._plan is None:
            return
        kind, nth, error = self._plan
        if kind == operation and self.done[operation] >= nth:
            if error is _Killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise error(f"injected: {operation} {nth}")


class _FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVFS, name: _Name, flags: list[int]) -> None:
        self._vfs = vfs
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._vfs.before("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._vfs.before("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.before("sync")
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._vfs.before("truncate")
        super().xTruncate(newsize)


class _Disk:
    """One file: what surely survives, and what is still on its way."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = bytearray(durable)
        self.pending: list[tuple[int, bytes | None]] = []  # None: truncate to the offset

    def apply(self, offset: int, data: bytes | None) -> None:
        if data is None:
            del self.durable[offset:]
            return
        if len(self.durable) < offset:
            self.durable.extend(bytes(offset - len(self.durable)))
        self.durable[offset : offset + len(data)] = data

    def sync(self) -> None:
        for change in self.pending:
            self.apply(*change)
        self.pending.clear()

    def crash(self, chance: random.Random) -> None:
        for offset, data in self.pending:
            luck = chance.random()
            if luck < KEPT_SHARE:
                self.apply(offset, data)
            elif luck < KEPT_SHARE + TORN_SHARE and data is not None:
                self.apply(offset, data[: SECTOR_BYTES * chance.randrange(len(data) // 512 + 1)])
        self.pending.clear()


class RecordingVFS(apsw.VFS):
    """Writes down every change of every database file, beginning with what is on disk now."""

    def __init__(self, name: str, directory: Path) -> None:
        self.vfs_name = name
        self._before = {
            str(path): path.read_bytes() for path in directory.iterdir() if path.is_file()
        }
        self.events: list[tuple[str, str, int, bytes]] = []
        super().__init__(name, "")

    def xOpen(self, name: _Name, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _RecordedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self.events.append(("delete", filename, 0, b""))

    def crash_image(self, moment: int, chance: random.Random) -> dict[str, bytes]:
        """Return the files by name as a power cut after `moment` events may leave them."""
        disks = {name: _Disk(content) for name, content in self._before.items()}
        for kind, name, offset, data in self.events[:moment]:
            if kind == "delete":
                disks.pop(name, None)
                continue
            disk = disks.setdefault(name, _Disk())
            if kind == "sync":
                disk.sync()
            else:
                disk.pending.append((offset, data if kind == "write" else None))
        for disk in disks.values():
            disk.crash(chance)
        return {os.path.basename(name): bytes(disk.durable) for name, disk in disks.items()}


class _RecordedFile(apsw.VFSFile):
    def __init__(self, vfs: RecordingVFS, name: _Name, flags: list[int]) -> None:
        self._vfs = vfs
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._vfs.events.append(("write", self._name, offset, bytes(data)))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._vfs.events.append(("sync", self._name, 0, b""))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._vfs.events.append(("truncate", self._name, newsize, b""))
