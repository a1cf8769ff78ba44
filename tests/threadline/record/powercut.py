"""What a power cut may leave of files that are written with `os` calls: recorded, then cut.

The power model: a sync of a file makes its bytes sure, a sync of a directory its names. Of what was
written to a file since, any suffix may be gone, cut at any byte, and files lose independently of
each other. Names (creations, renames, removals) come back in their order, as far as they came.
A new directory is there at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Image = dict[str, bytes]
"""The files that are there after the power is back: path below the folder, bytes."""


_CALLS = {
    "open": "opened", "write": "wrote", "pwrite": "wrote_at", "ftruncate": "truncated",
    "fsync": "synced", "fdatasync": "synced", "rename": "renamed", "replace": "renamed",
    "unlink": "unlinked",
}  # fmt: skip


class Write(NamedTuple):
    """Bytes to a place in a file; `data` None: cut the file there."""

    at: int
    data: bytes | None


class _File:
    """One file: what surely survives, and what is still on its way."""

    def __init__(self, durable: bytes) -> None:
        self.durable = durable
        self.pending: list[Write] = []

    def bytes(self, count: int, torn: int | None = None) -> bytes:
        """With the first `count` writes done, and `torn` bytes of the next one."""
        found = bytearray(self.durable)
        for at, data in self.pending[:count]:
            _apply(found, at, data)
        if torn is not None:
            at, data = self.pending[count]
            _apply(found, at, data and data[:torn])
        return bytes(found)


class Recorder:
    """Writes down every change below one folder while it is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = os.path.realpath(folder)
        self.events: list[tuple[Any, ...]] = []
        there = sorted(path for path in folder.rglob("*") if path.is_file())
        self._before = [(self._below(path), path.read_bytes()) for path in there]
        self._now = {name: number for number, (name, _) in enumerate(self._before)}
        self._count = len(self._before)
        self._open: dict[int, int | None] = {}
        """Descriptors of files below the folder, by number; None: of a directory."""
        self._real: dict[str, Callable[..., Any]] = {}

    @property
    def moment(self) -> int:
        """How much has happened by now."""
        return len(self.events)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Listen to the calls of `os` that change files."""
        self._real = {name: getattr(os, name) for name in _CALLS}
        for name, method in _CALLS.items():
            patch.setattr(os, name, getattr(self, method))

    def _number(self, name: str) -> int:
        if name not in self._now:
            self._now[name] = self._count
            self._count += 1
            self.events.append(("create", name, self._now[name]))
        return self._now[name]

    def _note(self, descriptor: int, at: int, data: bytes | None) -> None:
        number = self._open.get(descriptor)
        if number is not None:
            self.events.append(("write", number, at, data))

    def opened(self, path: Any, flags: int, *rest: Any, **more: Any) -> int:
        descriptor = int(self._real["open"](path, flags, *rest, **more))
        name = self._below(path)
        self._open.pop(descriptor, None)
        if os.path.isdir(path) and (name or os.fsdecode(path) == self.folder):
            self._open[descriptor] = None
        elif name:
            self._open[descriptor] = self._number(name)
        return descriptor

    def wrote(self, descriptor: int, data: bytes) -> int:
        self._note(descriptor, os.fstat(descriptor).st_size, bytes(data))
        return int(self._real["write"](descriptor, data))

    def wrote_at(self, descriptor: int, data: bytes, at: int) -> int:
        self._note(descriptor, at, bytes(data))
        return int(self._real["pwrite"](descriptor, data, at))

    def truncated(self, descriptor: int, size: int) -> None:
        self._note(descriptor, size, None)
        self._real["ftruncate"](descriptor, size)

    def synced(self, descriptor: int) -> None:
        if descriptor in self._open:
            number = self._open[descriptor]
            self.events.append(("sync names",) if number is None else ("sync", number))

    def renamed(self, old: Any, new: Any) -> None:
        self._real["rename"](old, new)
        if self._below(old):
            self._now[self._below(new)] = self._now.pop(self._below(old))
            self.events.append(("rename", self._below(old), self._below(new)))

    def unlinked(self, path: Any) -> None:
        self._real["unlink"](path)
        if self._below(path):
            del self._now[self._below(path)]
            self.events.append(("unlink", self._below(path)))

    def images(self, stride: int = 1) -> Iterator[tuple[Image, int]]:
        """Every different (image, the last moment at which the cut may leave it).

        `stride`: tear writes at every so-many-th byte only, and at their first and last.
        """
        last: dict[tuple[tuple[str, bytes], ...], int] = {}
        for moment in range(len(self.events) + 1):
            for image in self._cuts(moment, stride):
                last[tuple(sorted(image.items()))] = moment
        for content, moment in last.items():
            yield dict(content), moment

    def _cuts(self, moment: int, stride: int) -> Iterator[Image]:
        """What a cut right after `moment` events may leave."""
        files, names, waiting = self._replayed(moment)
        for known in range(len(waiting) + 1):
            here = _renamed(names, waiting[:known])
            for everything in (False, True):
                rest = {n: f.bytes(len(f.pending) if everything else 0) for n, f in files.items()}
                for number, file in files.items():
                    for data in _torn(file, stride):
                        content = {**rest, number: data}
                        yield {name: content[number] for name, number in here.items()}
                yield {name: rest[number] for name, number in here.items()}

    def _replayed(
        self, moment: int
    ) -> tuple[dict[int, _File], dict[str, int], list[tuple[Any, ...]]]:
        """(files by number, sure names, changes of names that are on their way)."""
        names = {name: number for number, (name, _) in enumerate(self._before)}
        files = {number: _File(data) for number, (_, data) in enumerate(self._before)}
        waiting: list[tuple[Any, ...]] = []
        for kind, *what in self.events[:moment]:
            if kind == "write":
                number, at, data = what
                files[number].pending.append(Write(at, data))
            elif kind == "sync":
                file = files[what[0]]
                file.durable = file.bytes(len(file.pending))
                file.pending.clear()
            elif kind == "sync names":
                names = _renamed(names, waiting)
                waiting.clear()
            else:
                if kind == "create":
                    files[what[1]] = _File(b"")
                waiting.append((kind, *what))
        return files, names, waiting

    def _below(self, path: Any) -> str:
        whole = os.path.realpath(os.fsdecode(path))
        return os.path.relpath(whole, self.folder) if whole.startswith(self.folder + os.sep) else ""


def _apply(found: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del found[at:]
        return
    found.extend(bytes(max(0, at - len(found))))
    found[at : at + len(data)] = data


def _torn(file: _File, stride: int) -> Iterator[bytes]:
    for count, (_, data) in enumerate(file.pending):
        yield file.bytes(count)
        size = len(data or b"")
        for torn in sorted({*range(1, size, stride), size - 1} & set(range(1, size))):
            yield file.bytes(count, torn)
    yield file.bytes(len(file.pending))


def _renamed(names: dict[str, int], changes: list[tuple[Any, ...]]) -> dict[str, int]:
    found = dict(names)
    for kind, name, *what in changes:
        if kind == "create":
            found[name] = what[0]
        elif kind == "rename":
            if name in found:
                found[what[0]] = found.pop(name)
        else:
            found.pop(name, None)
    return found
