"""A stand-in for Bub's gateway, as a program: runs our channel, tells when it serves, waits.

`python gateway_of_bub.py STATE_DIR NOBODY|BEFORE|AFTER`: who listens for SIGTERM besides us, and
whether from before our channel starts or after it. Whoever does leaves with exit code 7.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import types
from typing import Any

GUARD_S = 60.0


class Lifecycle:
    """What Bub's class of that name is to a channel."""


def main(state_dir: str, listener: str) -> int:
    base: Any = types.ModuleType("bub.channels.base")
    base.Lifecycle = Lifecycle
    sys.modules.update({"bub.channels.base": base})
    for name in ("bub", "bub.channels"):
        sys.modules[name] = types.ModuleType(name)
    return asyncio.run(run(state_dir, listener))


async def run(state_dir: str, listener: str) -> int:
    from instar_host.adapters.bub_channel import InstarChannel
    from instar_host.adapters.entry import Entry

    section = {"port": 0, "stateDir": state_dir, "plugins": {"disabled": ["threadline"]}}
    entry = Entry.read("bub", section, {"INSTAR_AUTH_TOKEN": "a-token"})
    asked = asyncio.Event()
    if listener == "BEFORE":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    channel = InstarChannel(lambda: entry, stop_s=GUARD_S)
    await channel.start(asyncio.Event())
    if listener == "AFTER":
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(asked.set))
    assert channel._resident is not None
    await asyncio.to_thread(channel._resident.runtime.wait_ready)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asked.wait()
    await channel.stop()
    return 7


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
