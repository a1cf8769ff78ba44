"""The examples pass the strictest checks of types: what a plugin author copies, he may rely on."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_examples_are_checked_with_everything_else() -> None:
    """`scripts/check` would tell: every example stands on the path of the type checker."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    on_path = {ROOT / folder for folder in settings["mypy_path"].split(":")}
    assert settings["strict"]
    assert "examples" in settings["files"]
    assert {path.parent for path in (ROOT / "examples").glob("*/pyproject.toml")} <= on_path
