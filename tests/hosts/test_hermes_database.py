"""Hermes's own database while we run in its gateway: read, and never touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from tests.hosts import agents, lock_holder
from tests.hosts.databases import is_locked, is_whole
from tests.hosts.inhabited import Inhabited
from tests.hosts.programs import Site, until

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

TICK = "hermes-usage"
TICKS = 3
EVER = "/tokens/summary?since=2025-01-01T00:00:00Z"


@pytest.fixture
def told(hermes: Inhabited, tmp_path: Path) -> Path:
    """The folder through which the gateway's holder of a transaction is told what to do."""
    plugin = hermes.config_file.parent / "plugins" / "holder"
    plugin.mkdir(parents=True)
    shutil.copy(lock_holder.__file__, plugin / "__init__.py")
    (plugin / "plugin.yaml").write_text("name: holder\nversion: 1.0.0\n", encoding="utf-8")
    hermes.wrap = lambda section: agents.hermes_plugins(section, "instar", "holder")
    folder = tmp_path / "told"
    folder.mkdir()
    return folder


def test_a_transaction_of_the_gateway_keeps_its_lock_while_we_read(
    hermes: Inhabited, told: Path
) -> None:
    """SQLite's locks belong to the process: one descriptor closed by us would drop them all."""
    database = hermes.config_file.parent / "state.db"
    site = hermes.begin({"tokenLedger": {"idleIntervalMs": 1000}}, HOLDER_FOLDER=str(told))
    tell(told, "hold", "held", site)
    ran = runs(site)
    site.until(EVER, lambda said: said["summary"]["totalInput"] == 100)
    until(lambda: runs(site) >= ran + TICKS, site.program.output)
    assert is_locked(database)

    tell(told, "drop", "dropped", site)
    assert not is_locked(database), "a lost lock would not have been noticed"
    tell(told, "release", "released", site)
    hermes.end(site.program)
    assert is_whole(database)
    connection = apsw.Connection(str(database))
    titles = connection.execute("SELECT title FROM sessions").fetchall()
    assert titles == [("from the held transaction",)]
    connection.close()


def tell(folder: Path, word: str, done: str, site: Site) -> None:
    (folder / word).touch()
    until((folder / done).exists, site.program.output)


def runs(site: Site) -> int:
    """How often our look at Hermes's usage has run."""
    [found] = [one["runs"] for one in site.get("/plugins")["ticks"] if one["name"] == TICK]
    return int(found)
