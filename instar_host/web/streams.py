"""Bodies that go on: from an endpoint's async iterator to a reader, until either ends or the host
stops.

Promises that the iterator is closed whatever happens, that a reader who does not read is let go,
and that an iterator made for the host's loop runs there even inside an application with a loop of
its own. What a plugin raises never reaches a loop as SystemExit or KeyboardInterrupt, which would
end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from starlette.types import Receive, Send

from instar_host.errors import PluginError, reason
from instar_host.runtime import Runtime

T = TypeVar("T")

SEND_DEADLINE_S = 30.0
FIRST_CHUNK_S = 0.5
"""How long headers wait for a first chunk, so that an error before it is still a clean answer."""

END = object()

log = logging.getLogger("instar.web")


class HostGone(Exception):  # noqa: N818 - says what happened
    """The host stopped under a request that another loop serves."""


class BrokenStream(Exception):  # noqa: N818 - says what happened
    """The iterator raised, or gave what is no chunk; the cause says what."""


async def contained(work: Callable[[], Awaitable[T]]) -> T:
    """Await what a plugin wrote. Raises PluginError for what would end a loop, or look as if we had
    been cancelled; everything else as it is.
    """
    try:
        return await work()
    except (Exception, GeneratorExit):
        raise
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise PluginError("CancelledError, which nobody asked for") from exc
    except BaseException as exc:
        raise PluginError(reason(exc)) from exc


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

    def __init__(self, runtime: Runtime, chunks: AsyncIterator[bytes], close_s: float) -> None:
        """`close_s`: how long the iterator may take to end; then it is left to itself."""
        self._runtime = runtime
        self._chunks = chunks
        self._close_s = close_s
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
            while (chunk := await self._chunk(ending)) is not END:
                async with asyncio.timeout(SEND_DEADLINE_S):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            forget()
            for task in ending:
                task.cancel()
            await self.close()

    async def close(self) -> None:
        """Close the iterator where it ran; one that does not end in time is left to itself."""
        if self._first is not None and not self._first.done():
            self._first.cancel()
            await asyncio.wait({self._first}, timeout=self._close_s)
        closing = asyncio.create_task(
            on_host_loop(self._runtime, contained(partial(_close, self._chunks)))
        )
        closing.add_done_callback(_note)
        await asyncio.wait({closing}, timeout=self._close_s)

    async def _chunk(self, ending: set[asyncio.Task[None]]) -> object:
        """The next chunk, or END. Raises BrokenStream."""
        try:
            return await self._next_unless(ending)
        except Exception as exc:
            raise BrokenStream from exc

    async def _next_unless(self, ending: set[asyncio.Task[None]]) -> object:
        task = self._first or asyncio.create_task(self._next())
        self._first = task
        await asyncio.wait({task, *ending}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return END
        self._first = None
        return END if isinstance(task.exception(), HostGone) else task.result()

    async def _next(self) -> object:
        return await on_host_loop(self._runtime, contained(partial(_anext, self._chunks)))


async def _anext(chunks: AsyncIterator[bytes]) -> object:
    chunk = await anext(chunks, END)
    if chunk is not END and not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise TypeError(f"a stream yields bytes, not {type(chunk).__name__}")
    return chunk


async def _close(chunks: Any) -> None:
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()


def _note(closing: asyncio.Task[None]) -> None:
    """Where an iterator fails at its end there is nobody left to tell."""
    if closing.cancelled() or closing.exception() is None:
        return
    if not isinstance(closing.exception(), (RuntimeError, HostGone)):  # it ends with its loop
        log.warning("a stream did not close well", exc_info=closing.exception())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the reader's loop has ended
        loop.call_soon_threadsafe(event.set)
