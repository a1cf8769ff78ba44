"""What one commit changed: the record that observers of the ledger receive."""

from __future__ import annotations

import msgspec


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What one commit changed; observers receive it after the fact."""

    added: int
    changed: int
    sessions: tuple[str, ...]
    """Sessions with a new or changed request, sorted."""
    files: int
    """Files whose mark moved."""
