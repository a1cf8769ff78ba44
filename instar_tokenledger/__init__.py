"""The token ledger: coding agents' transcripts in, an exact and durable account of their use out.

Observability only: transcripts are opened for reading, and nothing here ever gates or changes
what an agent does. The names below are what a plugin with a token source or an ear for
commits needs; everything else may move.
"""

from __future__ import annotations

from instar_host.store.tail import Lines, iter_lines
from instar_tokenledger.committed import Committed
from instar_tokenledger.usage import (
    CostState,
    Counters,
    Decoded,
    Iteration,
    TokenSource,
    UsageRow,
)

__all__ = [
    "Committed",
    "CostState",
    "Counters",
    "Decoded",
    "Iteration",
    "Lines",
    "TokenSource",
    "UsageRow",
    "iter_lines",
]
