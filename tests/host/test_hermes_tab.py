"""Our tab in Hermes's dashboard: which files, and what the tab is told."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pytest

from instar_host import Terminal
from instar_host.adapters.entry import Entry
from instar_host.adapters.hermes_dashboard import page_address
from instar_host.adapters.hermes_tab import FOLDER, HermesCommands
from instar_host.lease import Lease
from instar_host.testing import MakeHost

TOKEN = "a-token-for-tests"


def tab(host_of: MakeHost, home: Path, action: str) -> str:
    """What `hermes instar tab ACTION` prints."""
    (command,) = HermesCommands(home).instar_commands()
    parser = argparse.ArgumentParser()
    command.configure(parser)
    terminal = Terminal(out=io.StringIO(), err=io.StringIO())
    assert command.run(parser.parse_args([action]), host_of(), terminal) == 0
    assert isinstance(terminal.out, io.StringIO)
    return terminal.out.getvalue()


def test_it_is_installed_where_hermes_looks(make_host: MakeHost, tmp_path: Path) -> None:
    """The manifest names files that are there; a second time changes nothing."""
    for _ in range(2):
        assert "hermes dashboard" in tab(make_host, tmp_path, "install")
    folder = tmp_path / FOLDER
    said = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert said["name"] == "instar"
    assert 'register("instar"' in (folder / said["entry"]).read_text(encoding="utf-8")
    code = compile((folder / said["api"]).read_text(encoding="utf-8"), "api.py", "exec")
    space: dict[str, object] = {}
    exec(code, space)  # as Hermes does
    assert space["__all__"] == ["router"]


def test_removing_it_leaves_nothing_of_ours_and_all_of_others(
    make_host: MakeHost, tmp_path: Path
) -> None:
    """Only our three files go; a folder goes when nothing is left in it."""
    tab(make_host, tmp_path, "install")
    other = tmp_path / FOLDER / "theirs.txt"
    other.touch()
    tab(make_host, tmp_path, "remove")
    assert [path for path in (tmp_path / "plugins").rglob("*") if path.is_file()] == [other]
    other.unlink()
    tab(make_host, tmp_path, "install")
    tab(make_host, tmp_path, "remove")
    assert list((tmp_path / "plugins").iterdir()) == []
    assert "no tab" in tab(make_host, tmp_path, "remove")


@pytest.mark.parametrize("address", [None, "http://127.0.0.1:4042"])
def test_the_address_is_that_of_the_gateway(state_dir: Path, address: str | None) -> None:
    """Whoever holds the lease names the page; nobody there, none."""
    said = Entry.read("hermes", {"stateDir": str(state_dir)}, {"INSTAR_AUTH_TOKEN": TOKEN})
    assert page_address(said) is None
    lease = Lease(state_dir)
    assert lease.try_acquire()
    lease.publish(address)
    assert page_address(said) == (address or None)
    lease.release()
