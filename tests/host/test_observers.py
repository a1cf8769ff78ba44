"""Observers: their line, their end, and forks."""

from __future__ import annotations

import os
import threading

from instar_host.observers import Observers


def make(capacity: int = 3) -> tuple[Observers, list[str]]:
    dropped: list[str] = []
    return Observers(
        failed=lambda _plugin, _exc: None, dropped=dropped.append, capacity=capacity
    ), dropped


def test_nothing_runs_before_there_is_something_to_tell() -> None:
    """A host without observers has no thread for them."""
    before = threading.active_count()

    observers, _dropped = make()

    assert threading.active_count() == before
    assert observers.flush(0)
    assert observers.close(0) == ()


def test_a_full_line_drops_the_newest() -> None:
    """What was accepted first is told first; the caller never waits."""
    observers, dropped = make()
    begun, release = threading.Event(), threading.Event()
    told: list[int] = []

    def first() -> None:
        begun.set()
        release.wait(60)

    observers.put("p", first)
    assert begun.wait(10)
    for at in range(5):
        observers.put("p", lambda at=at: told.append(at))  # type: ignore[misc]
    release.set()

    assert observers.close(10) == ()
    assert told == [0, 1, 2]
    assert dropped == ["p", "p"]


def test_a_failing_observer_goes_on() -> None:
    """Even one that wants to leave the process."""
    failed: list[str] = []
    observers = Observers(failed=lambda p, e: failed.append(f"{p} {e!r}"), dropped=failed.append)

    def leave() -> None:
        raise SystemExit(1)

    told = threading.Event()
    observers.put("p", leave)
    observers.put("p", told.set)

    assert observers.flush(10)
    assert told.is_set()
    assert failed == ["p SystemExit(1)"]
    observers.close(10)


def test_a_forked_child_has_lines_of_its_own() -> None:
    """Threads do not survive a fork; a child that tells observers starts anew and does not hang."""
    observers, _dropped = make()
    observers.put("p", lambda: None)
    assert observers.flush(10)

    child = os.fork()
    if child == 0:
        told = threading.Event()
        observers.put("p", told.set)
        os._exit(0 if told.wait(10) and observers.close(10) == () else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    observers.close(10)
