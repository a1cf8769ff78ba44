"""A host that we live in: started, configured and asked like a user would.

A host is described by how it is started and by where it is told our settings; `agents.py` describes
them, `laws.py` says what has to hold in each.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from instar_host.lease import Lease
from tests.hosts.environments import Environment
from tests.hosts.programs import GUARD_S, Program, Site, Start, free_port, surroundings, until

FIRST_ROUTE_S = 30.0
"""What a user is promised, from the command to the first answer, where a processor is free."""
START_GUARD_S = 180.0
"""A hang guard: a machine that is busy with other things may read every module from a slow disk."""
STOP_S = 2.0
"""What a user is promised, from the signal to the end of everything of ours."""


class Inhabited(Struct, kw_only=True):
    """One host of one test."""

    name: str
    python: Environment
    command: tuple[str, ...]
    home: Path
    """The user's; the host's own lies below it."""
    config_file: Path
    wrap: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Our section as the host's configuration holds it."""
    start: Start
    environ: dict[str, str]
    more: dict[str, Any] = {}
    """What else stands in its configuration."""
    port: int = 0
    first_route_s: float = 0.0
    """How long the last start took to its first answer, less what it waited for a processor."""

    @property
    def state_dir(self) -> Path:
        return self.home / "state"

    @property
    def environment(self) -> dict[str, str]:
        """That of every process of the host."""
        return {**surroundings(self.home), **self.environ}

    def configure(self, section: Mapping[str, Any]) -> None:
        """Tell the host our section. JSON is YAML."""
        said = {**self.wrap(section), **self.more}
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(json.dumps(said), encoding="utf-8")

    def begin(self, section: Mapping[str, Any] | None = None, **environ: str) -> Site:
        """Start it and wait for the first route."""
        self.port = self.port or free_port()
        self.configure({"port": self.port, "stateDir": str(self.state_dir), **(section or {})})
        program = self.start(self.command, {**self.environment, **environ})
        site = Site(f"http://127.0.0.1:{self.port}", program)
        began_s = time.monotonic()
        site.until("/health", lambda said: said["status"] != "starting", START_GUARD_S)
        self.first_route_s = time.monotonic() - began_s - program.kept_waiting_s()
        print(f"{self.name}: first route after {self.first_route_s:.1f} s")
        return site

    def end(self, program: Program, number: int = signal.SIGTERM) -> None:
        """A clean stop: ours has ended in time, and nothing of the group is left after the host.

        The lease is what we let go of last. How long the host takes after that is its own affair.
        """
        lease = Lease(self.state_dir)
        assert lease.holder() is not None
        began_s = time.monotonic()
        program.process.send_signal(number)
        until(lambda: lease.holder() is None, program.output)
        ours_s = time.monotonic() - began_s
        program.finish()
        whole_s = time.monotonic() - began_s
        print(f"{self.name}, signal {number}: ours {ours_s:.2f} s, whole {whole_s:.2f} s")
        assert ours_s <= STOP_S, f"{ours_s:.1f} s\n{program.output()}"

    def run(self, *arguments: str, **environ: str) -> str:
        """One call of the host's command; what it prints."""
        done = self.attempt(self.command[0], *arguments, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def evaluate(self, code: str) -> subprocess.CompletedProcess[str]:
        """Python in the host's environment, as one of its processes."""
        return self.attempt(self.python.program("python"), "-c", code)

    def attempt(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A process of the host, to its end, whatever that is."""
        return subprocess.run(
            command, env={**self.environment, **environ}, cwd=self.home, capture_output=True,
            text=True, timeout=GUARD_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
