"""The ledger's memory stays bounded, whatever one line does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tokenledger.homes import said

GIB = 1 << 30
BOUND_MIB = 120
"""Over an idle process. A line may be 16 MiB long and still count, and is held a few times over."""

CHILD = """
import json, resource, sys
from pathlib import Path
from instar_tokenledger.ingest import Budget
from tests.faults.ledgers import answers_in, opened, scan

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

idle = peak_mib()
ledger = opened(Path(sys.argv[1]))
assert scan(ledger, Path(sys.argv[2]), Budget)
answers, skips = answers_in(ledger.connection)
ledger.close()
print(json.dumps([idle, peak_mib(), answers["summary"]["eventCount"], skips]))
"""


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("ended", [True, False])
def test_a_line_of_a_gibibyte(tmp_path: Path, ended: bool) -> None:
    """T8, C-26, I4: it is passed over in pieces, counted once, and everything else is read."""
    folder = tmp_path / "claude" / "projects" / "a"
    folder.mkdir(parents=True)
    with (folder / "long.jsonl").open("wb") as file:
        file.write(said("m1", "r1") + b"\n")
        for _ in range(GIB >> 22):
            file.write(b"x" * (1 << 22))
        if ended:
            file.write(b"\n" + said("m2", "r2") + b"\n")
    (folder / "other.jsonl").write_bytes(said("m3", "r3") + b"\n")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "ledger.db"), str(tmp_path / "claude")],
        capture_output=True,
        check=True,
    )
    idle, peak, requests, skips = json.loads(done.stdout)
    assert (requests, skips) == (3 if ended else 2, {"too-long": 1})
    assert peak - idle < BOUND_MIB
