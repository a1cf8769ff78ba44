"""A host as a process: started, asked over HTTP, ended, and looked at for what it leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

TOKEN = "a-token-for-hosts"
GUARD_S = 60.0
"""A hang guard: the longest that anything here is waited for."""
LOOK_S = 0.1


class Program:
    """One process of a host in a group of its own. Its output is in `log`."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
        self.log = folder / "output.log"
        self._out = self.log.open("ab")
        self.process = subprocess.Popen(
            command, env=dict(environ), cwd=folder, stdin=subprocess.DEVNULL,
            stdout=self._out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and wait for it as `finish` does."""
        self.process.send_signal(number)
        self.finish()

    def finish(self) -> None:
        """Wait for its end. Fails when something of its group is left."""
        self.process.wait(GUARD_S)
        assert not self.is_left(), f"something still runs\n{self.output()}"

    def kept_waiting_s(self) -> float:
        """How long its threads have waited for a processor, one after the other: nothing where one
        is free, and not its own fault where none is.
        """
        waited_ns = 0
        for path in glob(f"/proc/{self.process.pid}/task/*/schedstat"):
            with suppress(OSError):  # a thread that has just ended
                waited_ns += int(Path(path).read_text(encoding="ascii").split()[1])
        return waited_ns / 1e9

    def is_left(self) -> bool:
        """Whether a process of its group lives."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def destroy(self) -> None:
        """End whatever is left of it, the hard way."""
        if self.is_left():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(GUARD_S)
        self._out.close()

    def kill(self) -> None:
        """End it and everything of its group without a word."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(GUARD_S)


Start = Callable[[Sequence[str], Mapping[str, str]], Program]


class Site:
    """Where a host answers."""

    def __init__(self, base: str, program: Program, token: str = TOKEN) -> None:
        self.base = base
        self.program = program
        self._headers = {"authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request over a connection of its own: any worker may answer it."""
        return httpx.request(
            method, self.base + path, headers=self._headers, timeout=10, trust_env=False, **options
        )

    def get(self, path: str) -> Any:
        """The JSON of a route that answers 200."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def until(self, path: str, good: Callable[[Any], T | None], guard_s: float = GUARD_S) -> T:
        """Ask until `good` returns something true of the answer; that."""
        said: object = None

        def look() -> T | None:
            nonlocal said
            try:
                answer = self.ask("GET", path)
            except httpx.HTTPError as error:
                said = error
                return None
            said = answer.text
            return good(answer.json()) if answer.status_code == 200 else None

        return until(look, lambda: f"{path}: {said}\n{self.program.output()}", guard_s)


def until(look: Callable[[], T | None], why: Callable[[], str], guard_s: float = GUARD_S) -> T:
    """Look again and again until something true comes of it."""
    end = time.monotonic() + guard_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, why()
        time.sleep(LOOK_S)  # between two looks at another process; nothing is synchronised by it


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def surroundings(home: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has nothing else: a home of their own, our token."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(home), "INSTAR_AUTH_TOKEN": TOKEN, **more}
