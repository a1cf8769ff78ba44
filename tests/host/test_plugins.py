"""Loading plugins: rule 1 of the contract, and the rules about hooks that plugins bring."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from instar_host.config import Config
from instar_host.plugins import Plugins, PluginStatus
from tests.host.third_party import Site, status

GOOD = """
@hookimpl
def instar_ticks(host):
    return [Tick(name="good", func=lambda control: None)]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site-packages", monkeypatch)


Load = Callable[..., Plugins]


@pytest.fixture
def load(site: Site, state_dir: Path) -> Iterator[Load]:
    """Load what is installed in `site`; names to enable, names to disable."""
    made: list[Plugins] = []

    def run(enabled: tuple[str, ...] = (), disabled: tuple[str, ...] = ()) -> Plugins:
        section = {"plugins": {"enabled": list(enabled), "disabled": list(disabled)}}
        config = Config(path=state_dir / "config.json", values=section, environ={})
        entries = site.entry_points()
        made.append(Plugins.load(config, entry_points=entries, builtin=("instar-house",)))
        return made[-1]

    yield run
    for plugins in made:
        plugins.close()


# Rule 1: the enable list, importing, registering


def test_a_third_party_plugin_that_nobody_enabled_is_never_imported(site: Site, load: Load) -> None:
    """The enable list is read before anything is imported."""
    site.install("loud", GOOD)

    loud = status(load(), "loud")

    assert loud.state == "disabled"
    assert 'add "loud" to plugins.enabled' in (loud.error or "")
    assert site.module("instar-loud") not in sys.modules


def test_a_disabled_plugin_is_never_imported_even_if_built_in(site: Site, load: Load) -> None:
    """`plugins.disabled` wins over being built in and over `plugins.enabled`."""
    site.install("core", GOOD, distribution="instar-house")

    assert status(load(enabled=("core",), disabled=("core",)), "core").state == "disabled"
    assert site.module("instar-house") not in sys.modules


def test_a_built_in_plugin_needs_no_entry(site: Site, load: Load) -> None:
    """Plugins of our own distribution run unless they are disabled."""
    site.install("core", GOOD, distribution="instar-house")

    assert status(load(), "core").state == "loaded"


def test_an_enabled_plugin_is_loaded_and_described(site: Site, load: Load) -> None:
    """A status names plugin, package, version, state and hooks."""
    site.install("good", GOOD, version="2.5")

    assert status(load(enabled=("good",)), "good") == PluginStatus(
        name="good",
        distribution="instar-good",
        version="2.5",
        state="loaded",
        error=None,
        hooks=("instar_ticks",),
    )


def test_an_enabled_plugin_that_is_not_installed_is_missing(site: Site, load: Load) -> None:
    """The status says what to do and names the nearest plugin that is installed."""
    site.install("good", GOOD)

    missing = status(load(enabled=("goood",)), "goood")

    assert missing.state == "missing"
    assert "did you mean good?" in (missing.error or "")
    assert "pip install" in (missing.error or "")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Odd(BaseException): ...\nraise Odd('\\x1b[31mred\\nlines')", "Odd: [31mred lines"),
        (
            "class E(Exception):\n  def __str__(self): raise ValueError\nraise E",
            "could not be read",
        ),
    ],
)
def test_a_broken_import_is_isolated_and_named(
    site: Site, load: Load, source: str, words: str
) -> None:
    """One printable line in its own status; the neighbour runs."""
    site.install("broken", source)
    site.install("good", GOOD)

    plugins = load(enabled=("broken", "good"))

    assert status(plugins, "broken").state == "failed"
    assert words in (status(plugins, "broken").error or "")
    assert status(plugins, "good").state == "loaded"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("class P:\n    @hookimpl\n    def instar_ticks(self, host): return []", "P"),
        ("class P:\n    @hookimpl\n    def instar_ticks(self, host): return []\np = P()", "p"),
        ("@hookimpl\ndef instar_ticks(host): return []", ""),
    ],
)
def test_a_plugin_is_a_module_an_instance_or_a_class(
    site: Site, load: Load, source: str, target: str
) -> None:
    """All three kinds of entry point bring the same hook."""
    site.install("kind", source, target=target)

    assert status(load(enabled=("kind",)), "kind").hooks == ("instar_ticks",)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("def plugin(): ...", "plugin", "is not a module, an instance or a class"),
        ("plugin = None", "plugin", "is not a module, an instance or a class"),
        ("class P:\n    def __init__(self, host): ...", "P", "missing 1 required positional"),
        ("def instar_ticks(host): return []", "", "has no hooks; mark them"),
        ("@hookimpl\nasync def instar_ticks(host): return []", "", "is an async def"),
        ("@hookimpl\ndef instar_tiks(host): return []", "", "did you mean instar_ticks?"),
        ("@hookimpl\ndef instar_ticks(hots): return []", "", "asks for the argument 'hots'"),
        ("@hookimpl\ndef instar_ticks(host, *, more): ...", "", "asks for the argument 'more'"),
    ],
)
def test_a_plugin_against_the_rules_fails_and_says_why(
    site: Site, load: Load, source: str, target: str, words: str
) -> None:
    """Misspelt hook, extra argument, wrong kind of target: failed, in words that help."""
    site.install("wrong", source, target=target)
    site.install("good", GOOD)

    plugins = load(enabled=("wrong", "good"))

    assert status(plugins, "wrong").state == "failed"
    assert words in (status(plugins, "wrong").error or "")
    assert [c.plugin for c in plugins.collect("instar_ticks", host=None)] == ["good"]


