"""`instar` called as a person calls it, in a home of its own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from instar_host.cli import run
from instar_host.config import StateDir
from instar_host.host import open_host
from instar_host.records import HostContext, Terminal
from instar_host.testing import FakeClock
from tests.screens import Screen
from tests.tokenledger.homes import LedgerHome


class Said(NamedTuple):
    """What one call said, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


class Shell:
    """Calls of `instar` with the state and transcripts of a home."""

    def __init__(self, home: LedgerHome, clock: FakeClock) -> None:
        self.home = home
        self.clock = clock
        self.environ = {"TZ": "UTC"}

    def __call__(self, *words: str, tty: bool = False, err_tty: bool | None = None) -> Said:
        """Run `instar WORDS...`; standard error is a terminal where the output is, if not said."""
        out = io.StringIO()
        err = Screen() if (tty if err_tty is None else err_tty) else io.StringIO()
        folder = self.home.claude.parent
        code = run(
            [*words, "--state-dir", str(self.home.state_dir)],
            self.environ,
            lambda: folder,
            lambda: folder,
            Terminal(out=out, err=err, is_tty=tty, width=100),
            self._open,
        )
        return Said(code, out.getvalue(), err.getvalue())

    def _open(self, where: StateDir) -> HostContext:
        return open_host(where, self.environ, clock=self.clock, capabilities=("commands",))


def transcripts_at(folder: Path) -> list[str]:
    """The words that name another configuration folder."""
    return ["--claude-dir", str(folder)]
