"""What the tests inside real hosts share: wheels and environments, made once; programs that end
with a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.hosts import agents
from tests.hosts.environments import Environment, build_wheels
from tests.hosts.inhabited import Inhabited
from tests.hosts.programs import Program, Start
from tests.threadline.bridge.fake_bot_api import BotApi
from tests.threadline.bridge.fake_bot_server import BotServer, serving


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Our wheel and those of the example plugins."""
    return build_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start programs in the test's folder; whatever is left of them ends with the test."""
    programs: list[Program] = []

    def begin(command: Sequence[str], environ: Mapping[str, str]) -> Program:
        programs.append(Program(command, environ, tmp_path))
        return programs[-1]

    yield begin
    for program in programs:
        program.destroy()


@pytest.fixture(scope="session")
def hermes_python(wheels: Sequence[Path]) -> Environment:
    return agents.hermes_environment(wheels)


@pytest.fixture(scope="session")
def bub_python(wheels: Sequence[Path]) -> Environment:
    return agents.bub_environment(wheels)


@pytest.fixture
def hermes(hermes_python: Environment, start: Start, tmp_path: Path) -> Inhabited:
    """Hermes's gateway, with nothing but us in its configuration."""
    return agents.hermes_gateway(hermes_python, start, tmp_path)


@pytest.fixture
def bub(bub_python: Environment, start: Start, tmp_path: Path) -> Inhabited:
    """Bub's gateway, with our channel."""
    return agents.bub_gateway(bub_python, start, tmp_path)


@pytest.fixture
def bot_server() -> Iterator[BotServer]:
    """A fake Bot API on the loopback."""
    with serving(BotApi()) as server:
        yield server
