"""Time zones by name, and the one that the person at this machine lives in.

UTC needs no time zone database; every other zone does. Never guesses: a name that is not known is
an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import NamedTuple

from instar_tokenledger.errors import BadQuery

LOCALTIME = "/etc/localtime"
DATABASE = "zoneinfo/"


class Zone(NamedTuple):
    """A time zone and the name it goes by."""

    name: str
    info: tzinfo


def zone_of(name: str) -> Zone:
    """The zone of an IANA name. Raises `BadQuery`."""
    if name in ("UTC", "Etc/UTC"):
        return Zone("UTC", UTC)
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return Zone(name, ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadQuery("tz has to be an IANA time zone such as Europe/Berlin") from None


def local_zone(environ: Mapping[str, str], localtime: str = LOCALTIME) -> Zone:
    """The zone of `TZ`, else of this machine, else UTC."""
    names = [environ.get("TZ", "").removeprefix(":")]
    if os.path.islink(localtime):
        names.append(os.path.realpath(localtime).rpartition(DATABASE)[2])
    for name in names:
        if name:
            try:
                return zone_of(name)
            except BadQuery:
                continue
    return zone_of("UTC")
