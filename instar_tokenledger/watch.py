"""Being told of changes instead of looking for them, where the system can.

Promises that a change below the roots wakes the tick within a fraction of a second, that nothing
depends on it (without the `watch` extra, at inotify's limit or after any failure ticks look by
themselves, and `state` says why), and that what may have been missed is said. The watching itself
is done by another process, `watching`, which ends with this one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from instar_host.clock import Clock

RETRY_S = 5 * 60.0
"""Between two tries after a failure. Roots that have come, gone or changed are taken in at once."""
MAX_PATHS = 5_000
"""Changes remembered between two ticks; from there on everything is looked at."""
LOOK_UP_S = 2.0
"""How often the thread makes sure that it is still wanted."""
END_S = 1.0
READ_BYTES = 1 << 16

Launch = Callable[[Sequence[bytes]], "subprocess.Popen[bytes]"]


class Watch:
    """At most one watching process, kept and ended by its owner."""

    def __init__(
        self,
        clock: Clock,
        wake: Callable[[], None],
        wanted: Callable[[], bool] = lambda: True,
        launch: Launch | None = None,
    ) -> None:
        """`wake` is called from a thread of its own; the watch ends by itself when `wanted` says
        no."""
        self._clock = clock
        self._wake = wake
        self._wanted = wanted
        self._launch = launch or launch_watching
        self._lock = threading.Lock()
        self._roots: tuple[bytes, ...] = ()
        self._places: list[tuple[int, int] | None] = []
        """Where they led when the watch began: one that leads elsewhere is watched anew."""
        self._stale = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._began_at_s = 0.0
        self._paths: set[bytes] = set()
        self._missed = False
        self._state = "off: not started"

    @property
    def on(self) -> bool:
        """True while changes are being told."""
        return self._state == "on"

    @property
    def state(self) -> str:
        """`on`, or `off: ` and why."""
        return self._state

    def keep(self, roots: Sequence[bytes]) -> None:
        """Watch these roots from now on; none: do not watch. Costs nothing where that is so."""
        wanted = tuple(sorted(roots))
        places = [_place(root) for root in wanted]
        now_s = self._clock.monotonic_s()
        running = self._process is not None and self._process.poll() is None
        same = (wanted, places, self._stale) == (self._roots, self._places, False)
        if same and running:
            return
        if same and wanted and now_s - self._began_at_s < RETRY_S:
            return
        self.stop("not wanted" if not wanted else "starting")
        self._roots, self._places, self._began_at_s = wanted, places, now_s
        if wanted:
            self._start(wanted)

    def take(self) -> tuple[list[bytes], bool]:
        """Paths that changed since the last call, and whether there may be others."""
        with self._lock:
            paths, self._paths = sorted(self._paths), set()
            missed, self._missed = self._missed, False
        return paths, missed

    def stop(self, why: str = "stopped") -> None:
        """End the watching process and its thread. Idempotent."""
        with self._lock:
            process, self._process = self._process, None
            thread, self._thread = self._thread, None
            self._stale = False
            self._state = f"off: {why}"
        if process is not None:
            _end(process)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start(self, roots: tuple[bytes, ...]) -> None:
        if importlib.util.find_spec("watchfiles") is None:
            self._state = "off: the `watch` extra is not installed"
            return
        try:
            process = self._launch(roots)
        except OSError as error:
            self._state = f"off: {error.strerror}"
            return
        self._process, self._state = process, "off: starting"
        self._thread = threading.Thread(
            target=self._listen, args=(process,), name="instar-watch", daemon=True
        )
        self._thread.start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        try:
            why = self._hear_out(process, process.stdout.fileno())
        except (OSError, TypeError, ValueError):  # whatever it says: ticks look by themselves
            why = "it said what no watch says"
        _end(process)
        process.stdout.close()
        with self._lock:
            if process is self._process:
                self._state, self._missed = f"off: {why}", True
        self._wake()

    def _hear_out(self, process: subprocess.Popen[bytes], descriptor: int) -> str:
        """Listen until it ends or is not wanted any more; why. Raises ValueError and TypeError for
        words that are none of a watch."""
        rest, why = b"", "it ended"
        ready = select.poll()  # not `select`, which knows no descriptor over 1,023
        ready.register(descriptor, select.POLLIN)
        while process is self._process:
            if not ready.poll(LOOK_UP_S * 1000):
                if not self._wanted():
                    return "another process reads"
                continue
            data = os.read(descriptor, READ_BYTES)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                why = self._heard(process, line) or why
        return why

    def _heard(self, process: subprocess.Popen[bytes], line: bytes) -> str:
        """Take in one line; the reason, if it says that the watch has failed."""
        said = json.loads(line)
        if isinstance(said, dict):
            return str(said.get("error", ""))
        with self._lock:
            if process is not self._process:
                return ""  # stopped meanwhile
            if not self.on:
                self._state, self._missed = "on", True  # what happened before is not known
            told = {os.fsencode(path) for path in said}
            self._stale = self._stale or not told.isdisjoint(self._roots)
            self._paths |= told
            if len(self._paths) > MAX_PATHS:
                self._paths, self._missed = set(), True
        self._wake()
        return ""


def launch_watching(roots: Sequence[bytes]) -> subprocess.Popen[bytes]:
    """Start the watching process; it gets no terminal signals, and ends with its standard input."""
    return subprocess.Popen(
        [sys.executable, "-m", "instar_tokenledger.watching", *roots],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _place(root: bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(root)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
