"""A tab in Hermes's own dashboard: three small files where Hermes looks for such things.

Promises that only those files are written, below `plugins/instar/dashboard` of Hermes's home, and
that taking the tab away leaves nothing of them. Hermes takes tabs from folders, never from
installed packages, so a person has to ask for it. Never touches Hermes's configuration.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

import msgspec

from instar_host.errors import InstarError
from instar_host.hookspecs import hookimpl
from instar_host.records import Command, HostContext, Terminal
from instar_host.store.files import write_atomic
from instar_host.version import installed_version

FOLDER = Path("plugins", "instar", "dashboard")
MANIFEST = "manifest.json"
SCRIPT = "dist/index.js"
SERVER = "api.py"
SERVER_TEXT = b"""\
# Written by `hermes instar tab install`; `hermes instar tab remove` takes it away.
from instar_host.adapters.hermes_dashboard import router

__all__ = ["router"]
"""


class HermesCommands:
    """What Hermes's command line has besides the commands of every host."""

    def __init__(self, home: Path) -> None:
        """`home` is Hermes's."""
        self._home = home

    @hookimpl
    def instar_commands(self) -> list[Command]:
        """`hermes instar tab`."""
        return [
            Command(
                name="tab",
                summary="our tab in Hermes's own dashboard: install it, or remove it",
                configure=_configure,
                run=self._run,
            )
        ]

    def _run(
        self,
        arguments: argparse.Namespace,
        host: HostContext,  # noqa: ARG002 - the signature of a command
        terminal: Terminal,
    ) -> int:
        folder = self._home / FOLDER
        try:
            said = install(folder) if arguments.action == "install" else remove(folder)
        except OSError as error:
            raise InstarError(f"{error.filename or folder}: {error.strerror}") from None
        print(said, file=terminal.out)
        return 0


def install(folder: Path) -> str:
    """Write the files, anew where they are there; a sentence for the person. Raises OSError."""
    script = Path(__file__).with_name("hermes_tab.js").read_bytes()
    (folder / SCRIPT).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / SERVER, SERVER_TEXT)
    write_atomic(folder / SCRIPT, script)
    write_atomic(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(_manifest())))
    return f"Wrote {folder}. Start `hermes dashboard` anew; the tab is called instar."


def remove(folder: Path) -> str:
    """Take the files away, and folders that are empty then. Raises OSError."""
    if not (folder / MANIFEST).exists():
        return "There is no tab of ours."
    for name in (MANIFEST, SCRIPT, SERVER):
        (folder / name).unlink(missing_ok=True)
    for left in ((folder / SCRIPT).parent, folder, folder.parent):
        with contextlib.suppress(OSError):  # somebody else's files are in it
            os.rmdir(left)
    return f"Removed {folder}. Start `hermes dashboard` anew."


def _manifest() -> dict[str, object]:
    return {
        "name": "instar",
        "label": "instar",
        "description": "What agents use, and what they say to each other",
        "icon": "BarChart3",
        "version": installed_version(),
        "tab": {"path": "/instar", "position": "end"},
        "entry": SCRIPT,
        "api": SERVER,
    }


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("install", "remove"))
