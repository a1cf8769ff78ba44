"""Small file systems of their own, which may be filled or made read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(disk: Path, mib: int) -> Iterator[Path]:
    """`disk`, made and mounted as a file system of so many MiB in memory; needs root."""
    disk.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield disk
    finally:
        # Lazily: a test that failed may still hold a file of it.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def make_read_only(disk: Path) -> None:
    """From now on nobody writes to it."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
