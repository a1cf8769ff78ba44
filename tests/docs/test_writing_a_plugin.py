"""`docs/writing-a-plugin.md`, followed to the letter by somebody who has an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-plugin.md"
GUARD_S = 100.0


class Block(NamedTuple):
    """One code block: what it is, and the file it is the content of."""

    kind: str
    file: str
    text: str


def blocks() -> list[Block]:
    """The page's code blocks, in order."""
    pattern = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [Block(*found) for found in pattern.findall(PAGE.read_text(encoding="utf-8"))]


def steps(console: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with lines of what it prints."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, *shown = part.splitlines()
        yield command, shown


class Reader:
    """Somebody with an environment of their own, in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "plugin"
        self.folder.mkdir()
        environment = folder / "venv"
        venv.create(environment, with_pip=False)
        self._bin = environment / "bin"
        packages = next(environment.glob("lib/python*/site-packages"))
        ours = sysconfig.get_path("purelib")
        (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        self._script("instar", 'exec python -m instar_host "$@"')
        flags = "--no-build-isolation --no-deps --no-index --disable-pip-version-check"
        self._script("pip", f'exec python -m pip "$@" {flags}')
        self._home = folder

    def run(self, command: str) -> str:
        """What a command prints; it has to succeed."""
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        path = os.pathsep.join([str(self._bin), os.defpath])
        environ = {**kept, "PATH": path, "HOME": str(self._home), "COLUMNS": "200", "TZ": "UTC"}
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=environ, timeout=GUARD_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _script(self, name: str, line: str) -> None:
        (self._bin / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (self._bin / name).chmod(0o755)


def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    """Every file is written and every command run in order; each prints the lines it is shown to
    print."""
    reader = Reader(tmp_path)
    for block in blocks():
        if block.kind == "console":
            for command, shown in steps(block.text):
                printed = reader.run(command)
                missing = [line for line in shown if squeezed(line) not in squeezed(printed)]
                assert not missing, f"{command}\n{printed}"
        else:
            reader.write(block.file, block.text)


def squeezed(text: str) -> str:
    """Text without its columns."""
    return re.sub(r"[ \t]+", " ", text)


def test_every_block_is_a_file_or_a_command() -> None:
    """A block that the test above would pass over does not count as tested."""
    found = blocks()
    assert len(found) == PAGE.read_text(encoding="utf-8").count("```") // 2
    assert [b for b in found if not b.file and b.kind != "console"] == []
    assert {b.file for b in found if b.file} >= {"pyproject.toml", "conftest.py", "test_acme.py"}
