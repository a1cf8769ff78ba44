"""Transcripts are only ever read: seen by the interpreter's own audit, and by the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.corpus import build

_WATCHED = """
import io, json, os, sys
from pathlib import Path

seen = []
watched = os.path.realpath(sys.argv[1])

def audit(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)):
        seen.append((os.fsdecode(args[0]), args[2]))
    elif event.split(".")[0] in ("os", "shutil") and args and isinstance(args[0], (str, bytes)):
        if event not in ("os.listdir", "os.scandir"):
            seen.append((os.fsdecode(args[0]), event))

sys.addaudithook(audit)
from instar_host.cli import run
from instar_host.records import Terminal

out = io.StringIO()
folder = os.path.dirname(sys.argv[1])
codes = [
    run([*command.split(), "--state-dir", sys.argv[2], "--claude-dir", sys.argv[1]], {},
        lambda: Path(folder), lambda: Path(folder), Terminal(out=out, err=out))
    for command in ("tokens scan", "tokens rebuild", "tokens scan", "tokens trace NOTHING")
]
print(json.dumps({"codes": codes, "seen": seen, "text": out.getvalue()}))
"""


def state_of(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """Every file and folder with its size, mode and times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = os.lstat(path)
        found[str(path)] = (stat.st_size, stat.st_mode, stat.st_mtime_ns, stat.st_ctime_ns)
    return found


def test_no_transcript_is_ever_opened_for_writing(tmp_path: Path) -> None:
    """I7: of everything opened or changed below the transcripts, nothing is more than a read."""
    claude = tmp_path / "claude"
    build(claude, seed=30, sessions=24, scale="small")
    before = state_of(claude)
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, str(claude), str(tmp_path / "state")],
        capture_output=True,
        check=True,
        timeout=100,
    )
    said = json.loads(done.stdout)
    assert said["codes"] == [0, 0, 0, 1], said["text"]
    names = {path.name for path in claude.rglob("*")}
    opened = [
        (path, flags)
        for path, flags in said["seen"]
        if path.startswith(str(claude)) or os.path.basename(path) in names
    ]
    assert len([path for path, _ in opened if path.endswith(".jsonl")]) > 40
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    for path, flags in opened:
        assert isinstance(flags, int), (path, flags)
        assert not flags & writing, path
    assert state_of(claude) == before
