"""Secrets: made once, readable by their owner only, compared in constant time.

Promises: a secret file is whole or absent, 0600 and ours, or it is refused with the command that
mends it. It never overwrites a secret, never changes the mode of a file it did not make (whoever
could read it may have), and never puts a secret into a message.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import shlex
import stat
from hashlib import sha256

from instar_host.store.errors import AnyPath, UnsafeFile, shown
from instar_host.store.files import ensure_private_dir, open_regular, sync_directory, write_new

TOKEN_BYTES = 32


def load_or_create_secret(path: AnyPath, nbytes: int = 32) -> bytes:
    """Return the secret at `path`, `nbytes` random bytes that the first call creates.

    Two processes that begin at once get the same secret. Raises as `load_secret` does, and
    `OSError` if it cannot be written.
    """
    try:
        return load_secret(path, nbytes)
    except FileNotFoundError:
        _create(os.fsencode(path), secrets.token_bytes(nbytes))
    return load_secret(path, nbytes)


def load_secret(path: AnyPath, nbytes: int = 32) -> bytes:
    """Return the secret at `path`.

    Raises `FileNotFoundError`, and `UnsafeFile` for a link, another owner, a file others may read
    or write, or a length other than `nbytes`.
    """
    descriptor = open_regular(path)
    try:
        _require_private(os.fstat(descriptor), path)
        secret = os.read(descriptor, nbytes + 1)
    finally:
        os.close(descriptor)
    if len(secret) != nbytes:
        raise UnsafeFile(
            "size",
            f"The secret {shown(path)} does not have its {nbytes} bytes: it was cut off or"
            " replaced. Restore it from a copy; if it is deleted, a new one is made and what the"
            " old one signed can no longer be verified.",
        )
    return secret


def new_token() -> str:
    """Return a fresh token of 32 random bytes, safe in a URL and in a header."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def same_secret(left: bytes, right: bytes) -> bool:
    """Compare two secrets of any length in a time that tells nothing about either."""
    return hmac.compare_digest(sha256(left).digest(), sha256(right).digest())


def _create(path: bytes, secret: bytes) -> None:
    """Write a draft and link it into place: the name is taken by a whole secret or not at all."""
    directory = os.path.dirname(path) or b"."
    ensure_private_dir(directory)
    draft = os.path.join(directory, b".instar-%s.tmp" % secrets.token_hex(8).encode())
    try:
        write_new(draft, secret)
        try:
            with contextlib.suppress(FileExistsError):  # another process was quicker: use theirs
                os.link(draft, path)
        except PermissionError:  # a file system without hard links
            with contextlib.suppress(FileExistsError):
                write_new(path, secret)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
    sync_directory(directory)


def _require_private(found: os.stat_result, path: AnyPath) -> None:
    if found.st_uid != os.geteuid():
        raise UnsafeFile(
            "owner", f"The secret {shown(path)} belongs to user {found.st_uid}, not to this one."
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsafeFile(
            "permissions",
            f"Others may read or change the secret {shown(path)}."
            f" Run: chmod 600 {shlex.quote(shown(path))}",
        )
