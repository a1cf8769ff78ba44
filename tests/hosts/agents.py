"""The agent hosts: which version, how it is started, where it is told our settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.hosts.environments import Environment, environment
from tests.hosts.inhabited import Inhabited
from tests.hosts.programs import Start

HERMES = ("hermes-agent[messaging]==0.19.0",)
BUB = ("bub==0.5.1",)


def hermes_environment(wheels: Sequence[Path]) -> Environment:
    return environment("hermes", HERMES, wheels, (3, 11))


def bub_environment(wheels: Sequence[Path]) -> Environment:
    return environment("bub", BUB, wheels, (3, 12))


def hermes_gateway(python: Environment, start: Start, home: Path) -> Inhabited:
    """A gateway with nothing but us in its configuration."""
    folder = home / "hermes"
    return Inhabited(
        name="hermes",
        python=python,
        command=(python.program("hermes"), "gateway", "run"),
        home=home,
        config_file=folder / "config.yaml",
        wrap=lambda section: hermes_plugins(section, "instar"),
        start=start,
        environ={"HERMES_HOME": str(folder)},
    )


def hermes_plugins(section: Mapping[str, Any], *enabled: str) -> dict[str, Any]:
    """Hermes's configuration with these plugins enabled."""
    return {"plugins": {"enabled": list(enabled), "entries": {"instar": section}}}


def bub_gateway(python: Environment, start: Start, home: Path) -> Inhabited:
    """A gateway that runs our channel."""
    folder = home / ".bub"
    return Inhabited(
        name="bub",
        python=python,
        command=(python.program("bub"), "gateway", "--enable-channel", "instar"),
        home=home,
        config_file=folder / "config.yml",
        wrap=lambda section: {"instar": section},
        start=start,
        environ={"BUB_HOME": str(folder)},
    )
