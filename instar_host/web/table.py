"""The neutral route table: which route a path means.

Matches the path as it was sent, segment by segment, and decodes a segment only then: an id with an
encoded slash in it stays one segment. Fixed segments win over `{names}`. Never raises for what a
stranger sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_to_bytes

import msgspec
from starlette.types import Scope

from instar_host.records import Route
from instar_host.surface import PLACEHOLDER, split_path


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A path that exists: what it answers to, and what its names stand for."""

    methods: Mapping[str, tuple[Route, tuple[str, ...]]]
    """The route of each method and the names in its path: those of two plugins may differ."""
    values: tuple[str, ...]

    def route(self, method: str) -> Route | None:
        """The route for a method; HEAD asks for what GET would answer."""
        found = self._found(method)
        return None if found is None else found[0]

    def params(self, method: str) -> dict[str, str]:
        """What the names in the path of that route stand for."""
        found = self._found(method)
        return {} if found is None else dict(zip(found[1], self.values, strict=True))

    def allow(self) -> str:
        """The `Allow` header."""
        extra = {"HEAD", "OPTIONS"} if "GET" in self.methods else {"OPTIONS"}
        return ", ".join(sorted({*self.methods, *extra}))

    def is_open(self, method: str) -> bool:
        """True when this method needs no token; a method that is not served: when none needs it."""
        route = self.route(method)
        asked = [one for one, _names in self.methods.values()] if route is None else [route]
        return all(one.access == "open" for one in asked)

    def _found(self, method: str) -> tuple[Route, tuple[str, ...]] | None:
        return self.methods.get("GET" if method == "HEAD" else method)


class _Node:
    """One segment of the tree."""

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.named: _Node | None = None
        self.routes: dict[str, tuple[Route, tuple[str, ...]]] = {}


class RouteTable:
    """Routes by method and path. Raises ValueError for a path that is none or is taken."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def match(self, raw_path: bytes) -> Match | None:
        """What the percent-encoded path means; None when it means nothing."""
        segments = _decode(raw_path)
        if segments is None:
            return None
        return _find(self._root, segments, 0, ())

    def _add(self, route: Route) -> None:
        node = self._root
        names: list[str] = []
        for segment in split_path(route.path):
            name = PLACEHOLDER.fullmatch(segment)
            if name is None:
                node = node.fixed.setdefault(segment, _Node())
                continue
            names.append(name[1])
            if node.named is None:
                node.named = _Node()
            node = node.named
        if route.method in node.routes:
            raise ValueError(f"{route.method} {route.path} is taken")
        node.routes[route.method] = (route, tuple(names))


def route_path(scope: Scope) -> bytes:
    """The encoded path below where we are mounted, always with a leading slash."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    root = quote(scope.get("root_path", "")).rstrip("/").encode()
    if root and (raw == root or raw.startswith(root + b"/")):
        return raw[len(root) :] or b"/"
    return raw


def _find(node: _Node, segments: list[str], at: int, values: tuple[str, ...]) -> Match | None:
    if at == len(segments):
        return Match(methods=node.routes, values=values) if node.routes else None
    child = node.fixed.get(segments[at])
    found = None if child is None else _find(child, segments, at + 1, values)
    if found is None and node.named is not None and segments[at]:
        found = _find(node.named, segments, at + 1, (*values, segments[at]))
    return found


def _decode(raw_path: bytes) -> list[str] | None:
    try:
        segments = [unquote_to_bytes(part).decode() for part in raw_path[1:].split(b"/")]
    except UnicodeDecodeError:
        return None
    return None if any("\0" in segment for segment in segments) else segments
