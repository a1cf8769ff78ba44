"""`python -m benchmarks.scan TREE`: one scan of a tree of transcripts, beside aiburn and ccusage.

Promises: nothing is timed before all three agree on the tokens; whole processes in turns; our
scan keeps everything on disk, the others keep nothing. Cold: no ledger yet. Warm: nothing has
changed. After an append: a line more in each of ten files. Files that grow lie in a folder of
their own beside TREE, which is never written to.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks import measure
from benchmarks.measure import Job

GROWING = 10
"""Files that get a line before each run."""
KINDS = ("cold", "warm", "append")


class Tokens(NamedTuple):
    """What all three can say: aiburn does not tell writes to the cache from reads."""

    input: int
    output: int
    cache: int


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One program and how to read its totals."""

    name: str
    command: tuple[str, ...]
    environ: dict[str, str]
    tokens: Callable[[dict[str, Any]], Tokens]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare totals, then time; a table and ratios on standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan", description=__doc__)
    parser.add_argument("tree", type=Path, help="a configuration folder, one with projects/")
    parser.add_argument("--aiburn", default=shutil.which("aiburn", path=_beside_python()))
    parser.add_argument("--ccusage", help="the native program of the npm package")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {','.join(KINDS)}")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="instar-bench-") as folder:
        bench = Bench(given.tree.resolve(), Path(folder))
        peers = [t for t in (bench.aiburn(given.aiburn), bench.ccusage(given.ccusage)) if t]
        print(f"{given.tree.name}: {_weight(given.tree)}; floor {measure.floor_bytes() >> 20} MiB")
        _agree(bench, peers)
        for kind in given.kinds.split(","):
            _compare(bench, kind, peers, given.turns)
    return 0


class Bench:
    """A tree, ten files that grow beside it, and a state directory that comes and goes."""

    def __init__(self, tree: Path, scratch: Path) -> None:
        self.tree = tree
        self.state = scratch / "state"
        self.grown = scratch / "grown"
        self.home = scratch / "home"
        self.home.mkdir()
        self._lines = 0
        self.append()

    def ours(self) -> Tool:
        command = (
            sys.executable, "-m", "instar_host", "--state-dir", str(self.state), "tokens", "scan",
            "--json", "--claude-dir", str(self.tree), "--claude-dir", str(self.grown),
        )  # fmt: skip
        return Tool(name="instar", command=command, environ=self._environ(), tokens=_ours)

    def aiburn(self, program: str | None) -> Tool | None:
        if program is None:
            return None
        command = (program, "daily", "--claude", "--json")
        return Tool(name="aiburn", command=command, environ=self._environ(), tokens=_aiburn)

    def ccusage(self, program: str | None) -> Tool | None:
        if program is None:
            return None
        command = (program, "claude", "daily", "--json", "--offline")
        return Tool(name="ccusage", command=command, environ=self._environ(), tokens=_ccusage)

    def forget(self) -> None:
        """Remove our ledger."""
        shutil.rmtree(self.state, ignore_errors=True)

    def append(self) -> None:
        """A line more in each of the growing files."""
        folder = self.grown / "projects" / "-home-dev-grown"
        folder.mkdir(parents=True, exist_ok=True)
        for file in range(GROWING):
            self._lines += 1
            with open(folder / f"{file:08d}-0000-4000-8000-000000000000.jsonl", "ab") as out:
                out.write(transcript_line(file, self._lines))

    def kept_bytes(self) -> tuple[int, int]:
        """What our scan left on disk: the ledger with its log, and the daily backup."""
        sizes = {f: f.stat().st_size for f in self.state.rglob("*") if f.is_file()}
        backups = sum(size for f, size in sizes.items() if f.parent.name == "backups")
        return sum(sizes.values()) - backups, backups

    def _environ(self) -> dict[str, str]:
        return {"HOME": str(self.home), "CLAUDE_CONFIG_DIR": f"{self.tree},{self.grown}"}


