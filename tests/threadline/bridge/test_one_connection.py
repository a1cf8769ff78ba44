"""One connection, several threads: whoever uses it holds the queue's lock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import apsw

from instar_threadline.bridge.outbox import Outbox
from tests.threadline.bridge.world import World

pytest_plugins = ["instar_host.testing"]


class Guarded:
    """A connection that asks whether its user holds the lock."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._real = outbox.connection

    def __getattr__(self, name: str) -> Any:
        user = sys._getframe(1)
        if not user.f_globals["__name__"].startswith("tests."):
            held = cast("Any", self._outbox.lock)._is_owned()
            assert held, f"{user.f_globals['__name__']}:{user.f_lineno} uses it without the lock"
        return getattr(self._real, name)


def test_the_worker_and_the_feed_never_meet_on_the_connection(state_dir: Path) -> None:
    """The feed fills the queue while the chat's thread empties it, and neither
    finds the connection busy."""
    world = World(state_dir)
    real, guarded = world.outbox.connection, Guarded(world.outbox)
    world.outbox.connection = cast("apsw.Connection", guarded)
    for number in range(3):
        world.say(f"message {number}", thread=f"t{number % 2}")
    world.transport.faults = [None, "reset-after", None, "502-before"]
    world.run()
    assert world.waiting() == 0
    world.outbox.connection = real
    world.close()
