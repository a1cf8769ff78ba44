"""Rule 2, second half: two plugins that claim one thing."""

from __future__ import annotations

from pathlib import Path

import pluggy
import pytest

from instar_host import (
    Command,
    HostContext,
    Option,
    Panel,
    Response,
    Route,
    Tick,
    hookimpl,
    hookspec,
)
from instar_host.claims import command_key, route_key, settle
from instar_host.surface import settle_all
from instar_host.testing import MakeHost
from tests.host.third_party import status


def a_route(path: str, method: str = "GET") -> Route:
    return Route(method=method, path=path, endpoint=lambda _request: Response())  # type: ignore[arg-type]


def a_tick(name: str, every_s: float = 1.0) -> Tick:
    return Tick(name=name, func=lambda _control: None, every_s=every_s)


def a_command(name: str) -> Command:
    return Command(name=name, summary="", configure=lambda _p: None, run=lambda _a, _h, _t: 0)


def a_flag(flag: str) -> Option:
    return Option(flag=flag, section="s", key="k", summary="")


class Gives:
    """A plugin that contributes what it is made with."""

    def __init__(self, **given: object) -> None:
        self.given = given

    @hookimpl
    def instar_routes(self, host: HostContext) -> object:
        return self.given.get("routes", ())

    @hookimpl
    def instar_ticks(self, host: HostContext) -> object:
        return self.given.get("ticks", ())

    @hookimpl
    def instar_commands(self, host: HostContext) -> object:
        return self.given.get("commands", ())

    @hookimpl
    def instar_options(self, host: HostContext) -> object:
        return self.given.get("options", ())

    @hookimpl
    def instar_panels(self, host: HostContext) -> object:
        return self.given.get("panels", ())


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (
            {"routes": [a_route("/a/{id}")]},
            {"routes": [a_route("/a/{name}")]},
            "claims GET /a/{}, which one has already",
        ),
        ({"ticks": [a_tick("t")]}, {"ticks": [a_tick("t")]}, "claims the tick t, which one has"),
        ({"commands": [a_command("c")]}, {"commands": [a_command("c")]}, "claims the command c"),
        ({"options": [a_flag("--f")]}, {"options": [a_flag("--f")]}, "claims the flag --f"),
        ({}, {"routes": [a_route("/a"), a_route("/a")]}, "claims GET /a twice"),
        ({}, {"routes": [a_route("/health")]}, "claims GET /health, which the host has already"),
        ({}, {"routes": [a_route("a")]}, "the path 'a' has to begin with /"),
        ({}, {"ticks": [a_tick("t", 0.0)]}, "has to have a period above 0 s"),
        ({}, {"commands": [a_command("Not a word")]}, "has to be lower-case letters"),
        ({}, {"options": [a_flag("-f")]}, "has to be -- and a lower-case word"),
    ],
)
def test_the_later_of_two_loses_as_a_whole(
    make_host: MakeHost, first: dict[str, object], second: dict[str, object], words: str
) -> None:
    """Everything it brought goes, its status says why, and it is called no more."""
    extra = {"ticks": [a_tick("own"), *second.get("ticks", ())]}  # type: ignore[misc]
    host = make_host({"one": Gives(**first), "two": Gives(**{**second, **extra})})

    claims = settle(host, reserved=[route_key("GET", "/health")])

    two = status(host.plugins, "two")
    assert two.state == "refused"
    assert words in (two.error or "")
    kept = (*claims.routes, *claims.ticks, *claims.commands, *claims.options)
    assert {c.plugin for c in kept} <= {"one"}
    assert host.plugins.running() == ("one",)
    assert {c.plugin for c in host.plugins.collect("instar_ticks", host=host)} <= {"one"}


def test_different_methods_and_paths_do_not_clash(make_host: MakeHost) -> None:
    """A literal segment and a placeholder are two paths."""
    routes = [a_route("/a/{id}"), a_route("/a/b"), a_route("/a/b", "PATCH")]
    host = make_host({"one": Gives(routes=routes[:1]), "two": Gives(routes=routes[1:])})

    assert [c.value for c in settle(host).routes] == routes


def test_contributions_come_in_the_order_of_loading(make_host: MakeHost) -> None:
    """pluggy calls the last one first; people and pages want the first one first."""
    host = make_host({name: Gives(ticks=[a_tick(name)]) for name in ("b", "a", "c")})

    assert [c.plugin for c in settle(host).ticks] == ["b", "a", "c"]


def test_settling_again_finds_the_same(make_host: MakeHost) -> None:
    """A host that starts a second time refuses nobody anew."""
    host = make_host({name: Gives(commands=[a_command("c")]) for name in ("one", "two")})

    assert settle(host) == settle(host)
    assert status(host.plugins, "one").state == "loaded"


class AcmeSpecs:
    @hookspec
    def acme_things(self) -> object: ...


class Acme(Gives):
    @staticmethod
    def instar_addhooks(pluginmanager: pluggy.PluginManager) -> None:
        pluginmanager.add_hookspecs(AcmeSpecs)


class User:
    @hookimpl
    def acme_things(self) -> object:
        return None


def test_who_implements_the_hooks_of_a_refused_plugin_waits(
    make_host: MakeHost,
) -> None:
    """Its hooks are never called again, and those who wait for that are told."""
    host = make_host(
        {
            "one": Gives(commands=[a_command("c")]),
            "acme": Acme(commands=[a_command("c")]),
            "user": User,
        }
    )
    settle(host)

    assert status(host.plugins, "acme").state == "refused"
    assert status(host.plugins, "user").error == (
        "waiting for acme, which is refused (for acme_things)"
    )


def test_the_host_s_own_commands_are_claimed(make_host: MakeHost) -> None:
    """A plugin cannot take `plugins` over."""
    host = make_host({"one": Gives(commands=[a_command("plugins")])})
    settle(host, reserved=[command_key("plugins")])

    assert "which the host has already" in (status(host.plugins, "one").error or "")


def test_tabs_are_claimed_by_their_id(make_host: MakeHost) -> None:
    """Two tabs of one id would share an address."""
    panel = Panel(id="x", title="X", module=Path("x.js"))
    host = make_host({"one": Gives(panels=[panel]), "two": Gives(panels=[panel])})

    assert [c.plugin for c in settle(host).panels] == ["one"]


def test_a_tab_whose_file_is_not_there_is_named_and_the_rest_of_its_plugin_works(
    make_host: MakeHost, tmp_path: Path
) -> None:
    """A wheel without its `package-data` looked loaded, and its tab said "Not found"."""
    lost = Panel(id="lost", title="Lost", module=tmp_path / "lost.js")
    host = make_host({"one": Gives(panels=[lost], ticks=[a_tick("t")])})

    claims = settle_all(host)

    one = status(host.plugins, "one")
    assert one.state == "loaded"
    assert f"the tab lost: there is no file {tmp_path / 'lost.js'}" in (one.error or "")
    assert [c.value.name for c in claims.ticks] == ["t"]
