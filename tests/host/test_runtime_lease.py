"""The engine and the lease: one host of several writes, and the others follow it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from itertools import count

import pytest

from instar_host import InstarError
from instar_host.lease import Lease
from instar_host.runtime import Runtime
from tests.host.diary import Diary

GUARD_S = 20.0


def test_one_host_writes_and_the_next_takes_over(make_runtime: Callable[..., Runtime]) -> None:
    """Rule 5: ticks run in one of two; the other reads, says who writes, and follows."""
    one, two = Diary(), Diary()
    first, second = make_runtime(one), make_runtime(two)
    first.start()
    assert first.wait_ready(GUARD_S)
    second.start()
    assert second.wait_ready(GUARD_S)
    assert one.ticked.wait(GUARD_S)
    first.publish_address("http://127.0.0.1:1")
    assert (first.holds_lease(), second.holds_lease()) == (True, False)
    assert second.lease_status().pid == os.getpid()
    assert second.lease_status().address == "http://127.0.0.1:1"
    assert not two.ticked.is_set()
    assert first.stop(GUARD_S)
    assert two.ticked.wait(GUARD_S)
    assert second.holds_lease()


def test_a_lost_lease_stops_the_ticks(make_runtime: Callable[..., Runtime]) -> None:
    """Rule 5: somebody removed the lock file, so others may hold a new one: ours is void."""
    diary = Diary()
    runtime = make_runtime(diary)
    runtime.start()
    assert diary.ticked.wait(GUARD_S)
    assert diary.host is not None
    lock = diary.host.state_dir / "instar.lock"
    lock.unlink()
    assert not runtime.holds_lease()
    with Lease(diary.host.state_dir):
        diary.ticked.clear()
        runtime.wake("diary")
    assert diary.ticked.wait(GUARD_S)


def test_why_the_lease_cannot_be_tried_is_said_once(
    make_runtime: Callable[..., Runtime],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On a disk that cannot be written it is tried again and again: one line, not one a second."""
    tries, often = count(1), threading.Event()

    def read_only(_lease: Lease) -> bool:
        if next(tries) == 5:
            often.set()
        raise InstarError("instar.lock cannot be opened: Read-only file system")

    monkeypatch.setattr(Lease, "try_acquire", read_only)
    runtime = make_runtime(Diary())
    runtime.start()
    assert often.wait(GUARD_S)
    assert runtime.stop(GUARD_S)
    said = [line for line in caplog.messages if "could not be tried" in line]
    assert len(said) == 1


def test_a_disk_that_is_full_at_the_take_over_keeps_no_tick_from_running(
    make_runtime: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is held though nothing could be written into its file: ticks run, and others are
    told the address as soon as there is room.
    """
    diary = Diary()
    runtime = make_runtime(diary)
    real, full, written = os.pwrite, threading.Event(), threading.Event()
    full.set()

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        written.set()
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    runtime.start()
    assert diary.ticked.wait(GUARD_S)
    runtime.publish_address("http://127.0.0.1:1")
    full.clear()
    assert written.wait(GUARD_S)
    assert runtime.stop(GUARD_S)
