"""Inside every agent host that we have an adapter for: the same laws."""

from __future__ import annotations

import signal

import pytest

from tests.hosts import laws
from tests.hosts.inhabited import Inhabited
from tests.threadline.bridge.fake_bot_server import BotServer

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

HOSTS = ("hermes", "bub")
EXITS = [
    ("hermes", signal.SIGTERM, (0, 1)),
    ("hermes", signal.SIGINT, (0,)),
    ("bub", signal.SIGTERM, (-signal.SIGTERM,)),
    ("bub", signal.SIGINT, (0,)),
]
"""How each host ends without us. Hermes calls an unplanned SIGTERM an error once it has started."""


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Inhabited:
    found: Inhabited = request.getfixturevalue(request.param)
    return found


def test_it_answers_in_time(host: Inhabited) -> None:
    """Within half a minute of the command."""
    laws.answers_in_time(host)


@pytest.mark.parametrize(("name", "number", "exit_codes"), EXITS)
def test_it_serves_ticks_and_ends_with_its_host(
    request: pytest.FixtureRequest, name: str, number: signal.Signals, exit_codes: tuple[int, ...]
) -> None:
    """Whatever the signal: the lease is free, the databases are closed, nothing is left."""
    laws.dies_of_what_it_is_sent(request.getfixturevalue(name), number, exit_codes)


def test_third_parties_work_inside(host: Inhabited) -> None:
    """Route, tick, source and panel of a plugin that somebody else wrote."""
    laws.carries_third_parties(host)


def test_a_third_partys_redactor_and_sink_work_inside(
    host: Inhabited, bot_server: BotServer
) -> None:
    """What may not leave does not, and what may goes both ways."""
    laws.redacts_and_carries_away(host, bot_server)


def test_a_message_is_mirrored_once(host: Inhabited, bot_server: BotServer) -> None:
    """Across restarts of the gateway."""
    laws.mirrors_once(host, bot_server)


def test_a_kill_while_a_message_is_sent_loses_nothing(
    host: Inhabited, bot_server: BotServer
) -> None:
    """Once, or twice and marked; one topic."""
    laws.survives_a_kill_while_it_sends(host, bot_server)
