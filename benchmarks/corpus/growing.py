"""Lets a finished tree appear in another place bit by bit, as live sessions would.

Promises: files in the target only ever grow, byte for byte what the source holds. Never opens a
source file for writing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def sizes_of(root: Path, files: tuple[bytes, ...]) -> dict[bytes, int]:
    """Size in bytes of each file, by its path relative to `root`."""
    base = os.fsencode(root)
    return {os.path.relpath(path, base): os.path.getsize(path) for path in files}


def reveal(source: Path, target: Path, moment: Mapping[bytes, int]) -> int:
    """Append to the files below `target` until each is as long as `moment` says.

    Keys of `moment` are paths relative to both roots. Returns the bytes appended.
    """
    appended = 0
    for relative, size in moment.items():
        path = os.path.join(os.fsencode(target), relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        origin = os.path.join(os.fsencode(source), relative)
        with open(origin, "rb") as whole, open(path, "ab") as growing:
            whole.seek(growing.tell())
            appended += growing.write(whole.read(max(0, size - growing.tell())))
    return appended
