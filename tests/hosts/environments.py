"""One cached environment a host: pinned packages, then our wheel and the example plugins anew.

Promises that what a test runs is what a user would install: wheels, never the checkout. The
environments lie in `INSTAR_HOST_ENVIRONMENTS`, else in `.venv-hosts` beside the checkout's own.
Where `CI` is set, a Python that is missing is a failure; elsewhere the test is skipped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import Struct

CHECKOUT = Path(__file__).parents[2]
INSTALL_S = 900.0
EXAMPLES = ("instar-plugin-codex", "instar-plugin-courier")
OURS = ("instar_host", "instar_tokenledger", "instar_threadline")


class Environment(Struct, frozen=True, kw_only=True):
    """An environment in which a host runs."""

    folder: Path

    def program(self, name: str) -> str:
        """The path of an installed program."""
        return str(self.folder / "bin" / name)

    @property
    def site_packages(self) -> Path:
        """Where its packages lie."""
        return next((self.folder / "lib").glob("python3*/site-packages"))


def build_wheels(folder: Path) -> Sequence[Path]:
    """Our wheel and those of the examples, built from a copy: the checkout stays as it is."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    for package in OURS:
        shutil.copytree(CHECKOUT / package, source / package)
    examples = CHECKOUT / "examples"
    copies = [shutil.copytree(examples / example, folder / example) for example in EXAMPLES]
    sources = [source, *copies]
    wheels = folder / "wheels"
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels))
    _run(sys.executable, "-m", "pip", "wheel", *flags, *map(str, sources))
    return sorted(wheels.glob("*.whl"))


def environment(
    name: str, requirements: Sequence[str], wheels: Sequence[Path], python: tuple[int, int]
) -> Environment:
    """The environment of one host, made when it is missing or its requirements changed."""
    folder = _home() / name
    program = folder / "bin" / "python"
    wanted = hashlib.sha256("\n".join([*requirements, *map(str, python)]).encode()).hexdigest()
    stamp = folder / "instar-stamp"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        _run(_find_python(python), "-m", "venv", "--clear", str(folder))
        _pip(program, *requirements)
        stamp.write_text(wanted, encoding="utf-8")
    ours = next(wheel for wheel in wheels if wheel.name.startswith("instar_plugins-"))
    _pip(program, f"{ours}[serve,telegram]")  # what is missing of the dependencies
    _pip(program, "--force-reinstall", "--no-deps", *map(str, wheels))
    return Environment(folder=folder)


def _home() -> Path:
    said = os.environ.get("INSTAR_HOST_ENVIRONMENTS", "")
    return Path(said) if said else CHECKOUT / ".venv-hosts"


def _find_python(version: tuple[int, int]) -> str:
    """A Python of exactly that version."""
    if sys.version_info[:2] == version:
        return sys.executable
    name = f"python{version[0]}.{version[1]}"
    homes = sorted(Path.home().glob(f".pyenv/versions/{version[0]}.{version[1]}.*/bin/{name}"))
    said = os.environ.get(f"PYTHON{version[0]}{version[1]}", "")
    for candidate in filter(None, (said, shutil.which(name) or "", *map(str, homes))):
        check = "import sys, venv; print(sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", check], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == str(version):
            return candidate
    words = f"{name} is needed for this host; set PYTHON{version[0]}{version[1]} to one"
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)


def _pip(program: Path, *what: str) -> None:
    flags = ("--quiet", "--disable-pip-version-check")
    _run(str(program), "-m", "pip", "install", *flags, *what)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
