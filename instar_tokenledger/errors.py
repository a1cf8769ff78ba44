"""What goes wrong in the ledger in a way that a person can act on."""

# The names say what is wrong; "Error" on each would say nothing more.
# ruff: noqa: N818

from __future__ import annotations

from instar_host.errors import InstarError


class LedgerError(InstarError):
    """The ledger cannot do what was asked; the message says why and what to do."""


class LedgerInUse(LedgerError):
    """An older program still holds the ledger's file open."""


class LogHeld(LedgerError):
    """A reader that does not end keeps the ledger's log from being cut."""


class BadQuery(LedgerError):
    """A parameter that a query cannot take."""

    exit_code = 2


class NothingFound(LedgerError):
    """What was asked for is not in the ledger."""
