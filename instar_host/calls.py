"""One call of a command: its arguments, what it works on, and where its answer goes.

Promises that an answer goes to standard output and a remark to standard error, and that JSON looks
alike from every command. Never asks anything back.
"""

from __future__ import annotations

import argparse
from typing import Generic, TypeVar

import msgspec

from instar_host.records import HostContext, Terminal

Service = TypeVar("Service")


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
        self.say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def note(self, sentence: str) -> None:
        """A remark beside the answer."""
        self.terminal.err.write(sentence + "\n")
