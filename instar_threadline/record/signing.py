"""Keys, and the MAC of a line and of a chain entry: pure functions over bytes.

Promises the signature of the log format byte for byte: HMAC-SHA256 over the JSON of the record
without `hmac`, its members in the order they stand, written the way JavaScript writes JSON. A line
verifies by its meaning, so another spelling of the same members in the same order verifies too; the
chain beside the log binds the exact bytes. Never reads a file, a clock or a token's origin, and
never puts a key or a token into an error.

The key is derived from the host's token (HKDF-SHA256, 32 zero bytes of salt). Its id is a hash of
the key under its own tag: it names the key without telling anything about it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

SIGNING_INFO = b"instar-inbox-signing"
CHAIN_TAG = b"instar-threadline-chain-1"
HEAD_TAG = b"instar-threadline-head-1"
THREAD_TAG = b"instar-threadline-thread-1"
KEY_ID_TAG = b"instar-threadline-key-id-1"

MAC_HEX_CHARS = 64
KEY_BYTES = 32

_MEMBER = b',"hmac":"'
_MEMBER_TEXT = _MEMBER.decode()
_TAIL_BYTES = len(_MEMBER) + MAC_HEX_CHARS + len(b'"}')
_SHA256_BLOCK_BYTES = 64
_LONE = re.compile("[\ud800-\udfff]")
_encode_json = msgspec.json.Encoder().encode


def derive_key(token: str) -> bytes:
    """The 32-byte signing key of a token. An empty token gives a key that anybody can compute."""
    extracted = hmac.digest(bytes(32), token.encode("utf-8", "surrogatepass"), "sha256")
    return hmac.digest(extracted, SIGNING_INFO + b"\x01", "sha256")


def key_id(key: bytes) -> str:
    """Sixteen hex characters that name a key."""
    return hmac.digest(key, KEY_ID_TAG, "sha256")[:8].hex()


def chain_key(key: bytes) -> bytes:
    """The key under which chain entries and heads are authenticated: never the one of the lines."""
    return hmac.digest(key, CHAIN_TAG, "sha256")


def canonical(members: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: JSON as JavaScript's `JSON.stringify` writes it, order kept.

    A lone surrogate is written as its escape, as JavaScript does.
    """
    try:
        return _encode_json(members)
    except (UnicodeEncodeError, ValueError):
        text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
        return _LONE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text).encode()


def whole_text(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD, so that every reader can decode it."""
    return _LONE.sub("\ufffd", text) if _LONE.search(text) else text


class LineMac:
    """HMAC-SHA256 (RFC 2104) under one key, whose share of the work is done once.

    For the many lines of one key: that takes a third of the time of `hmac.digest` for each.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """`key`: at most 64 bytes."""
        if len(key) > _SHA256_BLOCK_BYTES:
            raise ValueError("a key longer than a block of the hash has to be hashed first")
        padded = key.ljust(_SHA256_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def hex(self, body: bytes) -> str:
        """The MAC over the canonical bytes of a record."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(body)
        outer.update(inner.digest())
        return outer.hexdigest()

    def usual(self, lines: Iterable[bytes]) -> bool:
        """Whether every line is written the usual way, its MAC last, and verifies."""
        begin, end = self._inner.copy, self._outer.copy
        expected, claimed = [], []
        for line in lines:
            inner, outer = begin(), end()
            inner.update(line[:-_TAIL_BYTES] + b"}")
            outer.update(inner.digest())
            expected.append(outer.hexdigest())
            claimed.append(line[-_TAIL_BYTES:])
        tails = "".join([f'{_MEMBER_TEXT}{mac}"}}' for mac in expected])
        return hmac.compare_digest(tails.encode(), b"".join(claimed))


def line_mac(body: bytes, key: bytes) -> str:
    """The MAC over the canonical bytes of a record, in hex."""
    return hmac.digest(key, body, "sha256").hex()


def sign(members: Mapping[str, Any], key: bytes) -> tuple[bytes, str]:
    """The line (without newline) that records `members`, and its MAC. `members` has no `hmac`."""
    body = canonical(members)
    mac = line_mac(body, key)
    joint = b"" if body == b"{}" else b","
    return body[:-1] + joint + b'"hmac":"' + mac.encode() + b'"}', mac


def verifies(line: bytes, key: bytes) -> bool:
    """Whether the MAC in `line` is this key's over everything else in it, in the order it stands.

    Never raises: a line that is not an object, or has no MAC, does not verify.
    """
    return verifies_under(line, LineMac(key))


def verifies_under(line: bytes, mac: LineMac) -> bool:
    """The same, for a key that many lines are verified with."""
    tail = line[-_TAIL_BYTES:]
    if tail.startswith(_MEMBER) and tail.endswith(b'"}'):  # written the usual way
        body = line[:-_TAIL_BYTES] + b"}"
        if hmac.compare_digest(mac.hex(body).encode(), tail[len(_MEMBER) : -2]):
            return True
    return _verifies_by_meaning(line, mac)


def _verifies_by_meaning(line: bytes, mac: LineMac) -> bool:
    try:
        members = json.loads(line)
        if not isinstance(members, dict):
            return False
        claimed = members.pop("hmac", None)
        if not isinstance(claimed, str) or not claimed.isascii():
            return False
        return hmac.compare_digest(mac.hex(canonical(members)), claimed)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return False


def digest(data: bytes) -> str:
    """Thirty-two hex characters that stand for exact bytes (BLAKE2b)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def packed(*fields: bytes | str | int) -> bytes:
    """One byte string per sequence of fields, and never the same for two: each is
    length-prefixed."""
    parts = []
    for field in fields:
        data = str(field).encode() if isinstance(field, int) else field
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        kind = b"i" if isinstance(field, int) else b"s" if isinstance(field, str) else b"b"
        parts.append(kind + len(data).to_bytes(8, "big") + data)
    return b"".join(parts)


def head_mac(key_of_chain: bytes, *fields: bytes | str | int) -> str:
    """The MAC of a head record, in hex."""
    return hmac.digest(key_of_chain, packed(HEAD_TAG, *fields), "sha256").hex()


def thread_tag(key_of_chain: bytes, thread_id: str) -> str:
    """Sixteen hex characters that tell, to whoever has the key, which thread an entry belongs
    to."""
    return hmac.digest(key_of_chain, packed(THREAD_TAG, thread_id), "sha256")[:8].hex()
