"""What the pages are made of, checked without a browser (W7)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import instar_tokenledger

DASHBOARD = Path(instar_tokenledger.__file__).parent / "dashboard"
VENDOR = DASHBOARD / "vendor"
OURS = sorted(DASHBOARD.glob("*.js"))
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    r"|\beval\s*\(|new Function|setHTML|srcdoc|javascript:"
)


@pytest.mark.parametrize("path", [*OURS, VENDOR / "uPlot.esm.js"], ids=lambda path: path.name)
def test_no_script_makes_markup_from_text(path: Path) -> None:
    """Neither our scripts nor the vendored one can turn text into markup or code."""
    assert not MARKUP.search(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_scripts_are_short_and_say_what_they_are(path: Path) -> None:
    """One idea a file: at most 400 lines, with a first line that says which."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("// ")
    assert text.count("\n") <= 400


def test_the_vendored_library_is_the_published_one() -> None:
    """What is vendored is what the note beside it says, with its licence."""
    note = (VENDOR / "README.txt").read_text(encoding="utf-8")
    for name in ("uPlot.esm.js", "uPlot.min.css"):
        assert f"{hashlib.sha256((VENDOR / name).read_bytes()).hexdigest()}  {name}" in note
    assert "MIT" in (VENDOR / "uPlot.LICENSE.txt").read_text(encoding="utf-8")
