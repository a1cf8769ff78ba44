"""`python -m benchmarks.first_boot TREE`: what a host feels while it first reads a tree.

Starts `instar serve` on a tree it has never seen and asks `/health` every 20 ms, from this other
process and over one connection, until the ledger is caught up; then the same for a while with
nothing to read, which says what the machine itself adds. A late answer delays no later question's
clock: waiting counts. Then lines are appended to files of the tree, and the time until
`/tokens/summary` knows them is taken, with the watch and without. Lines stay in TREE.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.measure import at_share
from benchmarks.scan import transcript_line, transcripts

EVERY_S = 0.02
STATUS_EVERY_S = 0.5
IDLE_S = 10.0
TOKEN = "a-token-for-this-benchmark-only"
START_S = 60.0
APPEND_LIMIT_S = 120.0


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """How long `/health` took, milliseconds."""

    asked: int
    p50: float
    p99: float
    worst: float
    each: tuple[float, ...] = ()

    @classmethod
    def of(cls, waits: Sequence[float]) -> Waits:
        """What some waits amount to."""
        return cls(
            asked=len(waits),
            p50=at_share(waits, 0.5),
            p99=at_share(waits, 0.99),
            worst=max(waits),
            each=tuple(waits),
        )

    def __str__(self) -> str:
        return (
            f"{self.asked} asked: p50 {self.p50:.1f}, p99 {self.p99:.1f}, max {self.worst:.1f} ms"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Boot once for `/health`, and once each with and without the watch for appended lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_boot", description=__doc__)
    parser.add_argument("tree", type=Path, help="a configuration folder, one with projects/")
    parser.add_argument("--appends", type=int, default=10, help="0: none")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    tree = given.tree.resolve()
    files = [entry.path for entry in transcripts(tree)]
    size = sum(os.stat(path).st_size for path in files)
    print(f"{len(files)} files, {size / 1e6:.0f} MB", flush=True)
    state = Path(tempfile.mkdtemp(prefix="instar-boot-"))
    try:
        warm(files)
        with served(tree, state, watch=True) as server:
            _boot(server, size)
            _appends("with the watch", server, files, given.appends, given.seed)
        if given.appends:
            with served(tree, state, watch=False) as server:
                server.wait_until_caught_up()
                _appends("without", server, files, given.appends, given.seed + 1)
    finally:
        shutil.rmtree(state, ignore_errors=True)
    return 0


def warm(files: Iterable[str]) -> None:
    """Have the system hold all of them in memory, so that the disk is not what is measured."""
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


class Server:
    """One running host, as its users meet it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self._process = process
        self._address = urlsplit(address).netloc
        self._connection = http.client.HTTPConnection(self._address, timeout=60)

    def get(self, path: str) -> Any:
        """The JSON behind a path."""
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ConnectionError(f"{path}: {answer.status} {body[:200]!r}")
        return json.loads(body)

    def caught_up(self) -> bool:
        return bool(self.get("/tokens/status")["state"] == "up-to-date")

    def wait_until_caught_up(self) -> None:
        while not self.caught_up():
            time.sleep(STATUS_EVERY_S)

    def peak_bytes(self) -> int | None:
        """The most memory it ever had; None where the system does not tell."""
        try:
            with open(f"/proc/{self._process.pid}/status", encoding="ascii") as status:
                peak = [line for line in status if line.startswith("VmHWM")]
        except OSError:
            return None
        return int(peak[0].split()[1]) * 1024

    def cpu_s(self) -> float:
        """Processor time that it has used so far."""
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def waits(
        self, *, seconds: float | None = None, done: Callable[[], bool] | None = None
    ) -> Waits:
        """Ask `/health` every 20 ms for some seconds; None: until `done`, which is asked twice a
        second and is that the ledger is caught up unless it is given.
        """
        done = done or self.caught_up
        waits: list[float] = []
        due = began = status_at = time.perf_counter()
        while True:
            now = time.perf_counter()
            if seconds is not None and now - began >= seconds:
                break
            if seconds is None and now - status_at >= STATUS_EVERY_S:
                if done():
                    break
                due = status_at = time.perf_counter()
            if due > now:
                time.sleep(due - now)
            self.get("/health")
            waits.append((time.perf_counter() - due) * 1000)
            due += EVERY_S
        return Waits.of(waits)


def _boot(server: Server, size: int) -> None:
    """The first reading, felt through `/health`."""
    began = time.perf_counter()
    busy = server.waits()
    took_s = time.perf_counter() - began
    print(f"caught up in {took_s:.1f} s, {size / 1e6 / took_s:.0f} MB/s")
    print(f"/health meanwhile: {busy}")
    print(f"/health afterwards: {server.waits(seconds=IDLE_S)}")
    peak = server.peak_bytes()
    print(f"peak {peak / 2**20:.0f} MiB" if peak else "peak unknown", flush=True)


def _appends(name: str, server: Server, files: Sequence[str], count: int, seed: int) -> None:
    """Time from an appended line to a summary that knows it."""
    rng = random.Random(seed)
    took = []
    for number in range(count):
        time.sleep(rng.uniform(0.5, 3))
        before = _requests(server)
        line = transcript_line(0, (seed << 32) + number)
        with open(rng.choice(files), "ab") as file:
            file.write(line)
        began = time.perf_counter()
        while _requests(server) == before:
            if time.perf_counter() - began > APPEND_LIMIT_S:
                raise TimeoutError(f"a line was not seen within {APPEND_LIMIT_S} s")
            time.sleep(EVERY_S)
        took.append(time.perf_counter() - began)
    if took:
        print(
            f"append to summary, {name} ({server.get('/tokens/status')['watch']}): "
            f"median {at_share(took, 0.5):.2f} s, max {max(took):.2f} s of {count}",
            flush=True,
        )


def _requests(server: Server) -> int:
    return int(server.get("/tokens/summary?since=0")["summary"]["eventCount"])


@contextmanager
def served(
    tree: Path,
    state: Path,
    *,
    watch: bool,
    program: Sequence[str] = (sys.executable, "-m", "instar_host"),
) -> Iterator[Server]:
    """`instar serve` over `tree`, on a free port; ended politely. `program` is what is started."""
    settings = {
        "authToken": TOKEN,
        "tokenLedger": {
            "claudeDirs": [str(tree)],
            "maxFileAgeMs": 0,
            "watch": watch,
            "dailyBackups": 0,
        },
    }
    config = state / "config.json"
    config.write_text(json.dumps(settings), encoding="utf-8")
    config.chmod(0o600)
    process = subprocess.Popen(
        [*program, "--state-dir", str(state), "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process, _address(process))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=START_S)


def _address(process: subprocess.Popen[str]) -> str:
    """What it prints first: `instar serves ADDRESS`."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    words = process.stdout.readline().split() if ready else []
    if not words:
        raise ChildProcessError("the host did not say where it serves")
    return words[-1]


if __name__ == "__main__":
    raise SystemExit(main())
