"""The log under kills, two writers, and a disk that is full or broken."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from instar_threadline.errors import LogBusy, LogUnavailable
from instar_threadline.record.disk import Disk, locked
from instar_threadline.record.verify import verify
from instar_threadline.recorder import Recorder
from tests.faults.children import Child, Report
from tests.threadline.logs import StillClock, keyring, open_log, received

WRITER = """
import sys
from pathlib import Path
from tests.faults.children import Child, Report
from tests.threadline.logs import open_log, received
log = open_log(Path(sys.argv[1]), rotate_bytes=int(sys.argv[4]))
for i in range(int(sys.argv[3])):
    log.record([received(f"text {i} " + "x" * (i % 300), id=f"{sys.argv[2]}-{i}")])
    print(i, flush=True)
"""
ROOT = Path(__file__).parents[3]


def start_writer(folder: Path, name: str, count: int, rotate: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count), str(rotate)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def texts(folder: Path) -> list[str]:
    """The ids in the log, in order, over all its files."""
    files = sorted((folder / "threadline").glob("inbox.jsonl.0*"))
    files.append(folder / "threadline" / "inbox.jsonl.active")
    return [json.loads(x)["id"] for f in files if f.exists() for x in f.read_bytes().splitlines()]


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    """S4: every line is whole, each once, each numbered once, whoever wrote it."""
    writers = [start_writer(tmp_path, name, 60, 20_000) for name in ("a", "b")]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert sorted(texts(tmp_path)) == sorted(f"{n}-{i}" for n in ("a", "b") for i in range(60))
    assert verify(tmp_path, keyring(tmp_path)).ok


def write_on(report: Report, folder: Path, name: str) -> None:
    """What the process to be killed does: a report for every message that is in the log."""
    log = open_log(folder, rotate_bytes=4_000)
    for i in range(1_000):
        log.record([received(f"text {i} " + "x" * (i % 300), id=f"{name}-{i}")])
        report(f"{name}-{i}")


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_two_hundred_kills(tmp_path: Path) -> None:
    """S3: killed anywhere, nothing that was acknowledged is gone, and the record verifies."""
    rng = random.Random(5)
    acknowledged: set[str] = set()
    for round_ in range(200):
        with Child(write_on, tmp_path, f"r{round_}") as writer:
            acknowledged |= {writer.hear() for _ in range(rng.randrange(1, 6))}
            acknowledged |= set(writer.kill())
    open_log(tmp_path).record([received("after")])
    found = texts(tmp_path)
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    verdict = verify(tmp_path, keyring(tmp_path))
    assert (verdict.ok, verdict.integrity, verdict.completeness) == (True, "ok", "complete")


class BrokenDisk(Disk):
    """Fails the n-th call, from then on or once, after writing half of what it should."""

    def __init__(self, code: int, at: int) -> None:
        self.code = code
        self.left = at

    def _tick(self) -> bool:
        self.left -= 1
        return self.left == 0

    def write(self, descriptor: int, data: bytes) -> None:
        if self._tick():
            super().write(descriptor, data[: len(data) // 2])
            raise OSError(self.code, os.strerror(self.code))
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        if self._tick():
            raise OSError(self.code, os.strerror(self.code))
        super().sync(descriptor)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("at", range(1, 14))
def test_a_disk_that_fails_once(tmp_path: Path, code: int, at: int) -> None:
    """S5: the failed append is reported; tried again it is there once, and the record verifies."""
    log = open_log(tmp_path, disk=BrokenDisk(code, at))
    failures = 0
    for i in range(4):
        try:
            log.record([received(str(i), id=f"m-{i}")])
        except LogUnavailable:
            failures += 1
            assert log.record([received(str(i), id=f"m-{i}")])[0].status in (
                "recorded",
                "duplicate",
            )
    assert texts(tmp_path) == [f"m-{i}" for i in range(4)]
    assert verify(tmp_path, keyring(tmp_path)).ok
    assert failures <= 1


def test_each_append_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    """The sync policy: chain, then log, both before the answer; a batch costs no more than one."""
    calls: list[str] = []

    class Watched(Disk):
        def write(self, descriptor: int, data: bytes) -> None:
            calls.append("chain" if b'"kind"' in data else "log")
            super().write(descriptor, data)

        def sync(self, descriptor: int) -> None:
            calls.append("sync")
            super().sync(descriptor)

    log = open_log(tmp_path, disk=Watched())
    log.record([received("first")])
    for batch in (1, 50):
        calls.clear()
        log.record([received(str(i)) for i in range(batch)])
        assert calls == ["chain", "sync", "log", "sync"]


def test_a_stopped_process_holds_nobody_up_for_good(tmp_path: Path) -> None:
    """A lock that is not given back is a refusal after a while, not a wait without an end."""
    open_log(tmp_path).record([received("one")])
    pauses: list[float] = []
    lock = str(tmp_path / "threadline" / "inbox.lock")
    with (
        locked(lock),
        pytest.raises(LogBusy, match=r"inbox\.lock"),
        locked(lock, pause=pauses.append),
    ):
        pass
    assert 3 < sum(pauses) < 10


def test_what_cannot_be_recorded_now_is_recorded_later(tmp_path: Path) -> None:
    """A failure never reaches the caller: spooled, counted, shown, and recorded once, in order."""
    disk = BrokenDisk(errno.ENOSPC, 1)
    log = open_log(tmp_path, disk=disk)
    recorder = Recorder(lambda: log, clock=StillClock(), spool_messages=10)
    answer = recorder.record_inbound(from_="d" * 32, thread_id="t", text="one")
    assert (answer.status, recorder.state().waiting) == ("spooled", 1)
    assert "No space left" in recorder.state().last_error
    assert recorder.record_outbound(to="d" * 32, thread_id="t", text="two").status == "recorded"
    state = recorder.state()
    assert (state.waiting, state.failures, state.last_error) == (0, 1, "")
    assert len(texts(tmp_path)) == 1
    assert verify(tmp_path, keyring(tmp_path)).ok


def test_the_spool_is_bounded(tmp_path: Path) -> None:
    """The oldest are dropped, and counted: memory never grows without an end."""

    class Dead(Disk):
        def write(self, descriptor: int, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    log = open_log(tmp_path, disk=Dead())
    recorder = Recorder(lambda: log, clock=StillClock(), spool_messages=3)
    for i in range(5):
        recorder.record(received(str(i)))
    state = recorder.state()
    assert (state.waiting, state.dropped) == (3, 2)
