"""Guessing is slow, and the log about it is short: the guard against a fake clock."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from instar_host.testing import FakeClock
from instar_host.web.guard import BAD_TOKEN_DELAY_S, BAD_TOKENS_A_MINUTE, Guard
from instar_host.web.policy import Policy


class Caller:
    """Asks a guard with a wrong token and notes how long it was made to wait."""

    def __init__(self, clock: FakeClock) -> None:
        self.delays: list[float] = []
        self.guard = Guard(
            self.inside,
            Policy(token="right"),
            is_open=lambda _scope: False,
            clock=clock,
            delay=self.wait,
        )

    async def inside(self, *_asgi: Any) -> None:
        """Nobody gets here."""
        raise AssertionError

    async def wait(self, seconds: float) -> None:
        """A delay that takes no time."""
        self.delays.append(seconds)

    def guess(self, times: int) -> None:
        """That many wrong tokens."""
        headers = [(b"host", b"localhost"), (b"authorization", b"Bearer wrong")]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}

        async def send(_message: Any) -> None:
            pass

        async def receive() -> Any:
            raise AssertionError

        async def all_of_them() -> None:
            for _ in range(times):
                await self.guard(dict(scope), receive, send)

        asyncio.run(all_of_them())


def test_after_twenty_wrong_tokens_a_minute_each_takes_longer(clock: FakeClock) -> None:
    """Section 7, point 9: and after a quiet minute it is forgotten."""
    caller = Caller(clock)
    caller.guess(BAD_TOKENS_A_MINUTE)
    assert caller.delays == []
    caller.guess(3)
    assert caller.delays == [BAD_TOKEN_DELAY_S] * 3
    clock.advance(61)
    caller.guess(1)
    assert len(caller.delays) == 3


def test_refusals_are_logged_once_a_second(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With their number, and without a word that the caller sent."""
    caller = Caller(clock)
    with caplog.at_level(logging.INFO, logger="instar.web.guard"):
        caller.guess(10)
        clock.advance(1)
        caller.guess(1)
    assert [record.getMessage() for record in caplog.records] == [
        "refused 1 request(s), last: Invalid auth token",
        "refused 10 request(s), last: Invalid auth token",
    ]
