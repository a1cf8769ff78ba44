"""A few daemon threads that take blocking work off an event loop.

Promises: never more than `max_workers` pieces of work at once, never more than `max_waiting` in
line, and no thread that keeps the interpreter from leaving. Never used for ticks: those have
threads of their own.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]


class WorkersBusy(Exception):  # noqa: N818 - says what is wrong
    """The line is full: the caller should say so at once rather than wait."""


class Workers:
    """A bounded pool. Threads begin when there is work and end with `close`.

    The standard executor is not used because its threads are joined at interpreter exit: one
    endpoint that hangs would keep a stopped host alive for ever.
    """

    def __init__(self, name: str, *, max_workers: int = 8, max_waiting: int = 64) -> None:
        self._name = name
        self._max_workers = max_workers
        self._jobs: queue.Queue[_Job | None] = queue.Queue(max_waiting)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` on a worker. Raises WorkersBusy when the line is full or the pool is
        closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise WorkersBusy(f"{self._name}: closed")
            try:
                self._jobs.put_nowait((future, work))
            except queue.Full:
                raise WorkersBusy(f"{self._name}: {self._jobs.maxsize} already wait") from None
            if self._jobs.qsize() > self._idle and len(self._threads) < self._max_workers:
                self._spawn()
        return future

    async def run(self, work: Callable[[], T]) -> T:
        """Await `work` from any event loop. Raises what it raises, and WorkersBusy."""
        return await asyncio.wrap_future(self.submit(work))

    def close(self) -> None:
        """Take no more work; each thread ends after what it has in hand. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiting = self._drain()
        for future, _work in waiting:
            future.cancel()
        for _thread in self._threads:
            self._jobs.put(None)

    def join(self, timeout_s: float | None = None) -> tuple[str, ...]:
        """Wait for the threads of a closed pool, each at most `timeout_s`; the names of those
        left.
        """
        for thread in self._threads:
            thread.join(timeout_s)
        return tuple(thread.name for thread in self._threads if thread.is_alive())

    def _drain(self) -> list[_Job]:
        waiting: list[_Job] = []
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return waiting
            if job is not None:
                waiting.append(job)

    def _spawn(self) -> None:
        thread = threading.Thread(
            target=self._work, name=f"{self._name}-{len(self._threads) + 1}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            job = self._jobs.get()
            with self._lock:
                self._idle -= 1
            if job is None:
                return
            _run(*job)
            del job  # a waiting thread must not keep the last answer alive


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except StopIteration as exc:  # no loop takes it out of a future: whoever waits would wait on
        future.set_exception(RuntimeError("StopIteration").with_traceback(exc.__traceback__))
    except BaseException as exc:  # noqa: BLE001 - a worker loop: the caller decides what it means
        future.set_exception(exc)
    else:
        future.set_result(result)
