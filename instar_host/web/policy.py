"""Who may speak to us, decided from headers alone: pure functions, one rule each.

Promises that every function is total: any bytes in, a `Refusal` or None out, never an exception.
Nothing a stranger sent is repeated in an answer.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl

import msgspec

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BEARER = b"Bearer "
TOKEN_PARAMETERS = frozenset(
    {
        "token",
        "access_token",
        "auth_token",
        "authtoken",
        "auth",
        "authorization",
        "bearer",
        "api_key",
    }
)

Headers = Sequence[tuple[bytes, bytes]]
"""As in an ASGI scope: names in lower case, in order, repeated names kept."""

_HOST = re.compile(
    r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
)
_JSON = re.compile(r"application/json(?:\s*;\s*charset\s*=\s*\"?utf-8\"?)?\s*", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,18}")


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A request that goes no further, as it is answered."""

    status: int
    error: str
    headers: tuple[tuple[str, str], ...] = ()
    expected: str | None = None
    """Shown beside `agent_id_mismatch` only: the name this agent goes by."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What one host accepts."""

    token: str
    """The bearer token. Empty: nobody is asked for one, as in the reference; loopback only."""
    allow_hosts: frozenset[str] = frozenset()
    """Names and addresses accepted in `Host` besides loopback, as `normal_host` spells them."""
    agent_name: str = ""
    """What `X-Instar-AgentId` must say where it is sent; empty: anything."""


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    """Every value of one header, in order."""
    return [value for key, value in headers if key == name]


def normal_host(name: str) -> str:
    """One spelling of a host name or address for comparison. Raises ValueError for what is
    neither.
    """
    found = _HOST.fullmatch(name) or _HOST.fullmatch(f"[{name}]")
    if found is None or found["port"] is not None or name.endswith("."):
        raise ValueError(f"not a host name: {name!r}")
    bare = found["name"].strip("[]").lower()
    return ipaddress.ip_address(bare).compressed if ":" in bare else bare


def is_loopback(name: str) -> bool:
    """True for `localhost`, 127.0.0.0/8 and ::1, in `normal_host`'s spelling; no other way to
    write them.
    """
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    # An IPv4 address inside an IPv6 one counts as loopback or not by Python version: never here.
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def bind_refusal(host: str, policy: Policy) -> str | None:
    """Why this address may not be served, as a sentence for a person; None when it may."""
    try:
        if is_loopback(normal_host(host)):
            return None
    except ValueError:
        return f"{host!r} is no address to listen on."
    if not policy.token:
        return f"Listening on {host} needs a token: set INSTAR_AUTH_TOKEN, or leave --host out."
    if not policy.allow_hosts:
        return (
            f"Listening on {host} lets other machines in: name what they will type in the address "
            "bar with --allow-host NAME, or leave --host out."
        )
    return None


def host_refusal(headers: Headers, allow_hosts: frozenset[str]) -> Refusal | None:
    """Exactly one Host header, well formed, loopback or on the list: what DNS rebinding cannot
    forge.
    """
    sent = values_of(headers, b"host")
    if len(sent) != 1:
        return Refusal(status=400, error="Exactly one Host header is required")
    split = _split_host(sent[0])
    if split is None:
        return Refusal(status=400, error="Malformed Host header")
    if is_loopback(split[0]) or split[0] in allow_hosts:
        return None
    return Refusal(status=403, error="Host not allowed")


def target_refusal(raw_path: bytes, path: str) -> Refusal | None:
    """Only the origin form of a request target: a proxy's absolute form would carry a second
    host.
    """
    if raw_path.startswith(b"/") and path.startswith("/"):
        return None
    return Refusal(status=400, error="The request target must be a path")