def _agree(bench: Bench, peers: Sequence[Tool]) -> None:
    """Refuse to time programs that do not count the same."""
    bench.forget()
    answer = _answer(bench.ours())
    ours = _ours(answer)
    for peer in peers:
        theirs = peer.tokens(_answer(peer))
        if theirs != ours:
            raise SystemExit(f"{peer.name} says {theirs}, instar {ours}: nothing was timed")
    requests = answer["summary"]["eventCount"]
    ledger, backup = bench.kept_bytes()
    print(f"all agree: {ours}, {requests} requests")
    print(
        f"on disk: {ledger / 1e6:.1f} MB, {ledger / requests:.0f} bytes a request;"
        f" and a backup of {backup / 1e6:.1f} MB",
        flush=True,
    )


def _compare(bench: Bench, kind: str, peers: Sequence[Tool], turns: int) -> None:
    """One kind of run of ours, against each peer in turns."""
    before = {"cold": bench.forget, "warm": lambda: None, "append": bench.append}[kind]
    ours = _job(bench.ours(), before)
    print(f"-- {kind}")
    if not peers:
        print(measure.line("instar", [measure.run(ours) for _ in range(turns)]))
    for peer in peers:
        pair = measure.in_turns(ours, _job(peer, lambda: None), turns)
        print(measure.line("instar", pair.first))
        print(measure.line(peer.name, pair.second))
        print(measure.ratio_line(pair, "instar", peer.name), flush=True)


def _job(tool: Tool, before: Callable[[], None]) -> Job:
    return Job(name=tool.name, command=tool.command, environ=tool.environ, prepare=before)


def _answer(tool: Tool) -> dict[str, Any]:
    with tempfile.TemporaryFile() as output:
        measure.run(_job(tool, lambda: None), output)
        output.seek(0)
        answer: dict[str, Any] = json.load(output)
    return answer


def _ours(answer: dict[str, Any]) -> Tokens:
    total = answer["summary"]
    return Tokens(
        total["totalInput"],
        total["totalOutput"],
        total["totalCacheRead"] + total["totalCacheCreate"],
    )


def _aiburn(answer: dict[str, Any]) -> Tokens:
    groups = answer["groups"]
    return Tokens(*(sum(group[name] for group in groups) for name in Tokens._fields))


def _ccusage(answer: dict[str, Any]) -> Tokens:
    total = answer["totals"]
    cache = total["cacheCreationTokens"] + total["cacheReadTokens"]
    return Tokens(total["inputTokens"], total["outputTokens"], cache)


def transcript_line(file: int, number: int) -> bytes:
    """A request of its own in the session of the growing file."""
    usage = {
        "input_tokens": 7,
        "cache_creation_input_tokens": 1_000,
        "cache_read_input_tokens": 20_000,
        "output_tokens": 300,
    }
    line = {
        "parentUuid": None,
        "isSidechain": False,
        "cwd": "/home/dev/grown",
        "sessionId": f"{file:08d}-0000-4000-8000-000000000000",
        "version": "2.1.76",
        "message": {
            "model": "claude-opus-4-6",
            "id": f"msg_01Grown{number:017d}",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "A line more."}],
            "stop_reason": "end_turn",
            "usage": usage,
        },
        "requestId": f"req_011CGrown{number:015d}",
        "type": "assistant",
        "uuid": f"{number:08d}-0000-4000-8000-0000000000aa",
        "timestamp": "2026-03-01T12:00:00.000Z",
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _weight(tree: Path) -> str:
    files = [entry.stat().st_size for entry in transcripts(tree)]
    return f"{len(files)} files, {sum(files) / 1e6:.0f} MB"


def transcripts(tree: Path) -> Iterator[os.DirEntry[str]]:
    """Every transcript below a folder."""
    with contextlib.closing(os.scandir(tree)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from transcripts(Path(entry.path))
            elif entry.name.endswith(".jsonl"):
                yield entry


def _beside_python() -> str:
    """Where a program installed next to this interpreter is found, then the usual path."""
    return os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])


if __name__ == "__main__":
    raise SystemExit(main())
