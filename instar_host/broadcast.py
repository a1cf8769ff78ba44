"""One voice, many listeners: events from any thread to any number of server-sent event streams.

Promises that `publish` never waits and never grows without bound: a listener that does not keep up
loses the oldest events and is told how many. Never remembers an event for a listener that comes
later.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

HEARTBEAT_S = 15.0
MAX_QUEUED = 256

HEARTBEAT = b": \n\n"


def sse(event: str, data: object) -> bytes:
    """One server-sent event: `data` as one line of JSON under the name `event`.

    Raises ValueError for a name with a line break and TypeError for data that JSON cannot say.
    """
    if "\n" in event or "\r" in event:
        raise ValueError("an event's name is one line")
    line = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return f"event: {event}\ndata: {line}\n\n".encode("ascii", "backslashreplace")


class Broadcast:
    """A place to publish; every subscriber gets what is said from then on."""

    def __init__(
        self,
        *,
        max_queued: int = MAX_QUEUED,
        heartbeat_s: float = HEARTBEAT_S,
        max_subscribers: int = 64,
    ) -> None:
        self._max_queued = max_queued
        self._heartbeat_s = heartbeat_s
        self._max_subscribers = max_subscribers
        self._lock = threading.Lock()
        self._listeners: tuple[_Listener, ...] = ()
        self._closed = False

    @property
    def subscribers(self) -> int:
        """How many streams listen now."""
        return len(self._listeners)

    def publish(self, event: bytes | Mapping[str, Any], name: str = "message") -> None:
        """Tell everybody. Bytes are a whole event as `sse` makes it. From any thread; never
        waits.
        """
        listeners = self._listeners
        if not listeners:
            return
        frame = event if isinstance(event, bytes) else sse(name, event)
        for listener in listeners:
            listener.push(frame)

    async def subscribe(self) -> AsyncIterator[bytes]:
        """Frames of server-sent events, with a comment at once and every `heartbeat_s`, until
        `close`.

        Raises RuntimeError when there are `max_subscribers` already.
        """
        import asyncio  # a command that never streams does without

        listener = _Listener(asyncio.get_running_loop(), asyncio.Event(), self._max_queued)
        self._add(listener)
        try:
            while not self._closed:
                for frame in listener.take() or [HEARTBEAT]:
                    yield frame
                await listener.wait(self._heartbeat_s)
            for frame in listener.take():
                yield frame
        finally:
            self._remove(listener)

    def close(self) -> None:
        """End every stream after what it has in line. Idempotent."""
        self._closed = True
        for listener in self._listeners:
            listener.nudge()

    def _add(self, listener: _Listener) -> None:
        with self._lock:
            if len(self._listeners) >= self._max_subscribers:
                raise RuntimeError(f"{self._max_subscribers} streams listen already")
            self._listeners = (*self._listeners, listener)

    def _remove(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one is not listener)


class _Listener:
    """The line of one stream, filled from any thread, emptied on the stream's own loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ready: asyncio.Event, max_queued: int
    ) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._frames: deque[bytes] = deque()
        self._max_queued = max_queued
        self._dropped = 0
        self._ready = ready

    def push(self, frame: bytes) -> None:
        with self._lock:
            if len(self._frames) >= self._max_queued:
                self._frames.popleft()
                self._dropped += 1
            self._frames.append(frame)
            first = len(self._frames) == 1
        if first:
            self.nudge()

    def nudge(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the stream's loop has ended, and the stream with it
            return

    async def wait(self, timeout_s: float) -> None:
        """Until there is something in line or the time is up."""
        import asyncio

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        self._ready.clear()

    def take(self) -> list[bytes]:
        """What is in line now, and what was lost before it."""
        with self._lock:
            frames, dropped = list(self._frames), self._dropped
            self._frames.clear()
            self._dropped = 0
        if dropped:
            frames.insert(0, sse("lagged", {"dropped": dropped}))
        return frames
