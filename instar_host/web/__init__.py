"""HTTP: the guard, the route table as one ASGI application, the server and the dashboard shell."""

from __future__ import annotations
