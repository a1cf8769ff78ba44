"""L1: the decoder of transcript lines under mutated bytes, blindly and guided by coverage."""

from __future__ import annotations

import importlib.util
import os
import platform
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tokenledger.homes import said
from tests.tokenledger.sources.decoding import decoded
from tests.tokenledger.sources.test_claude_damage import assert_settled, damaged, real_lines

pytestmark = pytest.mark.faults

MUTANTS = 100_000
FUZZED_S = 60
LEAST_RUNS = 1_000
ROOT = Path(__file__).parents[2]


def test_mutants_of_every_seed(tmp_path: Path) -> None:
    """L1: damaged, spliced and repeated lines give rows and reasons, and good ones around them
    count; other ones each time."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # shown when it fails
    rng = random.Random(seed)
    lines = list(real_lines(tmp_path))
    for _ in range(MUTANTS):
        one, other = rng.choice(lines), rng.choice(lines)
        cut = one[: rng.randrange(len(one))] + other[rng.randrange(len(other)) :]
        bad = damaged(rng.choice((one, cut, cut)), rng)
        assert_settled(bad, terminated=rng.random() < 0.5)
        if rng.random() < 0.2:
            found = decoded(said("first", "r1"), bad, said("last", "r2"))
            assert {"first", "last"} <= {row.message_id for row in found.rows}


def fuzzer(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`tests.faults.fuzz_lines` in a process of its own, as libFuzzer wants it."""
    command = [sys.executable, "-m", "tests.faults.fuzz_lines", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.timeout(700)
def test_a_minute_of_coverage_guided_fuzzing(tmp_path: Path) -> None:
    """L1: what atheris finds from the fixtures' lines on gets no exception out."""
    if importlib.util.find_spec("atheris") is None:
        wheels = (sys.platform, platform.machine()) == ("linux", "x86_64")
        assert os.environ.get("CI") != "true" or not wheels, "pip install '.[fuzz]'"
        pytest.skip("atheris is not installed: pip install '.[fuzz]'")
    sown = fuzzer("--sow", tmp_path / "seeds", tmp_path / "home")
    assert sown.returncode == 0, sown.stderr
    flags = ["-max_len=8192", f"-max_total_time={FUZZED_S}", f"-artifact_prefix={tmp_path}/"]
    done = fuzzer(tmp_path / "seeds", *flags)
    assert done.returncode == 0, done.stdout + done.stderr[-4_000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None
    assert int(runs[1]) >= LEAST_RUNS
