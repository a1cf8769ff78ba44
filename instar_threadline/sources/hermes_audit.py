"""Who began each task of Hermes's agent-to-agent platform, out of its audit.

Promises to read on where it stopped, to hold at most `MAX_TASKS` tasks (the oldest go first) and to
believe the first line about a task: what is answered within it is audited later, under the same id.
One thread at a time. Never writes.
"""

from __future__ import annotations

import os
from pathlib import Path

from instar_host.store.tail import Lines, Mark, iter_lines, open_tail, unchanged
from instar_threadline.sources.hermes_lines import BROKEN, Begun, begun_of
from instar_threadline.sources.own_name import require_one_name

FILE = "a2a_audit.jsonl"
MAX_TASKS = 32_768
MAX_LINE_BYTES = 64 << 10
"""Hermes cuts the summary in such a line after 500 characters."""


class Audit:
    """What the audit of one home says."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._mark: Mark | None = None
        self._begun: dict[str, Begun] = {}

    def begun(self, task_id: str) -> Begun | None:
        """Who began the task; None where the audit says nothing about it."""
        return self._begun.get(task_id)

    def refresh(self) -> None:
        """Take in what was added. Raises UnsafeFile and OSError."""
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return
        if self._mark is not None and unchanged(self._mark, found):
            return
        require_one_name(self._path, found)
        with open_tail(self._path, self._mark, max_line_bytes=MAX_LINE_BYTES) as tail:
            for block in tail.blocks():
                if isinstance(block, Lines):
                    self._take(block)
            self._mark = tail.mark()

    def _take(self, lines: Lines) -> None:
        for _, line in iter_lines(lines):
            try:
                found = begun_of(line)
            except BROKEN:
                continue
            if found is not None:
                self._begun.setdefault(*found)
        while len(self._begun) > MAX_TASKS:
            del self._begun[next(iter(self._begun))]
