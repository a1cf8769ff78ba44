"""The bounded pool: in threads, in line, and gone when closed."""

from __future__ import annotations

import asyncio
import threading

import pytest

from instar_host.workers import Workers, WorkersBusy

GUARD_S = 20.0


def test_work_is_done_by_at_most_so_many_and_waits_in_a_bounded_line() -> None:
    """One works, two wait, the fourth is told at once."""
    pool = Workers("t", max_workers=1, max_waiting=2)
    leave, inside = threading.Event(), threading.Event()

    def hold() -> int:
        inside.set()
        assert leave.wait(GUARD_S)
        return 1

    first = pool.submit(hold)
    assert inside.wait(GUARD_S)
    rest = [pool.submit(lambda: 2) for _ in range(2)]
    with pytest.raises(WorkersBusy):
        pool.submit(lambda: 3)
    leave.set()
    assert [f.result(GUARD_S) for f in (first, *rest)] == [1, 2, 2]
    pool.close()
    assert pool.join(GUARD_S) == ()


def test_what_work_raises_is_its_callers() -> None:
    """SystemExit too: no worker thread ends by it."""
    pool = Workers("t", max_workers=1)

    async def scene() -> None:
        with pytest.raises(SystemExit):
            await pool.run(lambda: (_ for _ in ()).throw(SystemExit(1)))
        assert await pool.run(lambda: 5) == 5

    asyncio.run(scene())
    pool.close()
    assert pool.join(GUARD_S) == ()


def test_closing_cancels_what_waits_and_takes_no_more() -> None:
    """Idempotent; every thread is gone."""
    pool = Workers("t", max_workers=1)
    leave, inside = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        leave.wait(GUARD_S)

    pool.submit(hold)
    assert inside.wait(GUARD_S)
    waiting = pool.submit(lambda: 1)
    pool.close()
    pool.close()
    assert waiting.cancelled()
    with pytest.raises(WorkersBusy):
        pool.submit(lambda: 2)
    assert pool.join(0) != ()
    leave.set()
    assert pool.join(GUARD_S) == ()