def test_a_plugin_that_fails_validation_is_not_half_registered(site: Site, load: Load) -> None:
    """The good hook of a plugin with a bad one is not called either."""
    site.install("half", GOOD + "\n@hookimpl\ndef instar_routes(extra): return []\n")

    assert load(enabled=("half",)).collect("instar_ticks", host=None) == []


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\ud800"])
def test_what_nothing_can_show_is_in_no_status(load: Load, name: str) -> None:
    """Half a character in a name of the list made `/plugins` an error for everybody."""
    [missing] = load(enabled=(name,)).statuses()

    assert missing.state == "missing"
    assert (missing.name + (missing.error or "")).isprintable()


def test_one_module_under_two_names_runs_once(site: Site, load: Load) -> None:
    """The second one says so in words, and nothing of the first one is touched."""
    site.install("one", GOOD)
    points = site.path / "instar_one-1.0.dist-info" / "entry_points.txt"
    points.write_text(
        points.read_text() + points.read_text().splitlines()[1].replace("one", "two", 1)
    )

    plugins = load(enabled=("one", "two"))

    assert status(plugins, "two").error == "is the very same object as the plugin one, which runs"
    assert [c.plugin for c in plugins.collect("instar_ticks", host=None)] == ["one"]


def test_two_packages_with_one_plugin_name(site: Site, load: Load) -> None:
    """The later fails and both packages are named."""
    site.install("same", GOOD, distribution="a-first")
    site.install("same", GOOD, distribution="b-second")

    first, second = load(enabled=("same",)).statuses()

    assert (first.state, second.state) == ("loaded", "failed")
    assert "a-first and b-second both bring a plugin called same" in (second.error or "")


