"""What one tick reads: the bounds of `config.json`, by the keys that stand there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from instar_host import TickControl
from instar_host.testing import FakeClock, MakeHost
from instar_tokenledger.ingest import Progress
from instar_tokenledger.plugin import TokenLedgerPlugin
from tests.tokenledger.homes import said

FILES, LINES = 4, 5
ALL = FILES * LINES


class BusyClock(FakeClock):
    """A clock on which every look at it takes its time."""

    a_look_s = 0.0

    def monotonic_s(self) -> float:
        self.advance(self.a_look_s)
        return super().monotonic_s()


@pytest.fixture
def clock() -> BusyClock:
    return BusyClock()


Tick = Callable[..., tuple[int, Progress]]


@pytest.fixture
def first_tick(tmp_path: Path, make_host: MakeHost) -> Tick:
    """Run the first tick under some settings: requests known after it, and where reading stands."""
    folder = tmp_path / "claude" / "projects" / "-home-dev-app"
    folder.mkdir(parents=True)
    for n in range(FILES):
        lines = [said(f"m{n}-{i}", f"r{n}-{i}", session=f"s{n}") for i in range(LINES)]
        (folder / f"s{n}.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    def run(**settings: int | bool) -> tuple[int, Progress]:
        section = {"claudeDirs": [str(tmp_path / "claude")], "dailyBackups": 0, **settings}
        plugin = TokenLedgerPlugin()
        host = make_host([plugin], {"tokenLedger": {"watch": False, **section}})
        (tick,) = host.plugins.collect("instar_ticks", host=host)
        service = plugin.service(host)
        try:
            tick.value.func(TickControl(stopping=lambda: False))
            with service.reading() as reading:
                known = reading.totals.contents()["requests"]
        finally:
            service.close()
        assert service.health.progress is not None
        return known, service.health.progress

    return run


def test_without_a_bound_that_matters_one_tick_reads_everything(first_tick: Tick) -> None:
    """The defaults are far beyond twenty lines."""
    known, progress = first_tick()
    assert (known, progress.caught_up) == (ALL, True)


def test_max_files_per_scan_bounds_the_files(first_tick: Tick) -> None:
    """`maxFilesPerScan`: the other files wait for the next tick."""
    known, progress = first_tick(maxFilesPerScan=1)
    assert (known, progress.files_read, progress.caught_up) == (LINES, 1, False)


def test_max_bytes_per_scan_bounds_a_tick_inside_a_file(first_tick: Tick) -> None:
    """`maxBytesPerScan` of one: a line is read, and its file goes on at the next tick."""
    known, progress = first_tick(maxBytesPerScan=1)
    assert (known, progress.files_read, progress.caught_up) == (1, 0, False)


def test_max_rows_per_scan_ends_a_tick_with_the_stretch_that_is_read(first_tick: Tick) -> None:
    """`maxRowsPerScan` of one: nothing further is read than the lines that came together."""
    known, progress = first_tick(maxRowsPerScan=1)
    assert (known, progress.caught_up) == (LINES, False)


def test_max_scan_ms_bounds_the_time(first_tick: Tick, clock: BusyClock) -> None:
    """`maxScanMs`: a tick whose time is up leaves the rest to the next."""
    clock.a_look_s = 0.001
    known, progress = first_tick(maxScanMs=1)
    assert known < ALL
    assert not progress.caught_up
