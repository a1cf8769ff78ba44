"""A FastAPI application with the token ledger below /instar, behind the application's own login.

pip install "instar-plugins[serve]" fastapi
uvicorn --factory examples.fastapi_app:create
"""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from fastapi import FastAPI

import instar_host

SESSION = "a-session-of-yours"


def create(**options: Any) -> instar_host.Mounted:
    """The application. `options` go to `instar_host.mount`."""
    app = FastAPI()

    @app.get("/")
    async def home() -> dict[str, str]:
        return {"dashboard": "/instar/"}

    return instar_host.mount(app, "/instar", authorize=logged_in, **options)


def logged_in(scope: MutableMapping[str, Any]) -> bool | None:
    """The application's own verdict: whoever has its session needs no token of ours."""
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                session = SimpleCookie(value.decode("latin-1")).get("session")
            except CookieError:
                return None
            if session is not None and hmac.compare_digest(session.value, SESSION):
                return True
    return None
