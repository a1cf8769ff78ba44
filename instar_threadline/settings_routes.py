"""The settings of the Telegram bridge over HTTP.

Promises the path, keys and messages of the original. A change is taken whole or not at all; a key
that is not a setting is refused by name; with If-Match only the settings that were read are
changed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from instar_host.endpoints import HttpError, body_as, json_response
from instar_host.errors import ConfigError
from instar_host.records import Request, Response, Route
from instar_threadline.bridge.settings import KEYS, BridgeSettings, BridgeSettingsStore, etag
from instar_threadline.errors import InvalidSettings, SettingsConflict

BRIDGE_CONFIG = "/threadline/telegram-bridge/config"


class SettingsRoutes:
    """The endpoints over one store."""

    def __init__(self, store: BridgeSettingsStore) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """The route table."""
        return [
            Route(
                method="GET",
                path=BRIDGE_CONFIG,
                endpoint=self.get_settings,
                summary="the settings of the Telegram bridge",
                answers={200: "OK", 503: "The settings cannot be read"},
            ),
            Route(
                method="PATCH",
                path=BRIDGE_CONFIG,
                endpoint=self.patch_settings,
                summary="change settings of the Telegram bridge, all or nothing",
                body_schema=_PATCH_SCHEMA,
                answers={
                    200: "The settings as they are now",
                    400: "Not a setting, or not a value for it",
                    412: "They are not those that If-Match names",
                    503: "The settings cannot be read or written",
                },
            ),
        ]

    def get_settings(self, request: Request) -> Response:
        """The five settings, with an ETag."""
        del request
        try:
            return _settings_response(self._store.get())
        except ConfigError as error:
            raise HttpError(503, str(error)) from None

    def patch_settings(self, request: Request) -> Response:
        """Change some of the five, and answer with all."""
        patch = body_as(request, dict[str, Any])
        try:
            settings = self._store.update(patch, if_match=request.headers.get("if-match"))
        except InvalidSettings as error:
            raise HttpError(400, str(error)) from None
        except SettingsConflict as error:
            raise HttpError(412, str(error)) from None
        except ConfigError as error:
            raise HttpError(503, str(error)) from None
        return _settings_response(settings)


def _settings_response(settings: BridgeSettings) -> Response:
    answer = json_response(settings)
    headers = {**answer.headers, "etag": etag(settings)}
    return msgspec.structs.replace(answer, headers=headers)


_PATCH_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        key: {"type": "array", "items": {"type": "string"}}
        if key.endswith("List")
        else {"type": "boolean"}
        for key in KEYS
    },
}
