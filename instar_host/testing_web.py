"""Fixtures that serve a host over real HTTP; re-exported by `instar_host.testing`.

They promise a real server on a free loopback port, with the plugins and settings that a test names,
and that nothing of it is left when the test ends.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import pytest

from instar_host.records import HostContext
from instar_host.runtime import Runtime

if TYPE_CHECKING:
    import httpx

    from instar_host.testing import MakeHost
    from instar_host.web.limits import Limits

T = TypeVar("T")

TOKEN = "a-token-for-tests"  # noqa: S105 - a test's own
STOP_S = 20.0
"""A hang guard: how long a test's host may take to end before the test fails."""
_POLL_S = 0.002

Started = Callable[[str], None]


def unheard(_address: str) -> None:
    """Nobody needs to hear."""


class RunningHost(msgspec.Struct, frozen=True, kw_only=True):
    """A host that answers."""

    address: str
    """`http://127.0.0.1:<port>`."""
    token: str
    runtime: Runtime
    client: Any
    """An `httpx.Client` with the address and the token."""
    stranger: Any
    """An `httpx.Client` without the token."""

    @property
    def port(self) -> int:
        """TCP port on 127.0.0.1."""
        return int(self.address.rpartition(":")[2])

    @property
    def host(self) -> HostContext:
        """What the plugins are told."""
        host = self.runtime.host
        assert host is not None
        return host

    def until(
        self,
        question: Callable[[], T],
        *ticks: str,
        advance_s: float = 0.0,
        guard_s: float = STOP_S,
    ) -> T:
        """Let `ticks` run until `question` answers something true, and return that.

        The clock of the test goes on by `advance_s` each time: what waits for it (a tick that
        failed, the pace of the bridge) waits for ever otherwise. Raises AssertionError after
        `guard_s` of real time, with what ticks and plugins complain of.
        """
        deadline = time.monotonic() + guard_s
        while not (answer := question()):
            if time.monotonic() > deadline:
                raise AssertionError("\n".join([f"still {answer!r}", *self._complaints()]))
            for tick in ticks:
                self.host.wake(tick)
            if advance_s:
                self.host.clock.advance(advance_s)  # type: ignore[attr-defined]  # a FakeClock
            time.sleep(_POLL_S)
        return answer

    def _complaints(self) -> Iterator[str]:
        for plugin in self.host.plugins.statuses():
            if plugin.error:
                yield f"plugin {plugin.name}: {plugin.error}"
        for tick in self.host.runtime.ticks():
            yield f"tick {tick.name}: {tick.runs} runs, {tick.last_error or 'no error'}"


class RunHost(Protocol):
    """Starts a host from plugin objects and a `config.json`."""

    def __call__(
        self,
        plugins: Iterable[object] | Mapping[str, object] = (),
        config: Mapping[str, Any] | None = None,
        *,
        limits: Limits | None = None,
        started: Started = unheard,
    ) -> RunningHost:
        """`plugins` as for `make_host`. Returns when the routes answer; `started` hears the address
        before that, while plugins may still load.
        """
        ...


@pytest.fixture
def run_host(make_host: MakeHost) -> Iterator[RunHost]:
    """Serve hosts on free ports; each one must end cleanly when the test does."""
    with ExitStack() as after:

        def run(
            plugins: Iterable[object] | Mapping[str, object] = (),
            config: Mapping[str, Any] | None = None,
            *,
            limits: Limits | None = None,
            started: Started = unheard,
        ) -> RunningHost:
            host = make_host(plugins, {"authToken": TOKEN, **(config or {})})
            return start_host(host, after, limits, started)

        yield run


def start_host(
    host: HostContext,
    after: ExitStack,
    limits: Limits | None = None,
    started: Started = unheard,
) -> RunningHost:
    """Serve `host` on a free loopback port until `after` is closed.

    `started` hears the address as soon as it answers, while plugins may still load.
    """
    import httpx

    from instar_host.web.app import build_app
    from instar_host.web.policy import Policy
    from instar_host.web.server import Server, address_of, listen

    token = host.config.token()
    policy = Policy(token=token, agent_name=host.config.project_name)
    runtime = Runtime(lambda: host, lease_retry_s=0.02)
    sock = listen("127.0.0.1", 0)
    address = address_of(sock)
    after.callback(sock.close)
    runtime.start()
    after.callback(_end, runtime)
    Server(build_app(runtime, policy, limits=limits), sock, limits).start(runtime)
    runtime.publish_address(address)
    started(address)
    assert runtime.wait_ready(STOP_S)
    bearer = {"authorization": f"Bearer {token}"}

    def client(headers: dict[str, str]) -> httpx.Client:
        return after.enter_context(
            httpx.Client(
                base_url=address,
                headers=headers,
                timeout=STOP_S,
                trust_env=False,
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # loading no CAs saves 50 ms
            )
        )

    return RunningHost(
        address=address,
        token=token,
        runtime=runtime,
        client=client(bearer),
        stranger=client({}),
    )


def _end(runtime: Runtime) -> None:
    assert runtime.stop(STOP_S), f"the host did not end: {runtime.late()}"
