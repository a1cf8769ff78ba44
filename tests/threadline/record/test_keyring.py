"""The keyring file: no key of any process is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from instar_threadline.record.keyring import key_of_token
from tests.threadline.logs import keyring


def test_keys_that_are_added_at_once_are_all_kept(tmp_path: Path) -> None:
    """Two processes that sign with tokens of their own each leave their key to verify with."""
    tokens = [f"token {i}" for i in range(24)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda token: keyring(tmp_path, token), tokens))
    assert {key_of_token(token).id for token in tokens} <= keyring(tmp_path, tokens[0]).ids
