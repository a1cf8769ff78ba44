"""Which bot and chat: only from places that others can neither write nor read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instar_host.config import Config
from instar_host.errors import ConfigError
from instar_threadline.bridge.connection import find_connection

TOKEN = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"
ENVIRONMENT = {"INSTAR_TELEGRAM_TOKEN": TOKEN, "INSTAR_TELEGRAM_CHAT_ID": "-1001"}
MESSAGING = {"messaging": [{"type": "telegram", "config": {"token": TOKEN, "chatId": "-1003"}}]}


def config(state_dir: Path, environ: dict[str, str] | None = None, **changes: Any) -> Config:
    return Config.load(state_dir, environ or {}, **changes)


def write(path: Path, value: object, mode: int = 0o600) -> None:
    path.write_text(json.dumps(value))
    path.chmod(mode)


def test_nothing_configured_is_no_error(tmp_path: Path) -> None:
    """Without a bot there is no connection, and nobody is bothered."""
    assert find_connection(config(tmp_path)) is None


def test_the_order_is_environment_file_original(tmp_path: Path) -> None:
    """The environment wins over the private file, which wins over the original's entry."""
    write(tmp_path / "config.json", MESSAGING)
    chats = []
    write(tmp_path / "telegram.json", {"token": TOKEN, "chatId": -1002})
    for environ in (ENVIRONMENT, {}):
        found = find_connection(config(tmp_path, environ))
        assert found is not None
        chats.append(found.chat_id)
    (tmp_path / "telegram.json").unlink()
    found = find_connection(config(tmp_path))
    assert found is not None
    assert [*chats, found.chat_id] == [-1001, -1002, -1003]


def test_the_base_url_comes_from_the_environment_or_the_file(tmp_path: Path) -> None:
    """`INSTAR_TELEGRAM_BASE_URL` applies to whatever bot was found."""
    url = "https://bots.example"
    found = find_connection(config(tmp_path, {**ENVIRONMENT, "INSTAR_TELEGRAM_BASE_URL": url}))
    assert found is not None
    assert found.base_url == url


@pytest.mark.parametrize("name", ["telegram.json", "config.json"])
def test_a_token_that_others_may_read_is_refused(tmp_path: Path, name: str) -> None:
    """The error says which command mends it, and does not show the token."""
    write(tmp_path / name, {"token": TOKEN, "chatId": 5, **MESSAGING}, mode=0o644)
    if name == "telegram.json":
        write(tmp_path / name, {"token": TOKEN, "chatId": 5}, mode=0o644)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        find_connection(config(tmp_path))
    assert TOKEN not in str(caught.value)


def test_a_checkout_cannot_bring_a_bot(tmp_path: Path) -> None:
    """In a state directory found by standing in it only the environment counts."""
    write(tmp_path / "telegram.json", {"token": TOKEN, "chatId": 5})
    write(tmp_path / "config.json", MESSAGING)
    here = config(tmp_path, state_dir_origin="working directory")
    assert find_connection(here) is None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"INSTAR_TELEGRAM_TOKEN": TOKEN}, "CHAT_ID is missing"),
        ({"INSTAR_TELEGRAM_CHAT_ID": "5"}, "TOKEN is missing"),
        ({**ENVIRONMENT, "INSTAR_TELEGRAM_CHAT_ID": "@name"}, "number of a chat"),
        ({**ENVIRONMENT, "INSTAR_TELEGRAM_CHAT_ID": "9" * 20}, "number of a chat"),
    ],
)
def test_half_a_connection_is_an_error(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    """What is missing or wrong is named."""
    with pytest.raises(ConfigError, match=words):
        find_connection(config(tmp_path, environ))


def test_b_25_a_token_in_a_vault_is_refused_loudly(tmp_path: Path) -> None:
    """B-25: an object in the place of the token is not skipped over."""
    entry = {"type": "telegram", "config": {"token": {"secret": True}, "chatId": 1}}
    write(tmp_path / "config.json", {"messaging": [entry]})
    with pytest.raises(ConfigError, match="INSTAR_TELEGRAM_TOKEN"):
        find_connection(config(tmp_path))


def test_the_token_is_not_in_the_repr(tmp_path: Path) -> None:
    """A connection may be printed."""
    assert TOKEN not in repr(find_connection(config(tmp_path, ENVIRONMENT)))
