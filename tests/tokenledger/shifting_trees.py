"""A tree of transcripts that somebody changes while it is looked at, between any two system calls.

Every change gives the folders that it touches a time of their own, as a disk with a fine clock
would, so that what a look finds depends on the order of things alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tokenledger.homes import said

FOLDERS = ("p", "q", "p/s", "p/s/subagents", "p/s/subagents/x", "q/s", "q/s/subagents")
FILES = (
    *(f"{folder}/{name}.jsonl" for folder in "pq" for name in "ab"),
    *(f"{folder}/agent-{n}.jsonl" for folder in FOLDERS if "subagents" in folder for n in "12"),
)
ERRORS = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EINTR)
CALLS = ("stat", "lstat", "scandir", "open", "pread", "fstat")


class ShiftingTree:
    """A root below `folder`, and what happens to it; `chance` says what and when."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.root = folder / "projects"
        self.written = 0
        """Lines that count, ever."""
        self._outside = folder / "outside"
        self._away = folder / "away"
        self._chance = chance
        self._times = 0
        self._kept = 0
        self._meddling = False
        self.root.mkdir()
        self._outside.mkdir()

    def change(self) -> bytes:
        """One thing happens; the path to which."""
        path = self.root / self._chance.choice((*FILES, *FOLDERS))
        what: Callable[[Path], object] = self._chance.choice((
            self._write, self._write, self._write, self._remove, self._move, self._link,
            self._bring_back, self._take_root_away, self._bring_root_back,
        ))  # fmt: skip
        meddling, self._meddling = self._meddling, False
        with contextlib.suppress(OSError):  # not as things are now
            what(path)
        self._meddling = meddling
        return os.fsencode(path)

    def settle(self) -> None:
        """The root is there in the end."""
        self._bring_root_back(self.root)

    @contextmanager
    def meddling(self, share: float, failing: float = 0.0) -> Iterator[None]:
        """Let things happen before that share of the system calls that look at files, and that
        share of them fail."""
        kept = {name: getattr(os, name) for name in CALLS}
        for name, call in kept.items():
            setattr(os, name, self._meddled(call, share, failing))
        self._meddling = True
        try:
            yield
        finally:
            self._meddling = False
            for name, call in kept.items():
                setattr(os, name, call)

    def transcripts(self, roots: Sequence[Path]) -> dict[bytes, bytes]:
        """What a scan of these roots has to find now: path and content."""
        found = {}
        for root in roots:
            for folder, _folders, names in os.walk(os.fsencode(root)):
                for name in names:
                    path = os.path.join(folder, name)
                    if is_selected(path) and not os.path.islink(path):
                        found[path] = Path(os.fsdecode(path)).read_bytes()
        return found

    def _meddled(
        self, call: Callable[..., Any], share: float, failing: float
    ) -> Callable[..., Any]:
        def meddled(*arguments: Any, **more: Any) -> Any:
            if self._meddling and self._chance.random() < share:
                self.change()
            if self._meddling and self._chance.random() < failing:
                error = self._chance.choice(ERRORS)
                raise OSError(error, os.strerror(error))
            return call(*arguments, **more)

        return meddled

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path, *path.parents):
            if folder == self.root:
                break
            if folder.is_symlink():
                return
        if path.suffix != ".jsonl":
            path.mkdir(exist_ok=True)
        else:
            with path.open("ab") as file:
                if self._chance.random() < 0.2:
                    file.write(b"broken\n")
                else:
                    file.write(said(f"m{self.written}", f"r{self.written}") + b"\n")
                    self.written += 1
        self._touched(path)

    def _remove(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        self._touched(path)

    def _move(self, path: Path) -> None:
        other = self.root / self._chance.choice(FOLDERS if path.suffix != ".jsonl" else FILES)
        if path.is_symlink() or other.is_symlink():
            return
        path.rename(other)
        self._touched(path)
        self._touched(other)

    def _link(self, path: Path) -> None:
        """What was there is kept outside, and a link leads to it."""
        self._kept += 1
        kept = self._outside / f"{self._kept}{path.suffix}"
        path.rename(kept)
        if self._chance.random() < 0.7:
            path.symlink_to(kept)
        self._touched(path)

    def _bring_back(self, path: Path) -> None:
        kept = [one for one in self._outside.iterdir() if one.suffix == path.suffix]
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            return
        self._chance.choice(sorted(kept) or [path]).rename(path)
        self._touched(path)

    def _take_root_away(self, _path: Path) -> None:
        if not self._away.exists():
            self.root.rename(self._away)

    def _bring_root_back(self, _path: Path) -> None:
        if self._away.exists():
            if self.root.exists():
                shutil.rmtree(self.root)
            self._away.rename(self.root)

    def _touched(self, path: Path) -> None:
        for folder in path.parents:
            if folder == self.root.parent:
                break
            if folder.is_dir():
                self._times += 1
                os.utime(folder, ns=(self._times * 10**9,) * 2)


def is_selected(path: bytes) -> bool:
    """True for the names that are written to here."""
    return path.endswith(b".jsonl")
