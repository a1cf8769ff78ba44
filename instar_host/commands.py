"""The command-line flags and sub-commands that plugins bring, as one argument parser.

Promises that `--state-dir` and a plugin's flags are taken before and after a sub-command alike, and
that a plugin whose command cannot be set up loses the command, not the program. Where it is known
which command is asked for, nothing is set up for the others: a command pays for itself alone.
Never runs a command.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from instar_host.claims import Claims, command_key, settle
from instar_host.errors import UsageError, reason
from instar_host.plugins import Contribution
from instar_host.records import Command, HostContext, Option
from instar_host.settings import nearest
from instar_host.version import OUR_DISTRIBUTION
from instar_host.width import columns

PROGRAM = "instar"
STATE_DIR_HELP = "where everything durable lives (default: $INSTAR_STATE_DIR, ./.instar, ~/.instar)"

Overrides = dict[str, dict[str, str | list[str]]]


class Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of leaving the process."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", _Help)
        super().__init__(*args, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but the command itself says what it does not know, with its usage."""
        found, rest = super().parse_known_args(args, namespace)
        if rest and self._subparsers is None and self.prog != PROGRAM:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse does, but a sub-command that is misspelt gets the nearest one named."""
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            command = f"{self.prog} {value}".removeprefix(f"{PROGRAM} ")
            known = tuple(action.choices)
            near = nearest(str(value), known)
            self.error(f"there is no command {command}{near}; there is {', '.join(known)}")
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        kinds = [
            name
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for name in action.choices
        ]
        if kinds and message.endswith("required: COMMAND"):
            message = f"which command? There is {', '.join(kinds)}."
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


class _Help(argparse.HelpFormatter):
    """As wide as the terminal; argparse makes one for every flag, if only to throw it away."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=columns() - 2)


class CommandLine:
    """The whole command line: built once per call, parsed once."""

    def __init__(
        self,
        own: Sequence[Command],
        claims: Claims,
        report: Callable[[str, str], None],
        version: str,
        asked: str | None = None,
    ) -> None:
        """`report(plugin, error)` hears of commands that could not be set up. `asked` is the one
        command that will be parsed; None: any, or the help of all.
        """
        self._asked = asked
        self._owners: dict[str, tuple[str, Command]] = {}
        self._overrides: Overrides = {}
        self._parser = Parser(prog=PROGRAM, description="A token ledger and a threadline.")
        self._parser.add_argument("--version", action="version", version=f"{PROGRAM} {version}")
        _add_state_dir(self._parser)
        self._children = self._parser.add_subparsers(
            title="commands", metavar="COMMAND", dest="instar_command"
        )
        for command in own:
            self._add("instar", command, claims.options)
        for contribution in claims.commands:
            try:
                self._add(contribution.plugin, contribution.value, claims.options)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - a plugin boundary
                report(contribution.plugin, f"command {contribution.value.name}: {reason(exc)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The commands there are."""
        return tuple(self._owners)

    def help(self) -> str:
        """The text of `instar --help`."""
        return self._parser.format_help()

    def owner(self, name: str) -> str:
        """The plugin that brought a command."""
        return self._owners[name][0]

    def parse(self, argv: Sequence[str]) -> tuple[Command, argparse.Namespace, Overrides]:
        """The command called `name`, its arguments, the settings that flags override. Raises
        UsageError.
        """
        arguments = self._parser.parse_args(list(argv))
        if arguments.instar_command is None:
            self._parser.error("which command?")
        return self._owners[arguments.instar_command][1], arguments, self._overrides

    def _add(self, owner: str, command: Command, options: Iterable[Contribution]) -> None:
        wanted = [o.value for o in options if _takes(command, o.value)]
        if self._asked is None:
            self._equip(Parser(), command, wanted)  # a rehearsal: argparse takes nothing back
        if self._asked in (None, command.name):
            child = self._children.add_parser(
                command.name, help=_plain(command.summary), description=command.summary
            )
            self._equip(child, command, wanted)
        self._owners[command.name] = (owner, command)

    def _equip(
        self, child: argparse.ArgumentParser, command: Command, options: Iterable[Option]
    ) -> None:
        command.configure(child)
        for parser in _with_descendants(child):
            _add_state_dir(parser)
            for option in options:
                self._add_option(parser, option)

    def _add_option(self, parser: argparse.ArgumentParser, option: Option) -> None:
        with contextlib.suppress(argparse.ArgumentError):  # the command has such a flag of its own
            parser.add_argument(
                option.flag,
                action=_Override,
                option=option,
                overrides=self._overrides,
                metavar=option.metavar,
                help=_plain(option.summary),
            )


def claimed(host: HostContext, own: Sequence[Command], asked: str | None) -> Claims:
    """What plugins bring to the command line, settled among them and with the host's `own`.

    A plugin that loses one thing loses all, so with plugins of others everything they claim has to
    be settled first. Ours do not claim each other's, and a command of theirs needs no routes.
    """
    reserved = [command_key(command.name) for command in own]
    running = set(host.plugins.running())
    ours = all(
        status.distribution == OUR_DISTRIBUTION
        for status in host.plugins.statuses()
        if status.name in running
    )
    if ours and asked not in {command.name for command in own}:
        return settle(host, reserved=reserved, kinds=("commands", "options"))
    from instar_host.surface import settle_all

    return settle_all(host, reserved)


class _Override(argparse.Action):
    """Keeps a flag's text as an override of a setting, wherever on the line it stands."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        option: Option,
        overrides: Overrides,
        **options: Any,
    ) -> None:
        super().__init__(option_strings, dest, default=argparse.SUPPRESS, **options)
        self._option = option
        self._overrides = overrides

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - the signature is argparse's
        namespace: argparse.Namespace,  # noqa: ARG002
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        section = self._overrides.setdefault(self._option.section, {})
        before = section.get(self._option.key, [])
        if self._option.repeatable:
            section[self._option.key] = [*before, values]
        else:
            section[self._option.key] = values


def early(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The state directory that `argv` names, and what is left: needed before any plugin is
    known.
    """
    parser = Parser(prog=PROGRAM, add_help=False, usage=f"{PROGRAM} [--state-dir DIR] COMMAND ...")
    _add_state_dir(parser)
    found, rest = parser.parse_known_args(list(argv))
    return getattr(found, "state_dir", None), rest


def _add_state_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir", metavar="DIR", default=argparse.SUPPRESS, help=STATE_DIR_HELP
    )


def _plain(summary: str) -> str:
    """Text in which argparse finds nothing to fill in."""
    return summary.replace("%", "%%")


def _takes(command: Command, option: Option) -> bool:
    return command.name == "serve" or command.name in option.commands


def _with_descendants(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its sub-commands, which `configure` made."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in {id(c): c for c in action.choices.values()}.values():
                yield from _with_descendants(child)
