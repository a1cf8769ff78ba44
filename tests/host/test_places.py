"""Where in a plugin it went wrong: for its author, in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from instar_host import InstarError, hookimpl
from instar_host.config import Config
from instar_host.places import explained, place
from instar_host.plugins import Plugins
from instar_host.testing import MakeHost
from tests.host.third_party import Site, status


class Reads:
    """A plugin whose hook fails in a library that it calls."""

    @hookimpl
    def instar_ticks(self) -> object:
        return self.inner("no JSON")

    def inner(self, text: str) -> object:
        return json.loads(text)


def test_the_line_is_the_innermost_of_the_plugin(make_host: MakeHost) -> None:
    """Not the hook's that led there, nor the library's: where its author has to look."""
    host = make_host([Reads])
    host.plugins.collect("instar_ticks", host=host)

    error = status(host.plugins, "reads").error or ""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    line = 1 + next(at for at, text in enumerate(lines) if "json.loads(text)" in text)
    assert error.endswith(f"(test_places.py:{line})")


def test_code_of_ours_and_sentences_have_no_place() -> None:
    """A place says that somebody else's code is to be looked at."""
    with pytest.raises(TypeError) as ours:
        Config.load(None, {})  # type: ignore[arg-type]
    beneath = ours.value.__traceback__.tb_next if ours.value.__traceback__ else None
    assert place(ours.value.with_traceback(beneath)) == ""
    assert explained(InstarError("do this")) == "do this"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("from instar_host import Brandnew", "; it may need another version of instar-plugins"),
        ("import instar_host.brand_new", "; it may need another version of instar-plugins"),
        ("x = 1\n\n1 / 0", "ZeroDivisionError: division by zero (instar_fails_"),
    ],
)
def test_an_import_that_fails_says_where_and_what_it_may_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state_dir: Path, source: str, words: str
) -> None:
    """What a newer instar has is missing here: the cure is another version, not another plugin."""
    site = Site(tmp_path / "site-packages", monkeypatch)
    site.install("fails", source)
    values = {"plugins": {"enabled": ["fails"]}}
    config = Config(path=state_dir / "config.json", values=values, environ={})
    plugins = Plugins.load(config, entry_points=site.entry_points())
    plugins.close()

    fails = status(plugins, "fails")
    assert fails.state == "failed"
    assert words in (fails.error or "")
    assert "(instar_fails_" in (fails.error or "")
