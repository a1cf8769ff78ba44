"""The host's own routes: the shell, health, plugins, panels and the description of the API.

Promises that `/health` is one word and nothing else: no count, no name, no path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from instar_host.endpoints import json_response
from instar_host.records import Record, Request, Response, Route
from instar_host.runtime import Runtime
from instar_host.web.openapi import describe

FAILURES_UNTIL_DEGRADED = 3
_TROUBLE = frozenset({"failed", "refused", "missing"})


def own_routes(runtime: Runtime, all_routes: Callable[[], Sequence[Route]]) -> tuple[Route, ...]:
    """Routes that are there with no plugin at all. `all_routes`: the whole table, for
    `/openapi.json`.
    """

    async def health(_request: Request) -> Response:
        return json_response({"status": health_word(runtime)})

    def plugins(_request: Request) -> Response:
        return json_response(plugins_view(runtime))

    async def panels(_request: Request) -> Response:
        return json_response({"panels": panels_view(runtime)})

    async def openapi(_request: Request) -> Response:
        host = runtime.host
        return json_response(describe(all_routes(), host.version if host else "0"))

    return (
        Route(
            method="GET",
            path="/health",
            endpoint=health,
            access="open",
            summary="One word about the host: ok, degraded or starting",
        ),
        Route(
            method="GET",
            path="/plugins",
            endpoint=plugins,
            summary="Every plugin and tick with its state, and who holds the lease",
        ),
        Route(method="GET", path="/panels", endpoint=panels, summary="The dashboard's tabs"),
        Route(
            method="GET",
            path="/openapi.json",
            endpoint=openapi,
            summary="This API, described as OpenAPI 3.1",
        ),
    )


def health_word(runtime: Runtime) -> str:
    """`starting`, `degraded` when a plugin or a tick is in trouble, else `ok`."""
    host = runtime.host
    if runtime.state == "starting":
        return "starting"
    if host is None or runtime.state != "running":
        return "degraded"
    ailing = any(one.state in _TROUBLE for one in host.plugins.statuses())
    failing = any(one.failures_in_row >= FAILURES_UNTIL_DEGRADED for one in host.runtime.ticks())
    return "degraded" if ailing or failing else "ok"


def plugins_view(runtime: Runtime) -> dict[str, Any]:
    """What `/plugins` answers."""
    host = runtime.host
    if host is None:
        return {"plugins": [], "ticks": [], "lease": {}}
    return {
        "host": {"name": host.name, "version": host.version},
        "plugins": [msgspec.structs.asdict(one) for one in host.plugins.statuses()],
        "ticks": [_camel(one) for one in host.runtime.ticks()],
        "lease": _camel(host.runtime.lease()),
    }


def panels_view(runtime: Runtime) -> list[dict[str, str]]:
    """The tabs in order; `module` is relative to the page."""
    surface = runtime.surface
    return [
        {
            "id": owned.panel.id,
            "title": owned.panel.title,
            "plugin": owned.plugin,
            "module": f"static/panels/{quote(owned.plugin, safe='')}/{owned.panel.module.name}",
        }
        for owned in (surface.panels if surface else ())
    ]


def _camel(record: Record) -> dict[str, Any]:
    def name(snake: str) -> str:
        first, *rest = snake.split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {name(key): value for key, value in msgspec.structs.asdict(record).items()}
