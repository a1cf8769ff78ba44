"""The sub-commands of the host itself: their names and flags.

Promises that a command's own modules are imported when it runs: every call of `instar` reads this
file.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from instar_host.plugins import PluginStatus
from instar_host.records import Command, HostContext, Terminal

FINE = ("loaded", "waiting", "disabled")


def _configure_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)"
    )
    parser.add_argument(
        "--port", type=_port, metavar="N", help="TCP port; 0 picks a free one (4042)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="also answer to this name or address, e.g. for a phone (may be repeated)",
    )
    parser.add_argument(
        "--sample", action="store_true", help="serve a small made-up sample, touching nothing real"
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to 65535")
    return int(text)


def _run_serve(arguments: argparse.Namespace, host: HostContext, terminal: Terminal) -> int:
    from instar_host.serve import serve

    return serve(arguments, host, terminal)


def _run_open(arguments: argparse.Namespace, host: HostContext, terminal: Terminal) -> int:
    from instar_host.serve import open_again

    return open_again(arguments, host, terminal)


def _configure_plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print JSON, as GET /plugins answers it"
    )


def _run_plugins(arguments: argparse.Namespace, host: HostContext, terminal: Terminal) -> int:
    """List every plugin; 1 when one that should run does not, or failed when it was asked.

    By then all of them were asked what `serve` asks, so that a bad section of theirs is known. What
    they met in a host that runs is printed below, and changes nothing about the exit code.
    """
    statuses = host.plugins.statuses()
    if arguments.json:
        text = msgspec.json.format(msgspec.json.encode({"plugins": statuses}), indent=2).decode()
        print(text, file=terminal.out)
    else:
        from instar_host.elsewhere import met_elsewhere

        print("\n".join([_table(statuses), *met_elsewhere(host, statuses)]), file=terminal.out)
    return 0 if all(status.state in FINE and not status.errors for status in statuses) else 1


def _table(statuses: tuple[PluginStatus, ...]) -> str:
    if not statuses:
        return f"No plugin is installed for {sys.executable}."
    rows = [("PLUGIN", "STATE", "PACKAGE", "HOOKS"), *(_row(status) for status in statuses)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for row, status in zip(rows, (None, *statuses), strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[3]]).rstrip())
        if status is not None and status.error:
            lines.append(f"  {status.error}")
        if status is not None and status.off:
            lines.append(f"  not called any more: {', '.join(status.off)}")
    return "\n".join(lines)


def _row(status: PluginStatus) -> tuple[str, str, str, str]:
    package = f"{status.distribution or '-'} {status.version or ''}".strip()
    return status.name, status.state, package, ", ".join(status.hooks) or "-"


HOST_COMMANDS = (
    Command(
        name="serve",
        summary="serve the dashboard and the API",
        configure=_configure_serve,
        run=_run_serve,
    ),
    Command(
        name="open",
        summary="print the link of the dashboard that is served now",
        configure=lambda _parser: None,
        run=_run_open,
    ),
    Command(
        name="plugins",
        summary="which plugins run, and why the others do not",
        configure=_configure_plugins,
        run=_run_plugins,
    ),
)
