"""The signing keys, by id: derived keys only, never a token, in one 0600 file.

Promises that a changed token orphans nothing: the key of every token that ever signed here stays,
to verify with. The current key is the present token's. A keyring that lies open to others, is a
link or cannot be read is refused with what to do: nothing is signed with keys that somebody else
may have. Never logs a key and never puts one into an error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType

import msgspec

from instar_host.store.errors import UnsafeFile, shown
from instar_host.store.files import ensure_private_dir, read_bounded, write_atomic
from instar_threadline.errors import KeyringError, LogBusy
from instar_threadline.record.disk import locked
from instar_threadline.record.signing import (
    CHAIN_TAG,
    KEY_BYTES,
    MAC_HEX_CHARS,
    LineMac,
    chain_key,
    derive_key,
    key_id,
)

FILE_NAME = "keyring.json"
MAX_FILE_BYTES = 1 << 20


class Key(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One signing key and what is derived from it."""

    id: str
    line: bytes
    chain: bytes
    line_mac: LineMac
    entry_mac: blake2b
    """The MAC of chain entries as far as they are all alike; to be copied, never updated."""

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"


class Keyring:
    """Keys to verify with, and the one to sign with."""

    def __init__(self, current: Key, others: Mapping[str, Key] = MappingProxyType({})) -> None:
        self.current = current
        self._keys = {**others, current.id: current}

    @property
    def ids(self) -> frozenset[str]:
        """Of all keys."""
        return frozenset(self._keys)

    def get(self, wanted: str) -> Key | None:
        """The key with that id, None if it is not known here."""
        return self._keys.get(wanted)

    def newest_first(self) -> tuple[Key, ...]:
        """All keys, the current one first."""
        rest = [key for key in self._keys.values() if key.id != self.current.id]
        return (self.current, *reversed(rest))

    def __repr__(self) -> str:
        return f"Keyring(current={self.current.id!r}, keys={len(self._keys)})"


class _Stored(msgspec.Struct, kw_only=True):
    id: str
    key: str


class _File(msgspec.Struct, kw_only=True):
    version: int
    keys: list[_Stored]


def key_of_token(token: str) -> Key:
    """The key of a token. Raises KeyringError for an empty one: anybody could compute its key."""
    if not token:
        raise KeyringError(
            "There is no token to derive a signing key from. Set `authToken` in config.json or"
            " INSTAR_AUTH_TOKEN; until then no message is signed."
        )
    return key_of_bytes(derive_key(token))


def key_of_bytes(data: bytes) -> Key:
    """The key that is these 32 bytes."""
    chain = chain_key(data)
    return Key(
        id=key_id(data),
        line=data,
        chain=chain,
        line_mac=LineMac(data),
        entry_mac=blake2b(CHAIN_TAG, key=chain, digest_size=MAC_HEX_CHARS // 2),
    )


def open_keyring(directory: str, token: str) -> Keyring:
    """The keyring in `directory`, with the key of `token` as the current one; kept if it is new.

    Raises KeyringError when the file cannot be trusted or read, and then it is left as it is.
    """
    current = key_of_token(token)
    path = os.path.join(directory, FILE_NAME)
    others = _load(path)
    if current.id not in others:
        others = _added(path, current)
    return Keyring(current, others)


def read_keyring(directory: str, token: str) -> tuple[Keyring, str]:
    """The keyring for reading only, and why it is not whole (empty when it is).

    Never fails for the file's sake: without it only the present token's lines verify.
    """
    current = key_of_token(token)
    try:
        return Keyring(current, _load(os.path.join(directory, FILE_NAME))), ""
    except KeyringError as error:
        return Keyring(current), str(error)


def keyring_stamp(directory: str) -> object:
    """Another value whenever the file was changed, came or went."""
    try:
        found = os.stat(os.path.join(directory, FILE_NAME), follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _load(path: str) -> dict[str, Key]:
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return {}
    _require_private(path, found)
    try:
        stored = msgspec.json.decode(read_bounded(path, MAX_FILE_BYTES), type=_File)
        keys = [key_of_bytes(bytes.fromhex(one.key)) for one in stored.keys]
    except (OSError, UnsafeFile, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise _broken(path) from None
    for key, one in zip(keys, stored.keys, strict=True):
        if key.id != one.id or len(key.line) != KEY_BYTES:
            raise _broken(path)
    return {key.id: key for key in keys}


def _added(path: str, key: Key) -> dict[str, Key]:
    """Keep one more key, beside those that other processes have just kept."""
    try:
        ensure_private_dir(os.path.dirname(path))
        with locked(f"{os.path.splitext(path)[0]}.lock"):
            keys = {**_load(path), key.id: key}
            _save(path, keys)
    except (OSError, UnsafeFile, LogBusy) as error:
        raise KeyringError(f"The keyring {shown(path)} cannot be written: {error}.") from None
    return keys


def _save(path: str, keys: Mapping[str, Key]) -> None:
    stored = _File(version=1, keys=[_Stored(id=k.id, key=k.line.hex()) for k in keys.values()])
    try:
        write_atomic(path, msgspec.json.format(msgspec.json.encode(stored)) + b"\n", 0o600)
    except (OSError, UnsafeFile) as error:
        raise KeyringError(f"The keyring {shown(path)} cannot be written: {error}.") from None


def _require_private(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyringError(f"{shown(path)} is a link or no regular file; a keyring is neither.")
    if found.st_uid != os.geteuid():
        raise KeyringError(f"{shown(path)} belongs to another user (uid {found.st_uid}).")
    if found.st_mode & 0o077:
        raise KeyringError(
            f"Others may read the signing keys in {shown(path)}. If nobody did, run:"
            f" chmod 600 {shown(path)}"
        )


def _broken(path: str) -> KeyringError:
    return KeyringError(
        f"The keyring {shown(path)} is damaged. Restore it from a backup, or move it away: lines"
        " signed with older tokens are then shown as signed with an unknown key."
    )
