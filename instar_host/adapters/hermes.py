"""Hermes Agent: what its entry point `hermes_agent.plugins` leads to.

Promises that registering costs nothing: Hermes calls `register` in every one of its processes, and
no database, thread or socket is touched before the gateway connects our platform, or a person asks
a command. Knows Hermes only through the context that it is handed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from instar_host.adapters.entry import Entry

NAME = "instar"
CHAT_TIMEOUT_S = 20.0
_SPAN = re.compile(r"[1-9][0-9]{0,3}[hd]")
"""What a chat command takes: everybody in the chat may send one."""


def register(ctx: Any) -> None:
    """Called by Hermes with its `PluginContext`."""
    inside = _Inside()
    ctx.register_platform(
        name=NAME,
        label="instar",
        adapter_factory=inside.platform,
        check_fn=lambda: True,
        env_enablement_fn=lambda: {"instar": True},
        emoji="🧾",
    )
    ctx.register_cli_command(
        name=NAME,
        help="the token ledger and the threadline of this Hermes",
        setup_fn=_configure_command,
        handler_fn=_run_command,
    )
    ctx.register_command(
        "tokens",
        _tokens,
        description="What your agents used today, or in a span such as 7d",
        args_hint="<span>",
    )
    ctx.register_hook("post_api_request", inside.used)


class _Inside:
    """What this process holds of us: nothing, until the gateway asks for the platform."""

    def __init__(self) -> None:
        self._platform: Any = None

    def platform(self, config: Any) -> Any:
        """The adapter that the gateway connects. Raises ConfigError."""
        from instar_host.adapters.hermes_platform import InstarPlatform

        self._platform = InstarPlatform(config, read_entry())
        return self._platform

    def used(self, **_said: Any) -> None:
        """A call of a model has ended: what is known of Hermes's usage is out of date."""
        if self._platform is not None:
            self._platform.wake()


def read_entry() -> Entry:
    """`plugins.entries.instar` of Hermes's configuration. Raises ConfigError."""
    from hermes_cli.config import load_config  # type: ignore[import-not-found]
    from hermes_constants import get_hermes_home  # type: ignore[import-not-found]

    from instar_host.adapters.entry import Entry

    entries = ((load_config() or {}).get("plugins") or {}).get("entries") or {}
    environ = {**os.environ, "HERMES_HOME": str(get_hermes_home())}
    return Entry.read("hermes", entries.get(NAME), environ)


def _configure_command(parser: argparse.ArgumentParser) -> None:
    import argparse

    parser.add_argument(
        "instar_arguments",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="as for `instar`: `hermes instar open`; `hermes instar` alone lists what there is",
    )


def _run_command(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from instar_host.adapters.hermes_tab import HermesCommands

    entry = read_entry()
    ours = {"hermes": HermesCommands(Path(entry.environ["HERMES_HOME"]))}
    code = entry.run_command(arguments.instar_arguments, ours)
    if code:
        raise SystemExit(code)


async def _tokens(said: str) -> str:
    """Today's numbers, or those of a span; read in a thread, the chat goes on."""
    import asyncio
    from functools import partial

    span = said.strip()
    if span and not _SPAN.fullmatch(span):
        return "Use: /tokens, or /tokens 7d, or /tokens 12h"
    async with asyncio.timeout(CHAT_TIMEOUT_S):
        title = f"Last {span}" if span else "Today"
        return f"{title}: {await asyncio.to_thread(partial(summary, span))}"


def summary(span: str, today: Callable[[], str] | None = None) -> str:
    """What a terminal says of a span such as 7d, or of today for an empty one; or why it cannot."""
    import io
    from pathlib import Path

    from instar_host import cli
    from instar_host.records import Terminal

    entry = read_entry()
    out, err = io.StringIO(), io.StringIO()
    since = span or (today or _today)()
    arguments = ("tokens", "summary", "--since", since)
    terminal = Terminal(out=out, err=err)
    cli.run(arguments, entry.environ, Path.cwd, Path.home, terminal, entry.open_host)
    return out.getvalue().strip() or err.getvalue().strip()


def _today() -> str:
    """The date in the zone of the machine; the summary begins with its midnight."""
    from datetime import datetime

    return datetime.now().astimezone().date().isoformat()
