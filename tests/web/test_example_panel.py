"""The example plugin's tab in a real browser: somebody else's module under our page's rules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instar_host.testing_web import RunHost
from tests.web.conftest import OpenTab

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "examples" / "instar-plugin-codex"
MODULE = "instar_plugin_codex"


@pytest.fixture
def codex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example's plugin."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield importlib.import_module(MODULE).CodexPlugin()
    sys.modules.pop(MODULE)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (None, "Codex has not said anything about its limits yet."),
        (
            {"primary": {"used_percent": 42.0, "window_minutes": 299}, "secondary": None},
            "primary: 42 % used of 299 minutes",
        ),
        (
            {"<img src=x onerror=alert(1)>": {"used_percent": 1, "window_minutes": 2}},
            "<img src=x onerror=alert(1)>: 1 % used of 2 minutes",
        ),
    ],
)
def test_the_tab_shows_the_limits(
    run_host: RunHost, open_tab: OpenTab, codex: Any, limits: Any, words: str, tmp_path: Path
) -> None:
    """A third-party module is loaded and shown with no violation; what it shows is text."""
    settings = {"plugins": {"settings": {"codex": {"home": str(tmp_path)}}}}
    running = run_host({"codex": codex}, settings)
    codex.limits = limits
    page = open_tab(running).open("tab=codex")
    page.get_by_text(words).wait_for()
