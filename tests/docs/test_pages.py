"""What the pages tell people to type and to write exists: commands, flags, settings, a mount."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from docs.registered import ROOT, children, parser_of, registered
from instar_host.adapters.entry import Entry
from instar_host.adapters.hermes_tab import HermesCommands

RUN = "writing-a-plugin.md"
"""Run as a whole by a test of its own; its commands are those of the plugin that it makes."""
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.name != RUN
]
PREFIX = r"(?:sh scripts/run|(?:hermes |bub )?instar)"
WORD = re.compile(r"[a-z][a-z-]*")
SECTION = {"hermes": ("plugins", "entries", "instar"), "bub": ("instar",)}


@pytest.fixture(scope="module")
def parsers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, argparse.ArgumentParser]]:
    """Every command of `instar`, and what Hermes adds."""
    found = registered(tmp_path_factory.mktemp("state"))
    commands = [command for of in found.commands.values() for command in of]
    commands += HermesCommands(Path()).instar_commands()
    yield {command.name: parser_of(command) for command in commands}
    found.host.plugins.close()


def typed(page: str) -> Iterator[list[str]]:
    """What a page has people type after `instar`, in a line of code or in a block."""
    yield from (found.split() for found in re.findall(rf"`{PREFIX} ([^`]+)`", page))
    for block in re.findall(r"^```(?:sh|console|)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        lines = re.findall(rf"^(?:\$ )?{PREFIX} ([^#>|\n]+)", block, re.MULTILINE)
        yield from (line.split() for line in lines)


def wrong(words: list[str], known: Mapping[str, argparse.ArgumentParser]) -> str | None:
    """The first word that no command knows; what follows a whole command is the reader's."""
    parser: argparse.ArgumentParser | None = None
    for word in words:
        if parser is not None and word.startswith("--"):
            if word not in parser.format_help():
                return word
        elif known and WORD.fullmatch(word):
            if word not in known:
                return word
            parser = known[word]
            known = children(parser)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists(
    page: Path, parsers: dict[str, argparse.ArgumentParser]
) -> None:
    """A command or flag that is renamed is renamed on the pages too."""
    commands = typed(page.read_text(encoding="utf-8"))
    assert [words for words in commands if wrong(words, parsers)] == []


def test_a_command_that_is_not_there_is_found(
    parsers: dict[str, argparse.ArgumentParser],
) -> None:
    """The check above is no formality."""
    text = "`instar tokens sums`, `hermes instar open`\n```\nbub instar tokens scan --jsn\n```\n"
    said = [wrong(words, parsers) for words in typed(text)]
    assert said == ["sums", None, "--jsn"]


@pytest.mark.parametrize("host", SECTION)
def test_the_settings_shown_for_a_host_are_taken(host: str, tmp_path: Path) -> None:
    """The block of the page, as it stands there, makes a host."""
    page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    section = yaml.safe_load(blocks[list(SECTION).index(host)])
    for key in SECTION[host]:
        section = section[key]
    section.pop("enabled", None)  # Bub's adapter's own
    opened = Entry.read(host, {**section, "stateDir": str(tmp_path)}, {}).open_host()
    assert (opened.name, opened.config.port) == (host, 4042)
    opened.plugins.close()


def test_the_mount_on_the_page_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The lines of the page, as they stand there, make an application."""
    page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.setenv("INSTAR_STATE_DIR", str(tmp_path))
    space: dict[str, object] = {}
    exec(code, space)
    assert type(space["app"]).__name__ == "Mounted"
