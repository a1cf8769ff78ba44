"""Inside Bub: how ours ends when the process is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from instar_host.lease import Lease
from tests.host.adapters import gateway_of_bub

GUARD_S = 60.0


@pytest.mark.parametrize(
    ("listener", "exit_code"), [("NOBODY", -signal.SIGTERM), ("BEFORE", 7), ("AFTER", 7)]
)
def test_a_terminated_gateway_ends_ours_first(
    tmp_path: Path, listener: str, exit_code: int
) -> None:
    """The process dies of the signal where nobody else listens; whoever does decides how."""
    state_dir = tmp_path / "state"
    program = gateway_of_bub.__file__
    with subprocess.Popen(
        [sys.executable, program, str(state_dir), listener], stdout=subprocess.PIPE
    ) as gateway:
        assert gateway.stdout is not None
        assert gateway.stdout.readline() == b"ready\n"
        assert Lease(state_dir).holder() is not None
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(GUARD_S) == exit_code
    lock = state_dir / "instar.lock"
    assert lock.read_bytes() == b""  # given back, not merely lost
