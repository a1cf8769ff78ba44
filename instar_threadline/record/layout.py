"""Where the files of the log lie, and what they are called.

Promises names only; opens nothing. One direction has: the active log, rotated logs (numbered from
1, six digits), a chain file beside each of them, one head, one lock. A thread id is never part of
a name.
"""

from __future__ import annotations

import os
import re

from instar_host.records import Record
from instar_threadline.messages import Direction

FOLDER = "threadline"
ACTIVE = "active"

_STEMS: dict[Direction, str] = {"in": "inbox", "out": "outbox"}


class Layout(Record, frozen=True, kw_only=True):
    """The file names of one direction below one folder."""

    folder: str
    direction: Direction

    @property
    def stem(self) -> str:
        """`inbox` or `outbox`."""
        return _STEMS[self.direction]

    @property
    def head(self) -> str:
        return os.path.join(self.folder, f"{self.stem}.head")

    @property
    def lock(self) -> str:
        return os.path.join(self.folder, f"{self.stem}.lock")

    @property
    def torn_folder(self) -> str:
        return os.path.join(self.folder, "torn")

    def log(self, segment: int | None = None) -> str:
        """The log file of a rotated segment; None is the active one."""
        return os.path.join(self.folder, f"{self.stem}.jsonl.{_suffix(segment)}")

    def chain(self, segment: int | None = None) -> str:
        """The chain file that belongs to `log(segment)`."""
        return os.path.join(self.folder, f"{self.stem}.chain.{_suffix(segment)}")

    def rotated(self) -> tuple[int, ...]:
        """The numbers of the rotated segments that exist, oldest first."""
        pattern = re.compile(re.escape(self.stem) + r"\.(?:jsonl|chain)\.(\d{6,})\Z")
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return ()
        return tuple(sorted({int(m[1]) for name in names if (m := pattern.match(name))}))


def layout(state_dir: str | os.PathLike[str], direction: Direction) -> Layout:
    """The files of one direction in a state directory."""
    return Layout(folder=os.path.join(os.fspath(state_dir), FOLDER), direction=direction)


def _suffix(segment: int | None) -> str:
    return ACTIVE if segment is None else f"{segment:06d}"
