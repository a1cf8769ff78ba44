"""Settings: where the state directory is, what stands in its `config.json`, and the token.

Promises one order, lowest first: the host's own section, the file, the environment, the command
line. Only sections that are asked for are checked, strictly; everything else in the file belongs to
others and is kept as it is. Never reads the process environment by itself and never creates
anything before it is asked to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import msgspec

from instar_host import config_file
from instar_host.errors import ConfigError
from instar_host.settings import Layer, Settings, decode, from_environment, from_text

T = TypeVar("T")

FILE_NAME = "config.json"
TOKEN_VARIABLE = "INSTAR_AUTH_TOKEN"  # noqa: S105 - the name of it
STATE_DIR_VARIABLE = "INSTAR_STATE_DIR"
TOKEN_BYTES = 32
DEFAULT_PORT = 4042

Origin = Literal["given", "environment", "working directory", "home"]


class PluginsSection(Settings, frozen=True, kw_only=True):
    """The section `plugins`: which plugins run, and what they are told."""

    enabled: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="third-party plugins to load, by entry-point name (built-in ones are on)",
            extra={"env": "INSTAR_PLUGINS"},
        ),
    ] = ()
    disabled: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="plugins that are never imported, built-in ones too; wins over enabled"
        ),
    ] = ()
    max_failures_in_row: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            description="a hook of a third-party plugin that fails this often in a row is not"
            " called again until this file is written or the host restarted; 0: however often",
        ),
    ] = 20
    settings: Annotated[
        dict[str, dict[str, Any]],
        msgspec.Meta(description="one object a third-party plugin, checked by that plugin"),
    ] = msgspec.field(default_factory=dict)


class _Port(msgspec.Struct, frozen=True):
    port: Annotated[
        int, msgspec.Meta(ge=0, le=65535, description="TCP port to serve on; 0: any free one")
    ] = DEFAULT_PORT


class _ProjectName(msgspec.Struct, frozen=True, rename="camel"):
    project_name: str = ""


class StateDir(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything durable lives, and who said so."""

    path: Path
    origin: Origin
    """`working directory`: found by standing there, so it may have come with a checkout."""


def locate_state_dir(
    flag: str | os.PathLike[str] | None, environ: Mapping[str, str], cwd: Path, home: Path
) -> StateDir:
    """The state directory: the flag or host setting, `INSTAR_STATE_DIR`, `./.instar`, `~/.instar`.

    `./.instar` counts only if it is a directory, no link, belongs to us and nobody else may write
    to it. Creates nothing. Relative paths are taken from `cwd`, a leading `~` from `home`. Raises
    ConfigError.
    """
    if flag is not None:
        return StateDir(path=_absolute(os.fspath(flag), cwd, home, "--state-dir"), origin="given")
    said = environ.get(STATE_DIR_VARIABLE, "")
    if said:
        return StateDir(path=_absolute(said, cwd, home, STATE_DIR_VARIABLE), origin="environment")
    here = cwd / ".instar"
    if _is_ours(here):
        return StateDir(path=here, origin="working directory")
    return StateDir(path=home / ".instar", origin="home")


