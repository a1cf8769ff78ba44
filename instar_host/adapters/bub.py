"""Bub: what its entry point `bub` leads to.

Promises that an instance costs nothing: Bub makes one in every one of its processes, and no
database, thread or socket is touched before a gateway starts its channels, or a person asks a
command. Bub has no allow-list: installed is enabled, `instar: {enabled: false}` turns it off.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from instar_host.adapters.entry import Entry

NAME = "instar"
ENABLED_KEY = "enabled"

hookimpl = pluggy.HookimplMarker("bub")


class InstarInBub:
    """The plugin that Bub registers."""

    def __init__(self, framework: Any) -> None:
        """Called by Bub with its `BubFramework`, which nothing here needs."""

    @hookimpl
    def provide_channels(self, message_handler: Any) -> list[Any]:  # noqa: ARG002 - Bub's name
        """One channel that carries no messages, while the section does not say otherwise."""
        if _section().get(ENABLED_KEY) is False:
            return []
        from instar_host.adapters.bub_channel import InstarChannel

        return [InstarChannel(read_entry)]

    @hookimpl
    def register_cli_commands(self, app: Any) -> None:
        """`bub instar ...`, as `instar ...`."""
        import typer  # type: ignore[import-not-found]

        def command(context: Any) -> None:
            raise typer.Exit(read_entry().run_command(context.args))

        command.__annotations__["context"] = typer.Context  # Typer reads it, and needs the class
        app.command(
            NAME,
            help="The token ledger and the threadline of this Bub: `bub instar tokens summary`.",
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(command)


def read_entry() -> Entry:
    """The section `instar` of Bub's configuration. Raises ConfigError."""
    import bub  # type: ignore[import-not-found]

    from instar_host.adapters.entry import Entry

    section = {key: value for key, value in _section().items() if key != ENABLED_KEY}
    return Entry.read("bub", section, {**os.environ, "BUB_HOME": str(bub.home)})


def _section() -> dict[str, Any]:
    from bub import configure

    found = configure.get_config_data().get(NAME)
    return found if isinstance(found, dict) else {}
