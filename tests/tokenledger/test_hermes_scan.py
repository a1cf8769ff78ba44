"""Hermes's own usage is in a scan that somebody asks for: nobody waits for a tick of its own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from instar_host import HostContext, Terminal, TickControl
from instar_host.cli import run
from instar_host.testing import MakeHost
from instar_tokenledger.pace import Pace
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.service import LedgerService
from instar_tokenledger.ticking import LedgerTick
from instar_tokenledger.watch import Watch
from tests.tokenledger.hermes_home import Home
from tests.tokenledger.homes import EVER

AT_S = 1_767_225_600.0
CONTROL = TickControl(stopping=lambda: False)


@pytest.fixture
def hermes(tmp_path: Path) -> Home:
    """A Hermes that has used a hundred tokens of input."""
    made = Home(tmp_path)
    made.use(100, AT_S)
    return made


@pytest.fixture
def host(make_host: MakeHost, hermes: Home, tmp_path: Path) -> HostContext:
    """A host that knows where Hermes lives, and nothing else to read."""
    ours = {"hermesHome": str(hermes.path), "claudeDirs": [str(tmp_path)], "watch": False}
    return make_host([TokenLedgerPlugin()], {"tokenLedger": ours})


def scan(host: HostContext, tmp_path: Path) -> tuple[str, str]:
    """What `instar tokens scan` says, and what it notes."""
    out, err = io.StringIO(), io.StringIO()
    words = ["tokens", "scan", "--state-dir", str(host.state_dir)]
    terminal = Terminal(out=out, err=err)
    assert run(words, {}, lambda: tmp_path, lambda: tmp_path, terminal, lambda _: host) == 0
    return out.getvalue(), err.getvalue()


def test_a_scan_in_a_terminal_has_what_hermes_used(host: HostContext, tmp_path: Path) -> None:
    """Where no host runs whose tick would fetch it."""
    said, _ = scan(host, tmp_path)
    assert "in 1 request, 1 session" in said


def test_what_cannot_be_copied_keeps_nothing_else_from_being_read(
    host: HostContext, hermes: Home, tmp_path: Path
) -> None:
    """It is said, and the rest is read."""
    hermes.database.execute("DROP TABLE session_model_usage")
    _, noted = scan(host, tmp_path)
    assert "state.db cannot be read" in noted


def test_a_scan_that_is_asked_for_has_what_hermes_used(
    make_host: MakeHost, hermes: Home, tmp_path: Path
) -> None:
    """The ledger's tick fetches it for a wish, once; a failure to is not that tick's."""
    plugin = TokenLedgerPlugin()
    ours = {"hermesHome": str(hermes.path), "claudeDirs": [str(tmp_path)], "watch": False}
    service = plugin.service(make_host([plugin], {"tokenLedger": ours}))
    watch = Watch(service.host.clock, lambda: None)
    tick = LedgerTick(service, watch, Pace(rest=lambda _seconds: None))
    service.wishes.ask()
    tick.run(CONTROL)
    assert used(service) == 100
    hermes.database.execute("DROP TABLE session_model_usage")
    service.wishes.ask()
    tick.run(CONTROL)
    assert used(service) == 100
    service.close()


def used(service: LedgerService) -> int:
    """Tokens of input in the ledger."""
    with service.reading() as reading:
        total: int = reading.totals.summary(EVER)["totalInput"]
    return total