def find_state_dir(
    flag: str | os.PathLike[str] | None, environ: Mapping[str, str], cwd: Path, home: Path
) -> Path:
    """The path of `locate_state_dir`."""
    return locate_state_dir(flag, environ, cwd, home).path


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What was configured when it was read. `reloaded()` gives the present state of the file."""

    path: Path
    """The file; it need not exist."""
    values: Mapping[str, Any]
    """The file's whole object, others' keys included. Not checked."""
    environ: Mapping[str, str]
    """The environment that every plugin is to read from, instead of the process's own."""
    host_values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What an embedding host sets, in the shape of the file; the file wins."""
    overrides: Mapping[str, Mapping[str, str | list[str]]] = msgspec.field(default_factory=dict)
    """Command-line flags: section -> key -> text. They win over everything."""
    state_dir_origin: Origin = "given"
    stamp: tuple[int, ...] = ()
    """Identity of the file as read: device, inode, size, mtime and ctime in ns; empty without a
    file.
    """

    def __repr__(self) -> str:
        """Without the values: there are secrets among them."""
        return f"Config(path={str(self.path)!r})"

    @classmethod
    def load(
        cls,
        state_dir: Path,
        environ: Mapping[str, str],
        *,
        host_values: Mapping[str, Any] | None = None,
        state_dir_origin: Origin = "given",
    ) -> Self:
        """Read `<state_dir>/config.json`; a missing file is an empty one. Raises ConfigError, for a
        port that is none too: no command is to go on with one.
        """
        path = state_dir / FILE_NAME
        stamp = _stamp(path)  # before the read: a change in between is then seen by reloaded()
        read = cls(
            path=path,
            values=config_file.read(str(path)),
            environ=environ,
            host_values=host_values or {},
            state_dir_origin=state_dir_origin,
            stamp=stamp,
        )
        read.port  # noqa: B018 - reading it is the check
        return read

    def reloaded(self) -> Self:
        """This object while the file is the one that was read (one stat), else a new one. Raises
        ConfigError.
        """
        stamp = _stamp(self.path)
        if stamp == self.stamp:
            return self
        values = config_file.read(str(self.path))
        return msgspec.structs.replace(self, values=values, stamp=stamp)

    def with_overrides(self, overrides: Mapping[str, Mapping[str, str | list[str]]]) -> Self:
        """The same configuration under command-line flags: section -> key -> text(s)."""
        return msgspec.structs.replace(self, overrides=overrides)

    def section(self, name: str, settings: type[T]) -> T:
        """One section, checked against its struct; dots lead into objects
        (`threadline.telegramBridge`).

        Unknown keys, wrong types and values out of range raise ConfigError: place, key path, what
        is allowed, nearest key. Other sections are not looked at.
        """
        return self._section(name, name.split("."), settings)

    def plugin_settings(self, plugin: str, settings: type[T]) -> T:
        """The section `plugins.settings.<plugin>` of a third-party plugin, checked as `section`
        does.
        """
        return self._section(
            f"plugins.settings.{plugin}", ["plugins", "settings", plugin], settings
        )

    @property
    def plugins(self) -> PluginsSection:
        """The host's own section. Raises ConfigError."""
        return self.section("plugins", PluginsSection)

    @property
    def port(self) -> int:
        """TCP port to serve on; 0 means any free one. Raises ConfigError."""
        return self._top("port", _Port).port

    @property
    def project_name(self) -> str:
        """How this agent is called; empty when nothing names it. Raises ConfigError."""
        name = self._top("projectName", _ProjectName).project_name
        return name.encode("utf-8", "replace").decode()  # half a character can be shown nowhere

    def token(self) -> str:
        """The bearer token: `INSTAR_AUTH_TOKEN`, else `authToken` in the file, made there when
        missing or blank: nobody is ever let in without one, and an empty token would be no token.

        Never anything but text: a token that was moved to a vault and left as an object is refused,
        because guessing would lock every script out without a word; so is one that no header can
        carry. Raises ConfigError.
        """
        said = self.environ.get(TOKEN_VARIABLE, "").strip()
        if said:
            return _sendable(said, f"the environment variable {TOKEN_VARIABLE}")
        known = self._checked_token(self.values.get("authToken"))
        if known:
            return known
        import secrets  # brings OpenSSL along, and a token is made once

        made: str = config_file.update(
            str(self.path),
            ["authToken"],
            lambda now: self._checked_token(now) or secrets.token_urlsafe(TOKEN_BYTES),
        )
        return made

    def update_section(
        self, name: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]
    ) -> Self:
        """Rewrite one section of the file, as it stands at this moment, and nothing else of it.

        `change` gets the section's object (empty when absent) under the lock that all writers take;
        what it raises leaves the file alone. Returns the configuration as written. Raises
        ConfigError.
        """

        def changed(now: Any) -> dict[str, Any]:
            if now is not None and not isinstance(now, dict):
                raise ConfigError(f"{self.path}: {name} has to be an object")
            return dict(change(dict(now or {})))

        config_file.update(str(self.path), name.split("."), changed)
        return self.reloaded()

    def _section(self, name: str, keys: list[str], settings: type[T]) -> T:
        prefix = f"{name}."
        layers = [
            self._layer("the host's settings", self.host_values, keys, prefix),
            self._layer(str(self.path), self.values, keys, prefix),
            *from_environment(self.environ, settings, prefix),
            from_text(self.overrides.get(name, {}), settings, prefix, "the command line"),
        ]
        return decode(layers, settings)

    def _layer(self, origin: str, values: Mapping[str, Any], keys: list[str], prefix: str) -> Layer:
        found = config_file.lookup(values, keys, origin)
        if found is not None and not isinstance(found, Mapping):
            raise ConfigError(f"{origin}: {prefix.rstrip('.')} has to be an object")
        return Layer(origin=origin, values=found or {}, prefix=prefix)

    def _top(self, key: str, settings: type[T]) -> T:
        places = (("the host's settings", self.host_values), (str(self.path), self.values))
        layers = [
            Layer(origin=at, values={key: of[key]}) for at, of in places if of.get(key) is not None
        ]
        return decode(layers, settings)

    def _checked_token(self, value: object) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ConfigError(
                f"{self.path}: authToken has to be text, and it is {_kind(value)}; if it was moved "
                f"elsewhere, set {TOKEN_VARIABLE} to it"
            )
        return _sendable(value.strip(), f"{self.path}: authToken")


def _sendable(token: str, origin: str) -> str:
    """A token as it is. Raises ConfigError for one that would let nobody in: browsers and clients
    differ in what they make of other letters in a header, and of control characters nothing.
    """
    if token.isascii() and token.isprintable():
        return token
    raise ConfigError(f"{origin} may hold printable ASCII only, for it travels in a header")


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "something else")


def _absolute(said: str, cwd: Path, home: Path, origin: str) -> Path:
    if not said or "\0" in said:
        raise ConfigError(f"{origin} names no directory")
    if said == "~" or said.startswith("~/"):
        return home / said[2:]
    return Path(os.path.normpath(cwd / said))


def _is_ours(directory: Path) -> bool:
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not others_write


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
