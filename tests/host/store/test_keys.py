"""Secrets on disk: whole, private and ours, or refused with the cure."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from instar_host.store.errors import UnsafeFile
from instar_host.store.keys import load_or_create_secret, load_secret, new_token, same_secret


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """The second call finds what the first made, in a file that only its owner may read."""
    path = tmp_path / "keys" / "secret"
    secret = load_or_create_secret(path)
    assert (load_or_create_secret(path), len(secret)) == (secret, 32)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["secret"]


def test_two_at_once_get_the_same_secret(tmp_path: Path) -> None:
    """Threads that all find nothing end with one secret, none of them half written."""
    start = threading.Barrier(8)
    found: list[bytes] = []

    def load() -> None:
        start.wait()
        found.append(load_or_create_secret(tmp_path / "secret"))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found))) == (8, 1)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """S7: the mode is not mended behind the owner's back; the message has the command."""
    load_or_create_secret(tmp_path / "secret")
    (tmp_path / "secret").chmod(mode)
    with pytest.raises(UnsafeFile, match="chmod 600") as error:
        load_or_create_secret(tmp_path / "secret")
    assert error.value.reason == "permissions"
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == mode


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_secret_of_another_length_is_refused(tmp_path: Path, content: bytes) -> None:
    """S7: a truncated key must not become a weaker key, nor be replaced in silence."""
    (tmp_path / "secret").write_bytes(content)
    (tmp_path / "secret").chmod(0o600)
    with pytest.raises(UnsafeFile) as error:
        load_or_create_secret(tmp_path / "secret")
    assert error.value.reason == "size"
    assert (tmp_path / "secret").read_bytes() == content


def test_a_linked_secret_is_refused(tmp_path: Path) -> None:
    """S7: a link, dangling or not, is neither read nor written through."""
    load_or_create_secret(tmp_path / "real")
    for name, target in (("link", "real"), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(UnsafeFile, match="symbolic link"):
            load_or_create_secret(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


def test_a_secret_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S7: a key planted by another user is not ours to sign with."""
    load_or_create_secret(tmp_path / "secret")
    monkeypatch.setattr(os, "geteuid", lambda: 123_456)
    with pytest.raises(UnsafeFile, match="belongs to user"):
        load_secret(tmp_path / "secret")


def test_a_missing_secret_is_not_made_by_reading(tmp_path: Path) -> None:
    """`load_secret` only reads."""
    with pytest.raises(FileNotFoundError):
        load_secret(tmp_path / "secret")
    assert os.listdir(tmp_path) == []


def test_no_error_shows_the_secret(tmp_path: Path) -> None:
    """Q10: a message about a bad secret file never holds its bytes."""
    (tmp_path / "secret").write_bytes(b"hunter2")
    (tmp_path / "secret").chmod(0o600)
    with pytest.raises(UnsafeFile) as error:
        load_secret(tmp_path / "secret")
    assert "hunter2" not in repr(error.value)


def test_tokens_are_fresh_and_safe_in_a_url() -> None:
    """Two tokens differ, and hold 32 bytes in characters that need no escape."""
    token = new_token()
    assert token != new_token()
    assert len(token) == 43
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    ("left", "right"), [(b"a", b"a"), (b"a", b"b"), (b"a", b"aa"), (b"", b""), (b"\xff", b"\xff")]
)
def test_secrets_compare_as_bytes(left: bytes, right: bytes) -> None:
    """W3: any bytes of any length compare without an error."""
    assert same_secret(left, right) == (left == right)
