"""Which bot and which chat: from the environment, a private file, or what the original has in
`config.json`.

Promises that a token is read only from where others cannot have put it or seen it: the
environment, or a file of ours that nobody else may read. A state directory that was found by
standing in it may have come with a checkout, and with it somebody else's bot: there only the
environment counts. Never over HTTP; the token is never in an error.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from instar_host.config import Config
from instar_host.errors import ConfigError
from instar_host.store.errors import StoreError
from instar_host.store.files import open_regular

TOKEN_VARIABLE = "INSTAR_TELEGRAM_TOKEN"  # noqa: S105 - the name of it
CHAT_VARIABLE = "INSTAR_TELEGRAM_CHAT_ID"
URL_VARIABLE = "INSTAR_TELEGRAM_BASE_URL"
FILE = "telegram.json"
PUBLIC_API = "https://api.telegram.org"
MAX_FILE_BYTES = 64 * 1024


class Connection(Struct, frozen=True, kw_only=True):
    """One bot in one chat."""

    token: str
    chat_id: int
    base_url: str = PUBLIC_API
    origin: str = ""
    """Where it was found, for people."""

    def __repr__(self) -> str:
        return f"Connection(chat_id={self.chat_id}, origin={self.origin!r})"


class _File(Struct, forbid_unknown_fields=True, rename="camel"):
    token: str
    chat_id: int | str
    base_url: str = PUBLIC_API


def find_connection(config: Config) -> Connection | None:
    """The connection that is configured; None when there is none. Raises ConfigError."""
    base_url = config.environ.get(URL_VARIABLE, "").strip()
    found = _from_environment(config.environ)
    if found is None and config.state_dir_origin != "working directory":
        found = _from_file(config.path.parent / FILE) or _from_original(config)
    if found is not None and base_url:
        return msgspec.structs.replace(found, base_url=base_url)
    return found


def _from_environment(environ: Mapping[str, str]) -> Connection | None:
    token = environ.get(TOKEN_VARIABLE, "").strip()
    chat = environ.get(CHAT_VARIABLE, "").strip()
    if not token and not chat:
        return None
    if not token or not chat:
        missing = CHAT_VARIABLE if token else TOKEN_VARIABLE
        raise ConfigError(f"{missing} is missing: the bridge needs both a token and a chat id")
    return Connection(token=token, chat_id=_chat_id(chat, CHAT_VARIABLE), origin="the environment")


def _from_file(path: Path) -> Connection | None:
    try:
        data = _read_private(path)
    except FileNotFoundError:
        return None
    try:
        read = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(
            f'{path} has to hold {{"token": "...", "chatId": -100...}}, and it does not'
        ) from None
    return Connection(
        token=read.token,
        chat_id=_chat_id(read.chat_id, f"{path}: chatId"),
        base_url=read.base_url,
        origin=str(path),
    )


def _from_original(config: Config) -> Connection | None:
    """The entry of type telegram in `messaging`, as the original keeps it."""
    entries = config.reloaded().values.get("messaging")
    if not isinstance(entries, list):
        return None
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("type") != "telegram":
            continue
        values = entry.get("config")
        if entry.get("enabled") is False or not isinstance(values, dict) or "token" not in values:
            continue
        token, chat = values.get("token"), values.get("chatId")
        if not isinstance(token, str):
            raise ConfigError(
                f"{config.path}: messaging.config.token has to be text; if it was moved to a vault,"
                f" set {TOKEN_VARIABLE}"
            )
        _require_private(os.stat(config.path), config.path)
        chat_id = _chat_id(chat, f"{config.path}: messaging.config.chatId")
        return Connection(token=token, chat_id=chat_id, origin=f"{config.path} (messaging)")
    return None


def _chat_id(value: Any, where: str) -> int:
    try:
        number = int(str(value).strip())
    except ValueError:
        number = 0
    if number == 0 or abs(number) >= 1 << 52 or isinstance(value, bool | float):
        raise ConfigError(f"{where} has to be the number of a chat, such as -1001234567890")
    return number


def _read_private(path: Path) -> bytes:
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        raise
    except (OSError, StoreError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    try:
        _require_private(os.fstat(descriptor), path)
        return os.read(descriptor, MAX_FILE_BYTES)
    finally:
        os.close(descriptor)


def _require_private(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.geteuid():
        raise ConfigError(f"{path} holds a bot token and belongs to somebody else; it is not used")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(
            f"{path} holds a bot token and others may read it: chmod 600 {shlex.quote(str(path))}"
        )
