"""One run of a host, from its first thread to its last: what `Runtime.start` begins.

Promises an order. Up: the host is made, plugins contribute, the lease is tried, ticks begin,
plugins hear that the host is ready. Down: streams and servers, ticks, endpoint threads,
`instar_host_stopping`, observers, and only then the lease. What does not end in time keeps the
lease until it does.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Literal

import msgspec

from instar_host.errors import InstarError, reason
from instar_host.lease import Lease
from instar_host.records import HostContext, LeaseStatus, RuntimeView, TickStatus
from instar_host.shapes import work_out_shapes
from instar_host.surface import Surface, collect_surface
from instar_host.ticks import Ticks
from instar_host.workers import Workers

State = Literal["stopped", "starting", "running", "stopping", "failed"]
Closer = Callable[[float], Awaitable[None]]

JOIN_SLICE_S = 0.25
"""How long one look at what still runs takes; only how soon a late end is noticed."""

log = logging.getLogger("instar.runtime")


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is given besides its host."""

    endpoint_threads: int
    lease_retry_s: float
    stop_s: float
    """Budget of a stop nobody asked for by name: at interpreter exit, or after a failed start."""
    spread: Callable[[], float]


class Run:
    """Thread, loop, lease and ticks of one start. Used once."""

    def __init__(self, make_host: Callable[[], HostContext], settings: RunSettings) -> None:
        self.host: HostContext | None = None
        self.surface: Surface | None = None
        self.state: State = "starting"
        self.late: tuple[str, ...] = ()
        """Names of what a stop still waits for."""
        self.workers = Workers("instar-endpoint", max_workers=settings.endpoint_threads)
        self.file_workers = Workers("instar-files", max_workers=2)
        self._control = Workers("instar-control", max_workers=2)
        self._make_host = make_host
        self._settings = settings
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._main, name="instar-host", daemon=True)
        self._looping = threading.Event()
        self._booted = threading.Event()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._closers: list[Closer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._lease: Lease | None = None
        self._held = False
        self._ticks: Ticks | None = None
        self._address = ""
        self._told: str | None = None
        """The address that stands in the lease's file; None when none of ours does."""
        self._lease_trouble = ""
        """Why the lease could not be tried the last time."""
        self._budget_s = settings.stop_s

    # Called from any thread

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        self._looping.wait()
        return self._loop

    def begin(self) -> None:
        self._thread.start()
        atexit.register(self._at_exit)

    def end(self, timeout_s: float) -> bool:
        """Ask for the end and wait for it; true when nothing is left."""
        self._budget_s = timeout_s
        self._ask_to_stop()
        if threading.current_thread() is self._thread:
            return False  # asked for on the host's own loop, which cannot wait for itself
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wait_ready(self, timeout_s: float | None) -> bool:
        ready = self._booted.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return ready and self.surface is not None

    def holds_lease(self) -> bool:
        return self._held and self._pid == os.getpid() and not self._lost()

    def lease(self) -> LeaseStatus:
        if self.holds_lease():
            return LeaseStatus(held=True, pid=self._pid, address=self._address or None)
        holder = None if self._lease is None else self._lease.holder()
        if holder is None:
            return LeaseStatus()
        return LeaseStatus(pid=holder.pid, address=holder.address or None)

    def tick_statuses(self) -> tuple[TickStatus, ...]:
        if self._ticks is not None:
            return self._ticks.statuses()
        owned = () if self.surface is None else self.surface.ticks
        return tuple(
            TickStatus(name=one.tick.name, plugin=one.plugin, every_s=one.tick.every_s)
            for one in owned
        )

    def wake(self, name: str) -> None:
        ticks = self._ticks
        if ticks is not None:
            ticks.wake(name)

    def publish(self, address: str) -> None:
        self._address = address
        if self.holds_lease():
            try:
                self._tell()
            except OSError as exc:  # tried again at every look at the lease
                log.warning("the lease's file could not be written: %s", reason(exc))

    def spawn(self, work: Coroutine[Any, Any, None], closer: Closer | None) -> None:
        if closer is not None:
            self._closers.append(closer)
        try:
            self.loop.call_soon_threadsafe(self._adopt, work)
        except RuntimeError:  # its loop has ended already
            work.close()
            raise self._error or InstarError("The host has ended.") from None

    def on_stopping(self, tell: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            if not self._stopping.is_set():
                self._listeners.append(tell)
                return partial(self._forget, tell)
        tell()
        return lambda: None

    # On the host's own thread

    def _main(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._live())
        except BaseException as exc:
            log.critical("the host's loop ended: %s", reason(exc), exc_info=exc)
            self._error = InstarError(f"The host's loop ended: {reason(exc)}; start it again.")
            self.state = "failed"
        finally:
            self._control.join(self._settings.stop_s)
            if self.state != "failed":
                self.state = "stopped"
            self._booted.set()
            atexit.unregister(self._at_exit)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._looping.set()
        try:
            await self._boot()
            await self._keep_lease()
        except Exception as exc:  # noqa: BLE001 - whatever make_host raises is told by wait_ready
            self.state, self._error = "failed", exc
            log.warning("the host did not start: %s", reason(exc))
            self._booted.set()
        finally:
            await self._wind_down()

    async def _boot(self) -> None:
        host = await self._control.run(self._make_host)
        self.host = msgspec.structs.replace(
            host,
            capabilities=host.capabilities | {"ticks", "lease"},
            holds_lease=self.holds_lease,
            wake=self.wake,
            runtime=RuntimeView(
                ticks=self.tick_statuses, lease=self.lease, stopping=self._stopping.is_set
            ),
        )
        surface = await self._control.run(partial(collect_surface, self.host))
        await self._control.run(work_out_shapes)  # before ticks and endpoints decode side by side
        self.surface = surface
        self._lease = Lease(self.host.state_dir, name=host.name, clock=host.clock)
        await self._look_after_lease()
        if not self.stopping:
            self.state = "running"
        self._booted.set()
        self._adopt(self._say("instar_host_ready"))

    async def _keep_lease(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.lease_retry_s):
                    await self._stop.wait()
                return
            await self._look_after_lease()

    async def _look_after_lease(self) -> None:
        """Take the lease where it is free; stop the ticks where it is lost."""
        assert self._lease is not None
        try:
            if not self._held and await self._control.run(self._lease.try_acquire):
                await self._take_over()
            elif self._held and await self._control.run(self._lost):
                await self._give_up()
            if self._held and self._told != self._address:
                await self._control.run(self._tell)
            self._lease_trouble = ""
        except (OSError, InstarError) as exc:
            if reason(exc) != self._lease_trouble:  # tried every second, and said once
                self._lease_trouble = reason(exc)
                log.warning("the lease could not be tried: %s", self._lease_trouble)

    def _tell(self) -> None:
        """Write our address into the lease's file."""
        address = self._address
        if self._lease is not None:
            self._lease.publish(address)
            self._told = address

    async def _take_over(self) -> None:
        assert self.host is not None
        assert self.surface is not None
        self._held, self._told = True, None
        if self._stopping.is_set():
            return
        ticks = Ticks(
            self.surface.ticks,
            clock=self.host.clock,
            random=self._settings.spread,
            failed=self.host.plugins.report,
        )
        self._ticks = ticks
        ticks.start()

    async def _give_up(self) -> None:
        log.error("the lease of %s was lost; ticks stop here", self.host and self.host.state_dir)
        self._held = False
        if self._ticks is not None:
            self._ticks.ask_to_stop()
            await self._outwait("ticks", self._ticks.join)
        self._ticks = None
        if self._lease is not None:
            await self._control.run(self._lease.release)

    def _lost(self) -> bool:
        return self._lease is None or not self._lease.held

    # Down

    async def _wind_down(self) -> None:
        if self.state != "failed":
            self.state = "stopping"
        self._announce_stop()
        if self._ticks is not None:
            self._ticks.ask_to_stop()
        for step in (self._close_servers, self._end_threads, self._close_plugins, self._let_go):
            try:
                await step()
            except Exception:  # the steps after it matter just as much
                log.exception("the host did not stop well")
        self._control.close()

    def _announce_stop(self) -> None:
        with self._lock:
            self._stopping.set()
            listeners, self._listeners = self._listeners, []
        for tell in listeners:
            tell()

    async def _close_servers(self) -> None:
        for closer in self._closers:
            try:
                await closer(self._budget_s * 0.75)
            except Exception as exc:  # noqa: BLE001 - the rest must still be ended
                log.warning("a server did not close well: %s", reason(exc))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end_threads(self) -> None:
        self.workers.close()
        self.file_workers.close()
        if self._ticks is not None:
            await self._outwait("ticks", self._ticks.join)
        await self._outwait("endpoints", self.workers.join)
        await self._outwait("files", self.file_workers.join)

    async def _close_plugins(self) -> None:
        if self.surface is not None:
            await self._say("instar_host_stopping")
        if self.host is not None:
            await self._control.run(self.host.plugins.close)

    async def _let_go(self) -> None:
        self._held = False
        if self._lease is not None:
            await self._control.run(self._lease.release)

    async def _outwait(self, what: str, join: Callable[[float], tuple[str, ...]]) -> None:
        """Wait until `join` names nobody, for as long as it takes; say so once when late."""
        late_at = self._loop.time() + self._budget_s / 2
        said = False
        while left := await self._control.run(partial(join, JOIN_SLICE_S)):
            self.late = left
            if not said and self._loop.time() > late_at:
                said = True
                log.warning("still waiting for %s: %s", what, ", ".join(left))
        self.late = ()

    async def _say(self, hook: str) -> None:
        host = self.host
        assert host is not None
        for outcome in await self._control.run(partial(host.plugins.each, hook, host=host)):
            if outcome.error is not None:
                log.warning("%s of %s failed: %s", hook, outcome.plugin, outcome.error)

    # Small things

    def _ask_to_stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended already
            self.loop.call_soon_threadsafe(self._stop.set)

    def _at_exit(self) -> None:
        if self._pid == os.getpid():
            self.end(self._settings.stop_s)

    def _adopt(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._disown)

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work on the host's loop failed", exc_info=task.exception())

    def _forget(self, tell: Callable[[], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._listeners.remove(tell)
