"""The bridge over HTTP: how it fares, and what a person may do with it.

Promises that reading works in every process and that acting works in the one that sends: the
others answer 409 and name it. A token, a chat id and an address can be neither read nor changed
here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import apsw
import msgspec
from msgspec import Struct

from instar_host.endpoints import HttpError, body_as, json_response
from instar_host.errors import InstarError, UsageError
from instar_host.records import Request, Response, Route
from instar_host.store.errors import StoreError
from instar_threadline.bridge.assembly import Bridge
from instar_threadline.bridge.control import BackfillRequest, Control

STATUS = "/threadline/bridge/status"
RETRY = "/threadline/bridge/retry"
DROP = "/threadline/bridge/drop"
MUTE = "/threadline/bridge/mute"
RESUME = "/threadline/bridge/resume"
SEND_TEST = "/threadline/bridge/send-test"
BACKFILL = "/threadline/bridge/backfill"

ACTING = {
    200: "Done",
    400: "Not a request of this kind",
    409: "Another process sends; the answer names it",
    503: "The bridge cannot be opened at the moment",
}
T = TypeVar("T")


class _Letters(Struct, frozen=True, forbid_unknown_fields=True):
    ids: tuple[int, ...] | None = None
    all: bool = False
    """Every dead letter; nothing said never means that."""


class _Drop(_Letters, frozen=True, forbid_unknown_fields=True):
    waiting: Literal["history", "all"] | None = None


class _Mute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["thread", "agent"]
    name: str
    muted: bool = True


class _Arrived(Struct, frozen=True, forbid_unknown_fields=True):
    key: str = ""


class BridgeRoutes:
    """The endpoints over one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._control = Control(bridge)

    def routes(self) -> list[Route]:
        """The route table."""
        return [
            Route(
                method="GET",
                path=STATUS,
                endpoint=self.get_status,
                summary="queue, pauses, topics, dead letters and problems of the bridge",
                answers={200: "OK", 503: "The bridge's database cannot be read"},
            ),
            self._acting(RETRY, self.retry, "queue dead letters again", _LETTERS),
            self._acting(DROP, self.drop, "forget dead letters, or what waits", _DROP),
            self._acting(MUTE, self.mute, "mute a thread or an agent, or no longer", _MUTE),
            self._acting(RESUME, self.resume, "look again at what paused the chat", {}),
            self._acting(SEND_TEST, self.send_test, "send a test message, or ask for it", _KEY),
            self._acting(BACKFILL, self.backfill, "plan and queue the history of threads", {}),
        ]

    def _acting(
        self,
        path: str,
        act: Callable[[Request], Any],
        summary: str,
        properties: dict[str, Any],
    ) -> Route:
        """A route that changes something: only where this process sends."""

        def endpoint(request: Request) -> Response:
            self._require_lease()
            try:
                return json_response(act(request))
            except UsageError as error:
                raise HttpError(400, str(error)) from None
            except (InstarError, StoreError, apsw.Error, OSError) as error:
                raise HttpError(503, f"The bridge cannot do it now: {error}") from None

        schema: dict[str, Any] = {"type": "object"}
        if properties:
            schema |= {"properties": properties, "additionalProperties": False}
        return Route(
            method="POST",
            path=path,
            endpoint=endpoint,
            summary=summary,
            body_schema=schema,
            max_body_bytes=1 << 20,
            answers=ACTING,
        )

    def get_status(self, request: Request) -> Response:
        """The status."""
        del request
        try:
            return json_response(self._bridge.status())
        except (StoreError, apsw.Error, OSError) as error:
            words = f"The bridge's database cannot be read: {error}"
            raise HttpError(503, words) from None

    def retry(self, request: Request) -> dict[str, int]:
        """Queue dead letters again."""
        return {"retried": self._control.retry(_chosen(_body(request, _Letters)))}

    def drop(self, request: Request) -> dict[str, int]:
        """Forget dead letters, or give up what waits."""
        asked = _body(request, _Drop)
        if asked.waiting is not None:
            if asked.all or asked.ids is not None:
                raise UsageError("say what waits, or which dead letters, not both")
            history_only = asked.waiting == "history"
            return {"dropped": self._control.drop_waiting(history_only=history_only)}
        return {"dropped": self._control.drop(_chosen(asked, ', or {"waiting": "history"}'))}

    def mute(self, request: Request) -> dict[str, bool]:
        """Mute a thread or an agent, or no longer."""
        asked = _body(request, _Mute)
        self._control.mute(asked.kind, asked.name, muted=asked.muted)
        return {"muted": asked.muted}

    def resume(self, request: Request) -> dict[str, bool]:
        """Look again at once."""
        del request
        self._control.resume()
        return {"resumed": True}

    def send_test(self, request: Request) -> dict[str, Any]:
        """Queue a test message; with its `key`, say whether it has arrived."""
        key = _body(request, _Arrived).key
        if not key:
            return {"key": self._control.send_test().hex(), "arrived": False}
        try:
            return {"key": key, "arrived": self._control.has_arrived(bytes.fromhex(key))}
        except ValueError:
            raise HttpError(400, "key is none of ours") from None

    def backfill(self, request: Request) -> Any:
        """Plan and queue history."""
        return self._control.fill(_body(request, BackfillRequest))

    def _require_lease(self) -> None:
        if self._bridge.host.holds_lease():
            return
        lease = self._bridge.host.runtime.lease()
        where = f" at {lease.address}" if lease.address else ""
        raise HttpError(409, f"Process {lease.pid}{where} sends; ask it", pid=lease.pid)


_IDS = {"ids": {"type": ["array", "null"], "items": {"type": "integer"}}}
_LETTERS: dict[str, Any] = {**_IDS, "all": {"type": "boolean"}}
_DROP: dict[str, Any] = {**_LETTERS, "waiting": {"enum": ["history", "all", None]}}
_MUTE: dict[str, Any] = {
    "kind": {"enum": ["thread", "agent"]},
    "name": {"type": "string"},
    "muted": {"type": "boolean"},
}
_KEY: dict[str, Any] = {"key": {"type": "string"}}


def _chosen(asked: _Letters, or_else: str = "") -> tuple[int, ...] | None:
    """The dead letters that were asked for, None for all of them; all have to be asked for."""
    if asked.all == (asked.ids is not None):
        raise UsageError(f'say which: {{"ids": [1, 2]}}, or {{"all": true}}{or_else}')
    return asked.ids


def _body(request: Request, kind: type[T]) -> T:
    """The body; none at all is an empty object."""
    if not request.body:
        request = msgspec.structs.replace(request, body=b"{}")
    return body_as(request, kind)
