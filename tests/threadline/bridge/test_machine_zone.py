"""The machine's own zone is one of summer and winter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from instar_host.testing import MakeHost
from instar_threadline.bridge.machine_zone import MachineZone
from instar_threadline.bridge.options import SECTION, BridgeOptions

HOUR = timedelta(hours=1)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in Berlin, where clocks are put forward and back."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(("month", "offset"), [(1, HOUR), (7, 2 * HOUR)])
def test_an_instant_has_the_offset_of_its_season(
    make_host: MakeHost, month: int, offset: timedelta
) -> None:
    """Whatever the season in which the host began: times shown and quiet hours follow it."""
    zone = make_host().config.section(SECTION, BridgeOptions).zone()
    shown = datetime(2026, month, 1, 12, tzinfo=UTC).astimezone(zone)
    assert (shown.utcoffset(), shown.hour) == (offset, 12 + offset // HOUR)


@pytest.mark.usefixtures("berlin")
def test_there_and_back_is_the_same_instant() -> None:
    """Also within the hour that comes twice."""
    zone = MachineZone()
    for minutes in range(0, 4 * 60, 30):
        instant = datetime(2026, 10, 25, tzinfo=UTC) + timedelta(minutes=minutes)
        assert instant.astimezone(zone).astimezone(UTC) == instant
    assert instant.astimezone(zone).tzname() == "CET"
