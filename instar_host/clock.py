"""The clock that everything in the house is given, so that tests can turn it by hand.

Promises two readings and a sleep. Never read the time any other way: a module that calls
`time.time` cannot be tested at the edge of a day.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what people read, monotonic time for what the machine waits for."""

    def now_ms(self) -> int:
        """Wall-clock time, integer milliseconds since 1970 (UTC)."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only ever grow, from an arbitrary start."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for `event` at most `timeout_s`; true when it was set."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)
