"""A host with threadline whose ticks a test runs by hand, and a fake Telegram on the loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from instar_host.records import HostContext, Request, Response, Route, TickControl
from instar_host.testing import FakeClock
from instar_threadline.messages import NewMessage
from instar_threadline.plugin import ThreadlinePlugin

GO_ON = TickControl(stopping=lambda: False)
ON: dict[str, Any] = {
    "projectName": "echo",
    "threadline": {"telegramBridge": {"enabled": True, "autoCreateTopics": True}},
}
PEER = "a1b2c3d4e5f60718"


class Stage:
    """A host with threadline and other plugins, whose ticks are run by hand."""

    def __init__(self, host: HostContext, plugin: ThreadlinePlugin, clock: FakeClock) -> None:
        self.host = host
        self.plugin = plugin
        self.clock = clock
        self.bridge = plugin.bridge(host).bridge
        self.bridge.feed(GO_ON)

    def amnesiac(self) -> Stage:
        """The same host with a new plugin, after the bridge's database was lost."""
        self.end()
        for path in (self.host.state_dir / "server-data").glob("threadline-bridge.db*"):
            path.unlink()
        return Stage(self.host, ThreadlinePlugin(), self.clock)

    def end(self) -> None:
        self.plugin.instar_host_stopping(self.host)

    def say(self, text: str, thread: str = "t1", **changes: Any) -> None:
        fields: dict[str, Any] = {
            "direction": "in",
            "counterparty": PEER,
            "counterparty_name": "Dawn",
            "thread_id": thread,
            "text": text,
            **changes,
        }
        self.plugin.service(self.host).recorder.record(NewMessage(**fields))

    def work(self, rounds: int = 40) -> None:
        """Let feed, worker and sinks run until the clock has gone on a while."""
        for _ in range(rounds):
            self.bridge.feed(GO_ON)
            self.bridge.serve_sinks(GO_ON)
            wait_s = self.bridge.send(GO_ON)
            self.clock.advance(wait_s or 1.0)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        routes: Iterable[Route] = self.plugin.bridge(self.host).routes
        route = next(r for r in routes if (r.method, r.path) == (method, path))
        data = b"" if body is None else json.dumps(body).encode()
        answer = route.endpoint(Request(method=method, path=path, body=data))
        assert isinstance(answer, Response)
        assert isinstance(answer.body, bytes)
        return json.loads(answer.body)


MakeStage = Callable[..., Stage]
