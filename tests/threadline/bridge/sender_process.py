"""A process that forks senders on demand, each with the whole bridge, to be killed at any moment.

Run as a script: state directory, then the factor by which time runs faster. Each line on stdin
forks one sender, whose pid is answered on stdout. The imports are done once, before any fork.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from instar_host.config import Config
from instar_host.host import host_context
from instar_host.plugins import Plugins
from instar_host.records import TickControl
from instar_threadline.bridge import telegram
from instar_threadline.bridge.assembly import Bridge, Surroundings
from instar_threadline.bridge.target import Pace
from instar_threadline.plugin import ThreadlinePlugin

FAST = Pace(per_window=1_000_000, gap_ms=0, for_history=1_000_000)


class FastClock:
    """Time that runs faster than it should, from an instant on that all senders agree about."""

    def __init__(self, factor: float, began_s: float) -> None:
        self.factor = factor
        self.began_s = began_s

    def now_ms(self) -> int:
        return round((self.began_s + (time.time() - self.began_s) * self.factor) * 1000)

    def monotonic_s(self) -> float:
        return time.monotonic() * self.factor

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s / self.factor)


def send_forever(state_dir: Path, factor: float, began_s: float) -> None:
    """What a host's ticks do, without the host."""
    config = Config.load(state_dir, os.environ)
    plugin = ThreadlinePlugin()
    plugins = Plugins.load(config, entry_points=(), given={"threadline": plugin})
    clock = FastClock(factor, began_s)
    host = host_context(state_dir, config, plugins, clock=clock)
    service = plugin.service(host)
    bridge = Bridge(
        Surroundings(
            host=host,
            settings=service.bridge_settings,
            keyring=service.keyring,
            agent=lambda: "echo",
            pace=FAST,
        )
    )
    control = TickControl(stopping=lambda: False)
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            bridge.feed(control)
            wait_s = bridge.send(control)
        except Exception:  # noqa: BLE001 - a host's tick goes on after an error, too
            traceback.print_exc()
            wait_s = 1.0
        time.sleep(min((wait_s or 0.0) / factor, 0.02))


def main() -> None:
    state_dir, factor = Path(sys.argv[1]), float(sys.argv[2])
    began_s = time.time()
    assert telegram.READ_TIMEOUT_S > 0
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            send_forever(state_dir, factor, began_s)
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
