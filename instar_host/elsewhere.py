"""What became of plugins in the host that runs, for a command in a process of its own.

Promises lines to print, and none where no host runs or answers in time: the command's own answer
does not depend on it. Never starts anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from instar_host.errors import InstarError
from instar_host.lease import Lease
from instar_host.plugins import PluginStatus
from instar_host.records import HostContext

ANSWER_WITHIN_S = 2.0


class _There(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    state: str
    error: str | None = None
    off: tuple[str, ...] = ()


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    plugins: tuple[_There, ...]


def met_elsewhere(host: HostContext, here: Iterable[PluginStatus]) -> Iterator[str]:
    """How plugins fare in the host that holds the lease, where that is not what `here` says."""
    try:
        holder = Lease(host.state_dir).holder()
        if holder is None or holder.address is None:
            return
        from instar_host.remote import RemoteHost  # brings HTTP along, for nobody else

        remote = RemoteHost(holder, host.config.token(), timeout_s=ANSWER_WITHIN_S)
        there = msgspec.convert(remote.get("/plugins"), _Answer).plugins
    except (InstarError, msgspec.ValidationError):
        return
    lines = list(_differences(tuple(here), there))
    if lines:
        yield f"in the host that runs (process {holder.pid}, {holder.address}):"
        yield from lines


def _differences(here: tuple[PluginStatus, ...], there: tuple[_There, ...]) -> Iterator[str]:
    known = {one.name: one for one in there}
    for mine in here:
        other = known.get(mine.name)
        if mine.state == "loaded" and (other is None or other.state == "disabled"):
            yield f"  {mine.name} is not loaded there; it will be when that host is started again"
        elif other is not None and other.error and other.error != mine.error:
            yield f"  {mine.name}: {other.error}"
        if other is not None and other.off:
            yield f"  {mine.name}: not called any more: {', '.join(other.off)}"
