"""Rests between slices of work: after enough of it, and never more than that."""

from __future__ import annotations

from instar_tokenledger.pace import REST_S, WORK_S, Pace


def test_it_rests_once_enough_was_done() -> None:
    """A rest for every 5 ms of the thread's own work, none for the time it waited."""
    rests: list[float] = []
    work = iter([0.0, WORK_S / 2, WORK_S, WORK_S * 1.5, WORK_S * 2.1, 0.001])
    pace = Pace(rests.append, lambda: next(work))
    counts = []
    for _ in range(6):
        pace()
        counts.append(len(rests))
    assert counts == [0, 0, 1, 1, 2, 2]
    assert set(rests) == {REST_S}
