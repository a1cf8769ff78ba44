"""What the tests inside real hosts share: wheels, built once, and programs that end with a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.hosts.environments import build_wheels
from tests.hosts.programs import Program

Start = Callable[[Sequence[str], Mapping[str, str]], Program]


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
