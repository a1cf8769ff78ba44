"""The hooks that the token ledger brings: where usage comes from, and who hears of it."""

from __future__ import annotations

from collections.abc import Iterable

from instar_host.hookspecs import hookspec
from instar_host.records import HostContext
from instar_tokenledger.committed import Committed
from instar_tokenledger.usage import TokenSource


@hookspec
def tokenledger_sources(host: HostContext) -> Iterable[TokenSource]:  # type: ignore[empty-body]
    """Agents whose transcripts are to be read. Two sources of one name: the later is left out."""


@hookspec
def tokenledger_committed(batch: Committed) -> None:
    """Observe a commit, after the fact and off every thread that matters; errors are counted."""
