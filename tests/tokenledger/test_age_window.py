"""Old files wait until they change, are asked for, or the limit is widened; never unseen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NoReturn

from instar_host.config import FILE_NAME
from instar_host.records import TickControl
from instar_tokenledger import display
from instar_tokenledger.config import DAY_MS
from instar_tokenledger.pace import Pace
from instar_tokenledger.ticking import LedgerTick
from instar_tokenledger.watch import Watch
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said

OLD = "projects/-home-dev-app/old.jsonl"
CONTROL = TickControl(stopping=lambda: False)


def a_tick(home: LedgerHome) -> LedgerTick:
    """A tick over the home's service, without a watch."""
    clock = clock_of(home)
    watch = Watch(clock, lambda: None, launch=_refuse)
    return LedgerTick(home.service, watch, Pace(rest=lambda _seconds: None))


def _refuse(_roots: object) -> NoReturn:
    raise FileNotFoundError(2, "no watch in this test")


def aged(home: LedgerHome, path: Path, days: int) -> None:
    """Let the file's last change be that long ago."""
    at_s = clock_of(home).now_ms() / 1000 - days * 86_400
    os.utime(path, (at_s, at_s))


def two_files(home: LedgerHome) -> Path:
    """One file of today and one of forty days ago; the path of the old one."""
    aged(home, home.write(SESSION, said("new", "new")), 0)
    old = home.write(OLD, said("old", "old"))
    aged(home, old, 40)
    return old


def settings(home: LedgerHome, **changes: object) -> None:
    """Rewrite the home's settings as a person would."""
    path = home.state_dir / FILE_NAME
    config = json.loads(path.read_text())
    config["tokenLedger"].update(changes)
    path.write_text(json.dumps(config))


def test_files_older_than_the_limit_wait_and_are_shown(home: LedgerHome) -> None:
    """How many wait, how large they are and how to read them stands in the status."""
    old = two_files(home)
    a_tick(home).run(CONTROL)
    status = home.status()
    assert (status["requests"], status["state"]) == (1, "up-to-date")
    assert (status["files"]["tooOld"], status["bytes"]["tooOld"]) == (1, old.stat().st_size)
    assert status["maxFileAgeMs"] == 30 * DAY_MS
    assert "instar tokens scan" in display.status_text(status)
    assert "30 days" in display.status_text(status)


def test_an_append_brings_a_file_back(home: LedgerHome) -> None:
    """A file that changes is read whole, even if its time says that it is old (T18)."""
    old = two_files(home)
    tick = a_tick(home)
    tick.run(CONTROL)
    home.append(OLD, said("more", "more"))
    aged(home, old, 39)
    tick.run(CONTROL)
    assert home.status()["requests"] == 3
    assert home.status()["files"]["tooOld"] == 0


def test_widening_needs_no_restart(home: LedgerHome) -> None:
    """The settings are read again by each tick; a mistake in the file changes nothing."""
    two_files(home)
    tick = a_tick(home)
    tick.run(CONTROL)
    settings(home, maxFileAgeMs="long")
    tick.run(CONTROL)
    assert home.status()["requests"] == 1
    settings(home, maxFileAgeMs=50 * DAY_MS)
    tick.run(CONTROL)
    assert home.status()["requests"] == 2


def test_no_limit(home: LedgerHome) -> None:
    """0 reads everything."""
    two_files(home)
    settings(home, maxFileAgeMs=0)
    a_tick(home).run(CONTROL)
    assert home.status()["requests"] == 2


def test_a_scan_that_is_asked_for_reads_files_of_any_age(home: LedgerHome) -> None:
    """`instar tokens scan` knows no age; so does the tick when all was wished for, once."""
    two_files(home)
    tick = a_tick(home)
    tick.run(CONTROL)
    number = home.service.wishes.ask(all_ages=True)
    tick.run(CONTROL)
    assert home.status()["requests"] == 2
    assert home.service.wishes.now.fulfilled == number
    aged(home, home.write(OLD.replace("old", "older"), said("x", "x")), 50)
    tick.run(CONTROL)
    assert home.status()["files"]["tooOld"] == 1
    home.scan()
    assert home.status()["requests"] == 3


def test_a_file_read_before_is_never_too_old(home: LedgerHome) -> None:
    """D1: after a restart, what grew in the meantime is read whatever its time says."""
    two_files(home)
    home.scan()
    old = home.append(OLD, said("more", "more"))
    aged(home, old, 40)
    home.restart()
    a_tick(home).run(CONTROL)
    assert home.status()["requests"] == 3


def test_a_wish_to_read_anew_reads_everything_again(home: LedgerHome) -> None:
    """Marks are forgotten once, nothing is counted twice, and the wish is fulfilled after it."""
    two_files(home)
    home.scan()
    tick = a_tick(home)
    tick.run(CONTROL)
    number = home.service.wishes.ask(anew=True)
    tick.run(CONTROL)
    assert home.service.wishes.now.fulfilled == number
    assert not home.service.wishes.now.anew
    assert home.status()["requests"] == 2
    assert home.status()["files"]["read"] == 2
