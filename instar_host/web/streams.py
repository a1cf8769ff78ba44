"""Bodies that go on: from an endpoint's async iterator to a reader, until either ends or the host
stops.

Promises that the iterator is closed whatever happens, that a reader who does not read is let go,
and that an iterator made for the host's loop runs there even inside an application with a loop of
its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Send

from instar_host.runtime import Runtime

T = TypeVar("T")

SEND_DEADLINE_S = 30.0
FIRST_CHUNK_S = 0.5
"""How long headers wait for a first chunk, so that an error before it is still a clean answer."""

END = object()


class HostGone(Exception):  # noqa: N818 - says what happened
    """The host stopped under a request that another loop serves."""


async def on_host_loop(runtime: Runtime, work: Coroutine[Any, Any, T]) -> T:
    """Await `work` on the host's loop, from whichever loop this is. Raises HostGone."""
    loop = runtime.loop
    if asyncio.get_running_loop() is loop:
        return await work
    try:
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:  # its loop is closed
        work.close()
        raise HostGone from None
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise HostGone from None


class Stream:
    """One stream to one reader."""

    def __init__(self, runtime: Runtime, chunks: AsyncIterator[bytes]) -> None:
        self._runtime = runtime
        self._chunks = chunks
        self._first: asyncio.Task[object] | None = None

    async def open(self) -> None:
        """Wait shortly for the first chunk. Raises what the iterator raises before it."""
        self._first = asyncio.create_task(self._next())
        await asyncio.wait({self._first}, timeout=FIRST_CHUNK_S)
        if self._first.done() and self._first.exception() is not None:
            await self.close()
            await self._first

    async def send_to(self, receive: Receive, send: Send) -> None:
        """Pass chunks on until the iterator ends, the reader goes or the host stops."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        forget = self._runtime.on_stopping(lambda: _set(loop, stop))
        ending = {asyncio.create_task(_gone(receive)), asyncio.create_task(_wait(stop))}
        try:
            while (chunk := await self._next_unless(ending)) is not END:
                async with asyncio.timeout(SEND_DEADLINE_S):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            forget()
            for task in ending:
                task.cancel()
            await self.close()

    async def close(self) -> None:
        """Close the iterator where it ran."""
        if self._first is not None and not self._first.done():
            self._first.cancel()
            await asyncio.wait({self._first})
        aclose = getattr(self._chunks, "aclose", None)
        if aclose is not None:
            with contextlib.suppress(RuntimeError, HostGone):  # it ends by itself, or with its loop
                await on_host_loop(self._runtime, _await(aclose()))

    async def _next_unless(self, ending: set[asyncio.Task[None]]) -> object:
        task = self._first or asyncio.create_task(self._next())
        self._first = task
        await asyncio.wait({task, *ending}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return END
        self._first = None
        return END if isinstance(task.exception(), HostGone) else task.result()

    async def _next(self) -> object:
        return await on_host_loop(self._runtime, _anext(self._chunks))


async def _anext(chunks: AsyncIterator[bytes]) -> object:
    return await anext(chunks, END)


async def _await(awaitable: Any) -> None:
    await awaitable


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the reader's loop has ended
        loop.call_soon_threadsafe(event.set)
