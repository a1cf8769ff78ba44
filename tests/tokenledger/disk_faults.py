"""What a machine may do to a reader of files: deny, run out, and put odd things in the way."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def without_privileges() -> Iterator[None]:
    """Let file modes mean something: root ignores them. Paths have to be open to everybody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Let this process open `spare` files and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers: list[int] = []
    top = max(int(name) for name in os.listdir("/proc/self/fd")) + 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
    try:
        while True:
            fillers.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    try:
        for filler in fillers[len(fillers) - spare :] if spare else []:
            os.close(filler)
            fillers.remove(filler)
        yield
    finally:
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def odd_files(folder: Path) -> list[str]:
    """Things with a transcript's name that are none; returns their names."""
    os.mkfifo(folder / "fifo.jsonl")
    (folder / "folder.jsonl").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)  # a socket's path may be 108 bytes long
    try:
        listener.bind("socket.jsonl")
    finally:
        os.chdir(here)
        listener.close()
    (folder / "dangling.jsonl").symlink_to(folder / "nothing")
    (folder / "device.jsonl").symlink_to("/dev/zero")
    (folder / "loop").symlink_to(folder)
    return sorted(os.listdir(folder))
