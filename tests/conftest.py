"""The fixtures of every test: those that plugin authors get too."""

from __future__ import annotations

pytest_plugins = ["instar_host.testing"]
