"""Which version of this distribution runs."""

from __future__ import annotations

from importlib import metadata

OUR_DISTRIBUTION = "instar-plugins"


def installed_version() -> str:
    """What pip installed; `0+unknown` when pip does not know it."""
    try:
        return metadata.version(OUR_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+unknown"