def origin_refusal(
    headers: Headers, scheme: str, allow_hosts: frozenset[str] = frozenset()
) -> Refusal | None:
    """Requests that a page of another site made a browser send.

    Where a proxy ends TLS the page is https and what reaches us is not: that is our own page where
    the name is one of `allow_hosts`, which somebody chose.
    """
    refusal = Refusal(status=403, error="Cross-site request refused")
    sites = values_of(headers, b"sec-fetch-site")
    if len(sites) > 1 or (sites and sites[0] not in {b"same-origin", b"none"}):
        return refusal
    origins = values_of(headers, b"origin")
    if not origins:
        return None
    hosts = values_of(headers, b"host")
    if len(origins) == len(hosts) == 1 and _same_origin(origins[0], scheme, hosts[0], allow_hosts):
        return None
    return refusal


def query_refusal(query: bytes) -> Refusal | None:
    """A token in an address ends in histories and logs: refused, whether right or wrong."""
    try:
        names = {
            name.lower() for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        }
    except ValueError:
        return Refusal(status=400, error="Too many query parameters")
    if names & TOKEN_PARAMETERS:
        return Refusal(
            status=400, error="The token belongs in the Authorization header, not in the address"
        )
    return None


def token_refusal(headers: Headers, policy: Policy) -> Refusal | None:
    """The bearer token, compared as hashes in constant time, after the agent's name."""
    if not policy.token:
        return None
    sent = values_of(headers, b"authorization")
    if len(sent) != 1 or not sent[0].startswith(BEARER):
        return Refusal(
            status=401,
            error="Missing or invalid Authorization header",
            headers=(("www-authenticate", 'Bearer realm="instar"'),),
        )
    names = values_of(headers, b"x-instar-agentid")
    if names and policy.agent_name and names != [policy.agent_name.encode()]:
        return Refusal(status=403, error="agent_id_mismatch", expected=policy.agent_name)
    told = hashlib.sha256(sent[0][len(BEARER) :]).digest()
    known = hashlib.sha256(policy.token.encode()).digest()
    if hmac.compare_digest(told, known):
        return None
    return Refusal(status=403, error="Invalid auth token")


def body_refusal(headers: Headers, method: str, max_bytes: int) -> Refusal | None:
    """What can be said of a body before it is read."""
    lengths = values_of(headers, b"content-length")
    length = int(lengths[0]) if lengths and _DIGITS.fullmatch(lengths[0]) else None
    if len(lengths) > 1 or (lengths and length is None):
        return Refusal(status=400, error="Malformed Content-Length header")
    has_body = bool(length) or bool(values_of(headers, b"transfer-encoding"))
    if not has_body:
        return None
    if method in SAFE_METHODS:
        return Refusal(status=400, error=f"A {method} request has no body here")
    if length is not None and length > max_bytes:
        return too_large(max_bytes)
    if any(value.lower() != b"identity" for value in values_of(headers, b"content-encoding")):
        return Refusal(status=415, error="Compressed bodies are not accepted")
    kinds = values_of(headers, b"content-type")
    if len(kinds) != 1 or not _JSON.fullmatch(kinds[0].decode("latin-1")):
        return Refusal(status=415, error="The body must be application/json in UTF-8")
    return None


def too_large(max_bytes: int) -> Refusal:
    """The answer to a body beyond its cap."""
    return Refusal(status=413, error=f"The body is larger than {max_bytes} bytes")


def _split_host(value: bytes) -> tuple[str, int | None] | None:
    """Normal name and port of a Host header; None when it is not well formed."""
    try:
        found = _HOST.fullmatch(value.decode("ascii"))
        if found is None:
            return None
        port = None if found["port"] is None else int(found["port"])
        if port is not None and not 0 < port < 65536:
            return None
        return normal_host(found["name"]), port
    except ValueError:
        return None


def _same_origin(origin: bytes, scheme: str, host: bytes, allow_hosts: frozenset[str]) -> bool:
    said, mark, origin_host = origin.partition(b"://")
    theirs, ours = _split_host(origin_host), _split_host(host)
    if not mark or theirs is None or ours is None:
        return False
    behind_tls = said == b"https" and ours[0] in allow_hosts
    if said != scheme.encode("latin-1", "replace") and not behind_tls:
        return False
    default = 443 if said == b"https" else 80
    return (theirs[0], theirs[1] or default) == (ours[0], ours[1] or default)
