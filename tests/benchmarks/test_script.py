"""The benchmarks start by the command that their README names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text()
)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_tells_its_arguments(name: str) -> None:
    """`scripts/bench NAME -h` is where somebody who wants to measure begins."""
    command = ["sh", "scripts/bench", name, "-h"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout[:6]) == (0, "usage:"), told.stderr
