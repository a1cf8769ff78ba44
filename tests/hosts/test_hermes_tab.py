"""Our tab inside Hermes's own dashboard, which is a process of its own."""

from __future__ import annotations

import httpx
import pytest

from tests.hosts.inhabited import Inhabited
from tests.hosts.programs import TOKEN, Site, Start, free_port

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

LOGIN = "a-login-of-hermes"
OVERVIEW = "/api/plugins/instar/overview"


def test_the_tab_shows_the_numbers_and_leads_to_the_page(hermes: Inhabited, start: Start) -> None:
    """Installed with one command, it answers to Hermes's login only: an address, no token."""
    gateway = hermes.begin()
    hermes.run("instar", "tab", "install")
    port = free_port()
    command = (hermes.command[0], "dashboard", "--no-open", "--skip-build", "--port", str(port))
    program = start(command, {**hermes.environment, "HERMES_DASHBOARD_SESSION_TOKEN": LOGIN})
    dashboard = Site(f"http://127.0.0.1:{port}", program, LOGIN)
    said = dashboard.until(OVERVIEW, lambda answer: answer)
    assert said["address"] == gateway.base
    assert TOKEN not in str(said)
    assert [one["title"] for one in said["spans"]] == ["Today", "Seven days"]
    assert "instar" in {one["name"] for one in dashboard.get("/api/dashboard/plugins")}
    assert dashboard.ask("GET", "/dashboard-plugins/instar/dist/index.js").status_code == 200
    assert httpx.get(dashboard.base + OVERVIEW, trust_env=False).status_code == 401
    hermes.end(gateway.program)
    assert dashboard.get(OVERVIEW)["address"] is None
