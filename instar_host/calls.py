"""One call of a command: its arguments, what it works on, and where its answer goes.

Promises that an answer goes to standard output and a remark to standard error, and that JSON looks
alike from every command. Never asks anything back.
"""

from __future__ import annotations

import argparse
from typing import Generic, TypeVar

import msgspec

from instar_host.characters import json_for
from instar_host.records import HostContext, Terminal

Service = TypeVar("Service")

ECHO_COLUMNS = 3
"""Left free behind a passing line: a terminal writes `^C` there, and must not begin a new one."""


class Call(Generic[Service]):
    """What a sub-command's function is given; `Service` is what its plugin works with."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        host: HostContext,
        terminal: Terminal,
        service: Service,
    ) -> None:
        self.arguments = arguments
        self.host = host
        self.terminal = terminal
        self.service = service

    def say(self, line: str = "") -> None:
        """A line of the answer."""
        self.terminal.out.write(line + "\n")

    def say_json(self, value: object) -> None:
        """The answer as JSON, indented."""
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        self.say(json_for(self.terminal.out, text))

    def note(self, sentence: str) -> None:
        """A remark beside the answer."""
        self.terminal.err.write(sentence + "\n")

    def progress(self, line: str = "") -> None:
        """A passing line, where a person looks on: the next one takes its place, none clears it.

        Made of spaces and returns alone, so that a terminal without escapes shows it as well.
        """
        if not self.terminal.err.isatty():
            return
        room = max(0, self.terminal.width - ECHO_COLUMNS)
        shown = line[:room]
        self.terminal.err.write(f"\r{shown:<{room}}\r{shown}")
        self.terminal.err.flush()
