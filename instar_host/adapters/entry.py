"""What another program's configuration says about us: one section of it, and its environment.

Promises that the section has the shape of our `config.json` with three keys more: `stateDir`,
`listen` and `allowHosts`. Never reads that program's files: its adapter hands the section over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from instar_host.config import STATE_DIR_VARIABLE, StateDir, locate_state_dir
from instar_host.errors import ConfigError
from instar_host.host import open_host
from instar_host.records import HostContext, Record

LOOPBACK = "127.0.0.1"


class _Own(msgspec.Struct, frozen=True, rename="camel"):
    state_dir: str = ""
    listen: str = LOOPBACK
    allow_hosts: tuple[str, ...] = ()


OWN_KEYS = tuple(field.encode_name for field in msgspec.structs.fields(_Own))


class Entry(Record, frozen=True, kw_only=True):
    """One host's section about us."""

    name: str
    """The host's: `hermes`."""
    environ: Mapping[str, str]
    listen: str = LOOPBACK
    """The address that our own port is opened on."""
    allow_hosts: tuple[str, ...] = ()
    """Names under which people reach it, besides loopback."""
    values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The rest, in the shape of `config.json`; the file wins."""

    @classmethod
    def read(cls, name: str, section: object, environ: Mapping[str, str]) -> Entry:
        """The section, None for an absent one. Raises ConfigError for one of a wrong shape."""
        if not isinstance(section, Mapping | None):
            raise ConfigError(f"the section instar of {name} has to be an object")
        values = dict(section or {})
        try:
            own = msgspec.convert({k: values.pop(k) for k in OWN_KEYS if k in values}, _Own)
        except msgspec.ValidationError as error:
            raise ConfigError(f"the section instar of {name}: {error}") from None
        if own.state_dir:
            environ = {**environ, STATE_DIR_VARIABLE: own.state_dir}
        return cls(
            name=name,
            environ=environ,
            listen=own.listen,
            allow_hosts=own.allow_hosts,
            values=values,
        )

    def open_host(
        self,
        where: StateDir | None = None,
        capabilities: Collection[str] = (),
        given: Mapping[str, object] | None = None,
    ) -> HostContext:
        """The host that this section describes. Raises ConfigError."""
        return open_host(
            where or locate_state_dir(None, self.environ, Path.cwd(), Path.home()),
            self.environ,
            host_values=self.values,
            name=self.name,
            capabilities=capabilities,
            given=given,
        )

    def run_command(
        self, arguments: Collection[str], given: Mapping[str, object] | None = None
    ) -> int:
        """One call of `instar` with this section's settings; its exit code. `given` are plugins
        by name that the host brings itself.
        """
        from instar_host import cli

        return cli.main(list(arguments), self.environ, partial(_for_commands, self, given))


def _for_commands(entry: Entry, given: Mapping[str, object] | None, where: StateDir) -> HostContext:
    return entry.open_host(where, ("commands",), given)
