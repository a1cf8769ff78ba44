"""How soon the next tick comes: soon after a change, seldom after hours of quiet."""

from __future__ import annotations

import pytest

from instar_tokenledger.cadence import (
    BUSY_S,
    CATCHING_UP_S,
    LISTENING_S,
    LOOK_SHARE,
    Pulse,
    delay_s,
    whole_look_is_due,
)

QUIET = Pulse(waiting=False, quiet_s=0.0, look_s=0.0, idle_s=60.0)


def pulse(**changes: float) -> Pulse:
    fields = {name: getattr(QUIET, name) for name in QUIET.__struct_fields__}
    return Pulse(**{**fields, **changes})


def test_files_that_wait_make_no_pause() -> None:
    """A backlog is read tick after tick, whatever else is the case."""
    assert delay_s(pulse(waiting=True, watching=True, quiet_s=9e9)) == CATCHING_UP_S


@pytest.mark.parametrize(
    ("quiet_s", "expected"),
    [(0, BUSY_S), (9, BUSY_S), (50, 5), (600, 60), (3_599, 60), (3_600, 300)],
)
def test_the_longer_it_is_quiet_the_rarer_are_looks(quiet_s: float, expected: float) -> None:
    """Active: a second. Idle: the setting. Idle for an hour: five times that."""
    assert delay_s(pulse(quiet_s=quiet_s)) == expected


def test_waits_only_grow_with_quiet() -> None:
    """No stretch of quiet brings looks closer together."""
    waits = [delay_s(pulse(quiet_s=s)) for s in range(0, 8_000, 7)]
    assert waits == sorted(waits)


def test_a_change_brings_looks_back_at_once() -> None:
    """The wait is worked out anew each time, from the last change alone."""
    assert delay_s(pulse(quiet_s=100_000)) == 300
    assert delay_s(pulse(quiet_s=0)) == BUSY_S


def test_somebody_who_looks_on_sees_changes_soon() -> None:
    """With the page open it is looked at every two seconds, however long it was quiet."""
    assert delay_s(pulse(quiet_s=10_000, listening=True)) == LISTENING_S
    assert delay_s(pulse(quiet_s=0, listening=True)) == BUSY_S


def test_a_watch_makes_looks_rare() -> None:
    """What the system tells of need not be looked for."""
    assert delay_s(pulse(watching=True)) == 60
    assert delay_s(pulse(watching=True, quiet_s=4_000)) == 300


def test_the_setting_is_never_exceeded_while_things_change() -> None:
    """An idle interval below the usual steps is kept to."""
    assert delay_s(pulse(idle_s=1.0, quiet_s=3_000)) == 1.0


def test_while_files_wait_every_tick_looks_at_everything() -> None:
    """So that a new line anywhere is read in the next tick, however long a look takes."""
    assert whole_look_is_due(pulse(waiting=True, look_s=5.0), 0.01)


def test_a_look_takes_a_small_share_of_the_time() -> None:
    """With nothing to read, a look that takes a second comes every twenty."""
    assert not whole_look_is_due(pulse(look_s=1.0), LOOK_SHARE - 0.1)
    assert whole_look_is_due(pulse(look_s=1.0), LOOK_SHARE)
    assert whole_look_is_due(pulse(), 0.0)


def test_beside_a_watch_looks_only_make_sure() -> None:
    """A whole look once in an idle interval, backlog or not."""
    assert not whole_look_is_due(pulse(watching=True, waiting=True), 59)
    assert whole_look_is_due(pulse(watching=True), 60)
    assert whole_look_is_due(pulse(watching=True), None)
