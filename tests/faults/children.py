"""Processes to be killed: forked from one that has done the imports, so that each costs a fork.

`Child` runs a function of an importable module and says what it reports. At the end of the block
the process is gone.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

PRELOADED = ["tests.faults.ledgers", "tests.faults.test_store_faults", "tests.threadline.logs"]
"""What the one process imports before any fork; a name that is missing costs only time."""

Report = Callable[[object], None]


class Child:
    """One process, from the beginning of the block to its end."""

    def __init__(self, work: Callable[..., None], *arguments: object) -> None:
        """`work(report, *arguments)` runs there; what it reports is heard by `hear`."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._ear, mouth = context.Pipe(duplex=False)
        self._process = context.Process(target=_live, args=(mouth, work, arguments), daemon=True)
        self._process.start()
        mouth.close()

    def hear(self) -> Any:
        """The next report. Raises EOFError when the process has ended without another."""
        return self._ear.recv()

    def kill(self) -> list[Any]:
        """`kill -9`, wait, and return what it had still reported."""
        self._process.kill()
        self._process.join()
        return self.rest()

    def rest(self) -> list[Any]:
        """Every report up to the end of the process; one that a kill cut short is none."""
        heard: list[Any] = []
        try:
            while True:
                heard.append(self._ear.recv())
        except (EOFError, OSError):
            return heard

    def wait(self) -> int | None:
        """The exit code, negative for a signal."""
        self._process.join()
        return self._process.exitcode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._ear.close()
        self._process.close()


def _live(mouth: Connection, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    work(mouth.send, *arguments)
