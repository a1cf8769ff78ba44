"""H1: a hook of somebody else's that keeps failing is switched off, named, and tried again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from instar_host.config import FILE_NAME, Config
from instar_host.plugins import Plugins
from tests.host.third_party import Site, status

LIMIT = 3
FLAKY = """
import pluggy

class Specs:
    @hookspec
    def flaky_things(self, word: str) -> list[str]: ...
    @hookspec
    def flaky_news(self, word: str) -> None: ...
    @hookspec
    def flaky_vote(self, word: str) -> bool | None: ...
    @hookspec(firstresult=True)
    def flaky_name(self, word: str) -> str | None: ...

class Flaky:
    def __init__(self):
        self.calls = []

    def instar_addhooks(self, pluginmanager: pluggy.PluginManager) -> None:
        pluginmanager.add_hookspecs(Specs)

    def answer(self, word, good):
        self.calls.append(word)
        if word == "bad":
            raise ValueError("cannot")
        return good

    @hookimpl
    def flaky_things(self, word): return self.answer(word, [word])
    @hookimpl
    def flaky_news(self, word): return self.answer(word, None)
    @hookimpl
    def flaky_vote(self, word): return self.answer(word, True)
    @hookimpl
    def flaky_name(self, word): return self.answer(word, word)

flaky = Flaky()
"""


class House:
    """A state directory, and what `flaky` was asked."""

    def __init__(self, state_dir: Path, site: Site) -> None:
        self.file = state_dir / FILE_NAME
        self._site = site
        self._made: list[Plugins] = []

    def load(self, *, limit: int = LIMIT, builtin: tuple[str, ...] = ()) -> Plugins:
        """Plugins as a fresh start finds them."""
        self.configure(limit)
        config = Config.load(self.file.parent, {})
        entries = self._site.entry_points()
        self._made.append(Plugins.load(config, entry_points=entries, builtin=builtin))
        return self._made[-1]

    def configure(self, limit: int, **more: Any) -> None:
        """Write the file, as a person would who has mended something."""
        section = {"enabled": ["flaky"], "maxFailuresInRow": limit}
        self.file.write_text(json.dumps({"plugins": section, **more}), encoding="utf-8")

    def close(self) -> None:
        for plugins in self._made:
            plugins.close()


@pytest.fixture
def house(tmp_path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """One third-party plugin that fails at the word "bad"."""
    site = Site(tmp_path / "site", monkeypatch)
    site.install("flaky", FLAKY, target="flaky")
    made = House(state_dir, site)
    yield made
    made.close()


def asked(plugins: Plugins) -> list[str]:
    """The words that the plugin was called with."""
    calls: list[str] = plugins._entries[0].plugin.calls  # type: ignore[attr-defined]
    return calls


def told(plugins: Plugins, hook: str, word: str) -> None:
    plugins.notify(hook, word=word)
    assert plugins.flush(10)


CALLS: dict[str, Callable[[Plugins, str], object]] = {
    "flaky_things": lambda plugins, word: plugins.collect("flaky_things", word=word),
    "flaky_news": lambda plugins, word: told(plugins, "flaky_news", word),
    "flaky_name": lambda plugins, word: plugins.first("flaky_name", word=word),
}


@pytest.mark.parametrize("hook", CALLS)
def test_a_hook_that_keeps_failing_is_switched_off(
    house: House, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """H1: not called again, named in the status and once in the log; its other hooks go on."""
    plugins = house.load()
    with caplog.at_level(logging.WARNING):
        for _ in range(LIMIT + 5):
            CALLS[hook](plugins, "bad")
    assert asked(plugins) == ["bad"] * LIMIT
    fares = status(plugins, "flaky")
    assert (fares.state, fares.off, fares.errors) == ("loaded", (hook,), LIMIT)
    error = fares.error or ""
    assert error.startswith(f"{hook}: ValueError: cannot (")
    assert error.endswith("; switched off after 3 failures in a row")
    assert [record.getMessage() for record in caplog.records] == [f"plugin flaky: {fares.error}"]
    for call in CALLS.values():
        call(plugins, "good")
    assert asked(plugins)[LIMIT:] == ["good"] * (len(CALLS) - 1)


def test_only_failures_in_a_row_count(house: House) -> None:
    """H1: one call that goes well is worth all the patience there is."""
    plugins = house.load()
    for word in ["bad", "bad", "good"] * 4:
        plugins.collect("flaky_things", word=word)
    assert len(asked(plugins)) == 12
    assert status(plugins, "flaky").off == ()


def test_a_voter_is_asked_however_often_it_fails(house: House) -> None:
    """H1: an error is a no there, so silence would open a gate or shut it for good."""
    plugins = house.load()
    outcomes = [plugins.each("flaky_vote", word="bad")[0] for _ in range(LIMIT * 2)]
    assert all(outcome.error for outcome in outcomes)
    assert len(asked(plugins)) == LIMIT * 2
    assert plugins.each("flaky_vote", word="good")[0].value is True


def test_writing_the_configuration_gives_it_another_chance(house: House) -> None:
    """H1: mended and saved, it is called again, without a restart; a broken file changes
    nothing."""
    plugins = house.load()
    for _ in range(LIMIT):
        plugins.collect("flaky_things", word="bad")
    house.file.write_text("{", encoding="utf-8")
    assert plugins.collect("flaky_things", word="good") == []
    house.configure(LIMIT, mended=True)
    found = plugins.collect("flaky_things", word="good")
    assert [one.value for one in found] == ["good"]
    assert status(plugins, "flaky").off == ()


def test_zero_is_endless_patience(house: House) -> None:
    """`plugins.maxFailuresInRow` of 0 switches nothing off."""
    plugins = house.load(limit=0)
    for _ in range(50):
        plugins.collect("flaky_things", word="bad")
    assert len(asked(plugins)) == 50


def test_a_built_in_plugin_is_never_switched_off(house: House) -> None:
    """Rule 6: what cannot be opened now is tried again, for ever."""
    plugins = house.load(builtin=("instar-flaky",))
    for _ in range(LIMIT * 2):
        plugins.collect("flaky_things", word="bad")
    assert len(asked(plugins)) == LIMIT * 2
