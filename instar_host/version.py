"""Which version of this distribution runs."""

from __future__ import annotations

from instar_host.distributions import version_of

OUR_DISTRIBUTION = "instar-plugins"


def installed_version() -> str:
    """What pip installed; `0+unknown` when pip does not know it."""
    return version_of(OUR_DISTRIBUTION) or "0+unknown"
