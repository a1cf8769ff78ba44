"""A state directory on a disk that is read-only or full: what reads goes on, the rest says why."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.mounts import make_read_only, mounted
from tests.threadline.logs import open_log, received

pytestmark = pytest.mark.faults

CURE = "Read-only file system; make the folder writable, or name another with --state-dir"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory with one message, on a file system of its own; needs root."""
    with mounted(tmp_path / "disk", 8) as disk:
        log = open_log(disk / "state")
        log.record([received("the ground truth", id="m-1")])
        log.close()
        yield disk / "state"


def said(state: Path, *words: str) -> tuple[int, str]:
    """The exit code of one command, and all that it printed."""
    argv = [sys.executable, "-m", "instar_host", *words, "--state-dir", str(state)]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("INSTAR_")}
    done = subprocess.run(
        argv,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout


def test_threads_are_read_where_nothing_can_be_written(state: Path) -> None:
    """Like `tokens summary`: no lease, no token and no lock file is made for a look."""
    assert said(state, "threads", "list")[0] == 0
    make_read_only(state.parent)
    assert "t-1" in said(state, "threads", "list")[1]
    code, text = said(state, "threads", "search", "ground")
    assert code == 0
    assert "truth" in text
    assert said(state, "threads", "verify")[0] == 0


def test_the_log_is_verified_before_anything_else_was_ever_made(state: Path) -> None:
    """No token, no index, and lock files that cannot even be opened for writing."""
    (state / "threadline" / "inbox.lock").unlink()
    make_read_only(state.parent)
    code, text = said(state, "threads", "verify")
    assert "inbox: 1 lines" in text
    assert "integrity: " in text
    assert code in (0, 1)  # an unknown key is no proof
    assert CURE not in text


@pytest.mark.parametrize("words", [("tokens", "scan"), ("serve", "--port", "0")])
def test_what_has_to_write_names_the_cure(state: Path, words: tuple[str, ...]) -> None:
    """One sentence with what to do."""
    make_read_only(state.parent)
    code, text = said(state, *words)
    assert code == 1
    assert text.count("\n") == 1
    assert CURE in text


@pytest.mark.parametrize("words", [("list",), ("show", "t-1"), ("search", "truth"), ("export",)])
def test_threads_without_an_index_say_why_there_is_none(
    state: Path, words: tuple[str, ...]
) -> None:
    """An index cannot be made there: one sentence with what to do."""
    make_read_only(state.parent)
    code, text = said(state, "threads", *words)
    assert (code, text.count("\n")) == (1, 1)
    assert text.startswith("instar: There is no index of messages yet: ")
    assert CURE in text


@pytest.mark.parametrize("words", [("mute", "--thread", "t-1"), ("resume",), ("drop-queue",)])
def test_a_full_disk_is_no_defect_of_the_bridge(state: Path, words: tuple[str, ...]) -> None:
    """Whatever is in the way, a command says so in one sentence, and 70 is for our own faults."""
    assert said(state, "tokens", "summary")[0] == 0
    with contextlib.suppress(OSError), (state.parent / "filler").open("wb", 0) as filler:
        while filler.write(b"x" * 4096):
            pass
    code, text = said(state, "bridge", *words)
    assert (code, text.count("\n")) == (1, 1)
    assert re.search("full|No space left on device: /", text)
