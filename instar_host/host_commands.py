"""The sub-commands of the host itself."""

from __future__ import annotations

import argparse
import sys

import msgspec

from instar_host.plugins import PluginStatus
from instar_host.records import Command, HostContext, Terminal
from instar_host.serve import OPEN, SERVE

FINE = ("loaded", "waiting", "disabled")


def _configure_plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print JSON, as GET /plugins answers it"
    )


def _run_plugins(arguments: argparse.Namespace, host: HostContext, terminal: Terminal) -> int:
    """List every plugin; 1 when one that should run does not."""
    statuses = host.plugins.statuses()
    if arguments.json:
        text = msgspec.json.format(msgspec.json.encode({"plugins": statuses}), indent=2).decode()
        print(text, file=terminal.out)
    else:
        print(_table(statuses), file=terminal.out)
    return 0 if all(status.state in FINE for status in statuses) else 1


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
    SERVE,
    OPEN,
    Command(
        name="plugins",
        summary="which plugins run, and why the others do not",
        configure=_configure_plugins,
        run=_run_plugins,
    ),
)
