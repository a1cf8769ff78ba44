"""What `instar plugins` says about the host that runs beside it."""

from __future__ import annotations

import io
from pathlib import Path

from instar_host import Response, Route, Terminal, hookimpl
from instar_host.cli import run
from instar_host.config import Config
from instar_host.host import host_context
from instar_host.plugins import Plugins
from instar_host.testing import FakeClock, RunHost, RunningHost


class Frail:
    """A plugin whose endpoint raises."""

    @hookimpl
    def instar_routes(self) -> list[Route]:
        return [Route(method="GET", path="/frail", endpoint=self.answer)]

    def answer(self, _request: object) -> Response:
        raise LookupError("no such thing")


class Newer:
    """A plugin that was installed while the host ran."""

    @hookimpl
    def instar_host_ready(self) -> None: ...


def plugins_beside(running: RunningHost, **given: object) -> tuple[int, str]:
    """`instar plugins`, in a host of its own with these plugins, on the same state directory."""
    out, state_dir = io.StringIO(), running.host.state_dir
    config = Config.load(state_dir, {})
    loaded = Plugins.load(config, entry_points=(), given=given)
    beside = host_context(state_dir, config, loaded, clock=FakeClock())
    terminal = Terminal(out=out, err=io.StringIO())
    code = run(["plugins"], {}, Path, Path, terminal, lambda _where: beside)
    return code, out.getvalue()


def test_what_a_plugin_met_in_the_host_that_runs_is_named(run_host: RunHost) -> None:
    """A new process asks the plugin anew and finds nothing wrong; its author looks here."""
    running = run_host({"frail": Frail()})
    assert running.client.get("/frail").status_code == 500

    code, said = plugins_beside(running, frail=Frail())

    assert f"{running.address}):\n  frail: GET /frail: LookupError: no such thing" in said
    assert code == 0


def test_a_plugin_that_was_enabled_after_the_start_is_said_to_wait_for_the_next(
    run_host: RunHost,
) -> None:
    """ "loaded" means here; there it does not run yet."""
    running = run_host({"frail": Frail()})
    said = plugins_beside(running, frail=Frail(), newer=Newer())[1]
    assert "  newer is not loaded there; it will be when that host is started again" in said


def test_where_all_is_well_nothing_is_added(run_host: RunHost) -> None:
    """Not a line, and none for a host that does not run."""
    running = run_host({"frail": Frail()})
    assert "in the host that runs" not in plugins_beside(running, frail=Frail())[1]
    running.runtime.stop(20)
    assert "in the host that runs" not in plugins_beside(running, newer=Newer())[1]
