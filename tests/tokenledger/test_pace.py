"""Rests between slices of work: after enough of it, and never more than that."""

from __future__ import annotations

import gc

import pytest

from instar_tokenledger import pace
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


def read_alone(fail: bool) -> int:
    """The collector's first threshold while a step reads alone."""
    with pace.alone():
        if fail:
            raise OSError("disk")
        return gc.get_threshold()[0]


def test_the_collector_looks_as_often_as_before_once_the_work_is_done() -> None:
    """Less often meanwhile, and not for good, whether the work ends well or not."""
    before = gc.get_threshold()
    assert read_alone(fail=False) > before[0]
    assert gc.get_threshold() == before
    with pytest.raises(OSError, match="disk"):
        read_alone(fail=True)
    assert gc.get_threshold() == before
