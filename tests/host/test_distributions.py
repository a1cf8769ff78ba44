"""Finding what is installed without the standard library's reader of metadata."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from instar_host.discovery import installed
from instar_host.distributions import installed_with, version_of
from instar_host.version import OUR_DISTRIBUTION
from tests.host.third_party import Site

PLUGIN = "@hookimpl\ndef instar_ticks(host): return []\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site-packages", monkeypatch)


@pytest.mark.parametrize("group", ["console_scripts", "pytest11", "instar.plugins", "nobody's"])
def test_what_is_found_is_what_the_standard_library_finds(group: str) -> None:
    """In this very environment: every entry point of a group, by distribution."""
    said = {(d.name, name, target) for d in installed_with(group) for name, target in d.points}
    points = metadata.entry_points(group=group)

    assert said == {(p.dist.metadata["Name"], p.name, p.value) for p in points if p.dist}


def test_versions_are_those_of_the_standard_library() -> None:
    """Also for a name that is spelt otherwise, and for one that is not there."""
    assert version_of(OUR_DISTRIBUTION) == metadata.version(OUR_DISTRIBUTION)
    assert version_of("Typing_Extensions") == metadata.version("typing-extensions")
    assert version_of("nobody-has-this") is None


def test_of_two_installations_the_first_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution installed twice is one, in the version that would be imported."""
    for folder, version in (("later", "1.0"), ("first", "2.0")):
        Site(tmp_path / folder, monkeypatch).install("twice", PLUGIN, version=version)

    assert [c.version for c in installed() if c.name == "twice"] == ["2.0"]


def test_extras_and_spaces_of_an_entry_point_are_left_aside(site: Site) -> None:
    """`name = package : attribute [extra]` imports the attribute."""
    site.install("odd", "class Odd: ...", target="Odd [extra]")
    points = site.path / "instar_odd-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace(":", " : ") + "# odd = x\n\n[other]\nodd = y\n")

    (odd,) = [candidate for candidate in installed() if candidate.name == "odd"]

    assert isinstance(odd.load(), type)


def test_metadata_that_say_nothing_leave_a_plugin_without_a_name(site: Site) -> None:
    """It is a candidate like any other; who brought it is not known."""
    site.install("mute", PLUGIN)
    (site.path / "instar_mute-1.0.dist-info" / "METADATA").unlink()

    (mute,) = [candidate for candidate in installed() if candidate.name == "mute"]

    assert (mute.distribution, mute.version, mute.builtin) == (None, None, False)


def test_two_that_say_nothing_hide_each_other_not(site: Site) -> None:
    """A distribution without a name is nobody's second installation."""
    for name in ("mute", "quiet"):
        site.install(name, PLUGIN)
        (site.path / f"instar_{name}-1.0.dist-info" / "METADATA").unlink()

    assert {"mute", "quiet"} <= {candidate.name for candidate in installed()}


@pytest.mark.parametrize("how", [Path, lambda path: path])
def test_what_programs_put_on_the_path_is_no_stumbling_block(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: Callable[[str], object]
) -> None:
    """A `pathlib.Path` on it kept every host from starting; what names no place is passed over."""
    site.install("plain", PLUGIN)
    odd = [how(str(site.path)), os.fsencode(site.path), None, 3]
    monkeypatch.setattr(sys, "path", [*odd, *sys.path])

    assert "plain" in {candidate.name for candidate in installed()}


def test_an_archive_on_the_path_is_left_to_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its distributions are found as well."""
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped-3.0.dist-info/METADATA", "Name: zipped\nVersion: 3.0\n")
        file.writestr("zipped-3.0.dist-info/entry_points.txt", "[instar.plugins]\nzip = zipped\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])

    assert [c.version for c in installed() if c.name == "zip"] == ["3.0"]
    assert version_of("zipped") == "3.0"