def test_broken_metadata_of_a_neighbour_hides_nobody(
    site: Site, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discovery through the real `sys.path` survives an entry_points.txt that cannot be read."""
    site.install("good", GOOD)
    bad = site.path / "bad-1.0.dist-info"
    bad.mkdir()
    (bad / "entry_points.txt").write_bytes(b"[instar.plugins]\n\xff\xfe = broken\n")
    section = {"plugins": {"enabled": ["good"], "disabled": ["tokenledger", "threadline"]}}
    config = Config(path=state_dir / "config.json", values=section, environ={})

    assert status(Plugins.load(config), "good").state == "loaded"


# Hooks that plugins bring

SPECS = """
class Specs:
    @hookspec
    def acme_things(self, host): ...

def instar_addhooks(pluginmanager):
    pluginmanager.add_hookspecs(Specs)
"""
USER = """
@hookimpl
def acme_things(host): return ["thing"]
@hookimpl
def instar_ticks(host): return []
"""


def test_a_plugin_extends_another_whatever_their_order(site: Site, load: Load) -> None:
    """All hooks are added before anything registers, so the user may come first."""
    site.install("acme", SPECS)
    site.install("user", USER)

    plugins = load(enabled=("user", "acme"))

    assert [c.value for c in plugins.collect("acme_things", host=None)] == ["thing"]
    assert status(plugins, "user").state == "loaded"


@pytest.mark.parametrize(
    ("enabled", "words"),
    [
        (("user",), "waiting for acme, which is disabled (for acme_things)"),
        (("user", "acme"), "waiting for acme, which is failed (for acme_things)"),
    ],
)
def test_an_implementation_without_its_owner_waits(
    site: Site, load: Load, enabled: tuple[str, ...], words: str
) -> None:
    """Waiting, not crashed; the plugin's other hooks work on."""
    site.install("acme", SPECS + "@hookimpl\ndef instar_tiks(): ...")
    site.install("user", USER)

    plugins = load(enabled=enabled)

    assert status(plugins, "user").state == "waiting"
    assert status(plugins, "user").error == words
    assert "user" in plugins.running()


def test_an_unknown_hook_of_an_owner_that_failed_is_waited_for(site: Site, load: Load) -> None:
    """Who cannot be asked may have specified it, however near another name is."""
    site.install("acme", SPECS + "@hookimpl\ndef instar_tiks(): ...")
    site.install("user", "@hookimpl\ndef acme_thing(host): return []")

    assert status(load(enabled=("acme", "user")), "user").state == "waiting"


def test_an_owner_that_is_not_installed_is_waited_for(site: Site, load: Load) -> None:
    """The prefix of the hook says who is missing."""
    site.install("user", USER)

    assert "waiting for acme, which is not installed" in (
        status(load(enabled=("user",)), "user").error or ""
    )


def test_a_misspelt_hook_of_a_plugin_that_runs_is_no_waiting(site: Site, load: Load) -> None:
    """Where the owner is there, an unknown hook is a mistake."""
    site.install("acme", SPECS)
    site.install("user", "@hookimpl\ndef acme_thigns(host): return []")

    user = status(load(enabled=("acme", "user")), "user")

    assert (user.state, user.error) == (
        "failed",
        "there is no hook acme_thigns (did you mean acme_things?)",
    )


def test_an_optional_implementation_waits_for_nobody(site: Site, load: Load) -> None:
    """`optionalhook` is how a plugin implements a hook that may not exist."""
    site.install("user", GOOD + "@hookimpl(optionalhook=True)\ndef acme_things(host): return []")

    assert status(load(enabled=("user",)), "user").state == "loaded"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("    @hookspec(historic=True)\n    def acme_old(self): ...", "acme_old is historic"),
        ("    @hookspec\n    def instar_ticks(self): ...", "belongs to instar already"),
    ],
)
def test_hooks_that_no_plugin_may_bring(site: Site, load: Load, source: str, words: str) -> None:
    """No historic hook, and no second owner of a hook."""
    good = "    @hookspec\n    def acme_things(self, host): ..."
    site.install("acme", SPECS.replace(good, source))

    acme = status(load(enabled=("acme",)), "acme")

    assert acme.state == "failed"
    assert words in (acme.error or "")


@pytest.mark.parametrize("kind", ["wrapper", "hookwrapper"])
def test_a_wrapper_is_refused(site: Site, load: Load, kind: str) -> None:
    """No plugin may come between another plugin and the host."""
    site.install("thief", f"@hookimpl({kind}=True)\ndef instar_ticks(host):\n    yield\n")
    site.install("good", GOOD)

    plugins = load(enabled=("good", "thief"))

    assert status(plugins, "thief").state == "refused"
    assert "is a hook wrapper" in (status(plugins, "thief").error or "")
    assert len(plugins.collect("instar_ticks", host=None)) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("register(object(), 'other')", "may not register others"),
        ("unregister(name='good')", "may not take others out"),
        ("set_blocked('good')", "may not take others out"),
    ],
)
def test_a_plugin_has_no_say_about_others(site: Site, load: Load, call: str, words: str) -> None:
    """What `instar_addhooks` is handed registers nobody and takes nobody out."""
    site.install("sly", f"def instar_addhooks(pm):\n    pm.{call}")
    site.install("good", GOOD)

    plugins = load(enabled=("good", "sly"))

    assert words in (status(plugins, "sly").error or "")
    assert [c.plugin for c in plugins.collect("instar_ticks", host=None)] == ["good"]
