"""`python -m benchmarks.politeness TREE`: ways to read a tree beside a loop that has to answer.

Each way is a host of its own that has never seen TREE and is asked `/health` every 20 ms until it
is caught up: the reading thread rests more or less, the interpreter changes threads sooner or
later, what was made at start-up is left to the garbage collector or not. `process` reads the tree
in a second process, beside a host that has nothing to do: what a child would cost and bring. In
turns; waits of all turns together, medians of the rest. Processor time is the host's, with the
child's where there is one, and with what `/health` itself costs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.first_boot import Server, Waits, served, warm
from benchmarks.scan import transcripts
from instar_host import serve
from instar_tokenledger import pace

LAUNCH = """
import gc, json, sys
from instar_host import cli, serve
from instar_tokenledger import pace

way = json.loads(sys.argv.pop(1))
serve.SWITCH_S = way["switch_ms"] / 1000
pace.WORK_S, pace.REST_S = way["work_ms"] / 1000, way["rest_ms"] / 1000
if not way["freeze"]:
    gc.freeze = lambda: None
sys.exit(cli.main(sys.argv[1:]))
"""
NEVER_MS = 1e9


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How the tree is read."""

    name: str
    work_ms: float = pace.WORK_S * 1000
    rest_ms: float = pace.REST_S * 1000
    switch_ms: float = serve.SWITCH_S * 1000
    freeze: bool = True
    child: bool = False


WAYS = (
    Way(name="as served"),
    Way(name="as served, no freeze", freeze=False),
    Way(name="no rests", work_ms=NEVER_MS),
    Way(name="no rests, switch 5 ms", work_ms=NEVER_MS, switch_ms=5),
    Way(name="rest 2 ms", rest_ms=2),
    Way(name="work 10 ms", work_ms=10),
    Way(name="work 2, rest 0.5 ms", work_ms=2, rest_ms=0.5),
    Way(name="switch 5 ms", switch_ms=5),
    Way(name="switch 0.2 ms", switch_ms=0.2),
    Way(name="process", child=True),
)


class Felt(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the tree."""

    waits: Waits
    cpu_s: float
    took_s: float
    peak_bytes: int


def main(argv: Sequence[str] | None = None) -> int:
    """Read the tree in every way, in turns, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.politeness", description=__doc__)
    parser.add_argument("tree", type=Path, help="a configuration folder, one with projects/")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", action="append", help="the name of a way; repeatable")
    given = parser.parse_args(argv)
    tree = given.tree.resolve()
    files = [entry.path for entry in transcripts(tree)]
    size = sum(os.stat(path).st_size for path in files)
    ways = [way for way in WAYS if not given.only or way.name in given.only]
    found: dict[str, list[Felt]] = {way.name: [] for way in ways}
    for _turn in range(given.turns):
        for way in ways:
            warm(files)
            found[way.name].append(_felt(way, tree))
            print(f"{way.name}: {found[way.name][-1].waits}", file=sys.stderr, flush=True)
    print("| way | CPU s | MB/s | p50 ms | p99 ms | max ms | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for way in ways:
        print(_row(way.name, found[way.name], size))
    return 0


def _row(name: str, felt: Sequence[Felt], size: int) -> str:
    def median(figure: Callable[[Felt], float]) -> float:
        return statistics.median(map(figure, felt))

    waits = Waits.of([wait for one in felt for wait in one.waits.each])
    rate = size / 1e6 / median(lambda f: f.took_s)
    return (
        f"| {name} | {median(lambda f: f.cpu_s):.2f} | {rate:.0f}"
        f" | {waits.p50:.1f} | {waits.p99:.1f} | {waits.worst:.0f}"
        f" | {median(lambda f: f.peak_bytes) / 2**20:.0f} |"
    )


def _felt(way: Way, tree: Path) -> Felt:
    root = Path(tempfile.mkdtemp(prefix="instar-polite-"))
    try:
        return _in_a_child(tree, root) if way.child else _in_a_thread(way, tree, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _in_a_thread(way: Way, tree: Path, root: Path) -> Felt:
    program = (sys.executable, "-c", LAUNCH, json.dumps(msgspec.to_builtins(way)))
    with served(tree, root, watch=True, program=program) as server:
        before_s, began_s = server.cpu_s(), time.perf_counter()
        waits = server.waits()
        return _measured(server, waits, before_s, began_s)


def _in_a_child(tree: Path, root: Path) -> Felt:
    """A host over an empty tree, and a scan of the real one beside it."""
    idle, state, empty = root / "idle", root / "state", root / "empty"
    for folder in (idle, state, empty):
        folder.mkdir(mode=0o700)
    command = [sys.executable, "-m", "instar_host", "--state-dir", str(state)]
    with served(empty, idle, watch=True) as server:
        server.wait_until_caught_up()
        before_s, began_s = server.cpu_s(), time.perf_counter()
        child = subprocess.Popen(
            [*command, "tokens", "scan", "--claude-dir", str(tree)], stdout=subprocess.DEVNULL
        )
        usage = []

        def ended() -> bool:
            pid, _status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                usage.append(used)
                child.returncode = 0
            return bool(pid)

        waits = server.waits(done=ended)
        felt = _measured(server, waits, before_s, began_s)
    more_s = usage[0].ru_utime + usage[0].ru_stime
    return msgspec.structs.replace(
        felt, cpu_s=felt.cpu_s + more_s, peak_bytes=felt.peak_bytes + usage[0].ru_maxrss * 1024
    )


def _measured(server: Server, waits: Waits, before_s: float, began_s: float) -> Felt:
    return Felt(
        waits=waits,
        cpu_s=server.cpu_s() - before_s,
        took_s=time.perf_counter() - began_s,
        peak_bytes=server.peak_bytes() or 0,
    )


if __name__ == "__main__":
    raise SystemExit(main())
