"""Agents that may carry us: their own usage is a source inside them, and elsewhere when asked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from instar_host import HostContext
from instar_host.testing import MakeHost
from instar_tokenledger.plugin import TokenLedgerPlugin, sources_of


def names(host: HostContext) -> list[str]:
    return [source.name for source in sources_of(host)]


def test_outside_an_agent_nothing_of_it_is_looked_for(make_host: MakeHost) -> None:
    """No folder is walked that nobody named."""
    assert names(make_host([TokenLedgerPlugin()])) == ["claude-code"]


@pytest.mark.parametrize(("key", "name"), [("hermesHome", "hermes"), ("bubHome", "bub")])
def test_a_home_that_is_named_is_a_source(
    make_host: MakeHost, tmp_path: Path, key: str, name: str
) -> None:
    """`tokenLedger.hermesHome` and `tokenLedger.bubHome` work in every host."""
    host = make_host([TokenLedgerPlugin()], {"tokenLedger": {key: str(tmp_path)}})
    assert names(host) == ["claude-code", name]


@pytest.mark.parametrize("name", ["hermes", "bub"])
def test_inside_an_agent_its_own_home_is_a_source(make_host: MakeHost, name: str) -> None:
    """Without a word of configuration."""
    host = msgspec.structs.replace(make_host([TokenLedgerPlugin()]), name=name)
    assert names(host) == ["claude-code", name]


def test_only_hermes_needs_a_tick(make_host: MakeHost, tmp_path: Path) -> None:
    """Its totals have to be fetched; tapes are files as they are."""

    def ticks(host: HostContext) -> list[str]:
        return [found.value.name for found in host.plugins.collect("instar_ticks", host=host)]

    told = {"tokenLedger": {"hermesHome": str(tmp_path), "bubHome": str(tmp_path)}}
    assert ticks(make_host([TokenLedgerPlugin()])) == ["tokens"]
    assert ticks(make_host([TokenLedgerPlugin()], told)) == ["tokens", "hermes-usage"]
