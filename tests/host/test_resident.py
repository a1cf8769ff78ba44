"""Ours in a process that owns no HTTP: a port where the lease is, and nowhere else."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from instar_host import ConfigError
from instar_host.adapters.entry import Entry
from instar_host.adapters.resident import Resident
from instar_host.lease import Lease

GUARD_S = 20.0
LOOK_S = 0.02
LOOKS = 1000
TOKEN = "a-token-for-tests"


def entry(state_dir: Path, **section: Any) -> Entry:
    """A host's section, and nothing of the machine's environment."""
    said = {"port": 0, "stateDir": str(state_dir), "plugins": {"disabled": ["threadline"]}}
    return Entry.read("some-host", {**said, **section}, {"INSTAR_AUTH_TOKEN": TOKEN})


def resident(said: Entry, after: ExitStack) -> Resident:
    made = Resident(said.open_host, listen_on=said.listen, allow_hosts=said.allow_hosts)
    made.start()
    after.callback(made.stop, GUARD_S)
    assert made.runtime.wait_ready(GUARD_S)
    return made


def served(state_dir: Path) -> str:
    """Where the holder of the lease answers, as soon as it does."""
    pause = threading.Event()  # the kernel tells nobody when a lock changes hands
    for _ in range(LOOKS):
        holder = Lease(state_dir).holder()
        if holder is not None and holder.address:
            return holder.address
        pause.wait(LOOK_S)
    pytest.fail("nothing serves this state directory")


def test_it_serves_where_the_lease_names_it(state_dir: Path, after: ExitStack) -> None:
    """Rule 5: the section's settings hold, and the guard stands."""
    resident(entry(state_dir), after)
    address = served(state_dir)
    assert httpx.get(f"{address}/plugins", trust_env=False).status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    said = httpx.get(f"{address}/plugins", headers=bearer, trust_env=False).json()
    assert said["host"]["name"] == "some-host"
    states = {one["name"]: one["state"] for one in said["plugins"]}
    assert states["threadline"] == "disabled"


def test_only_the_holder_opens_a_port_and_the_next_one_takes_over(
    state_dir: Path, after: ExitStack
) -> None:
    """Rule 5: of two hosts one listens; when it ends, the other does."""
    first = resident(entry(state_dir), after)
    address = served(state_dir)
    second = resident(entry(state_dir), after)
    assert first.runtime.holds_lease()
    assert not second.runtime.holds_lease()
    assert served(state_dir) == address
    assert first.stop(GUARD_S)
    assert served(state_dir) != address
    assert second.runtime.holds_lease()


def test_a_wrong_section_is_a_sentence() -> None:
    """It says whose section and which key."""
    with pytest.raises(ConfigError, match=r"section instar of hermes: .*allowHosts"):
        Entry.read("hermes", {"allowHosts": "phone"}, {})
    with pytest.raises(ConfigError, match="has to be an object"):
        Entry.read("hermes", ["instar"], {})


def test_what_is_not_the_entrys_own_goes_on_as_settings(state_dir: Path) -> None:
    """In the shape of config.json, below the file."""
    said = entry(state_dir, tokenLedger={"maxFileAgeMs": 0})
    assert said.values["tokenLedger"] == {"maxFileAgeMs": 0}
    assert "stateDir" not in said.values
