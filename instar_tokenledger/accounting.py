"""Which lines are one request, and what that request is: the pure rules, with no I/O and no
clock.

The law: for any permutation of rows and any partition of them into files, ticks, restarts and
crashes the result is the same. It holds because everything here only ever joins: requests unite
and never split, counters take their maximum, the origin takes its minimum, and the descriptive
fields take the richest row's.

A request is known by *nodes* `(message id, request id)`. A node without a request id stands for
every request of its message id, and one without a message id for every request of its request id;
what they stand for is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from instar_tokenledger.usage import NOTHING, Counters, Kind, UsageRow

PARTIAL_OUTPUT = 10
"""A request with no sign of its end and at most this much output is a placeholder."""

CHARS_PER_TOKEN = 2.48
"""Characters of content per output token, over 3,458 real requests that logged both."""

Node = tuple[str, str]
Content = tuple[bytes, int]
"""A file and the number of a line in it."""


class Origin(NamedTuple):
    """Where and when a request was first said; compared by its first four fields."""

    at_ms: int
    session: str
    path: bytes
    offset: int
    project: str = ""
    agent: str = ""
    sidechain: bool = False
    branch: str = ""
    version: str = ""


class Description(NamedTuple):
    """What the richest row says; compared as a whole, the greatest wins."""

    has_stop: bool
    has_iterations: bool
    has_speed: bool
    size: int
    """Input + output + cache tokens of that row."""
    model: str
    tier: str
    speed: str


class Request(msgspec.Struct, kw_only=True):
    """One request as far as it is known. Mutable on purpose: a batch adds thousands of rows to a
    few of them."""

    nodes: frozenset[Node]
    """Empty for a request known by its row id alone."""
    row_id: str
    counters: Counters
    origin: Origin
    description: Description
    ended: bool
    """True when some row has a stop reason or a rich usage block."""
    iterations: dict[tuple[Kind, int], tuple[str, Counters]]
    contents: dict[Content, int]
    """Characters by file and row while the request is partial; empty afterwards."""
    stored_id: int = 0
    """Row number in the store; 0 when not stored yet."""

    @property
    def partial(self) -> bool:
        return not self.ended and self.counters.output <= PARTIAL_OUTPUT


def nodes_of(row: UsageRow) -> frozenset[Node]:
    """The nodes one row gives its request: a side conversation replays ids, so it stands for the
    message."""
    if row.message_id:
        node = (row.message_id, row.request_id)
        if row.sidechain and row.request_id:
            return frozenset((node, (row.message_id, "")))
        return frozenset((node,))
    return frozenset((("", row.request_id),)) if row.request_id else frozenset()


def request_of(row: UsageRow, path: bytes) -> Request:
    """A request as one row of the file `path` tells it."""
    ended = row.has_stop or row.rich
    contents: dict[Content, int] = {}
    if not ended and row.counters.output <= PARTIAL_OUTPUT:
        contents = {(path, number): chars for number, chars in row.contents}
    return Request(
        nodes=nodes_of(row),
        row_id="" if row.message_id or row.request_id else row.row_id,
        counters=row.counters,
        origin=_origin(row, path),
        description=_description(row),
        ended=ended,
        iterations={(i.kind, i.index): (i.model, i.counters) for i in row.iterations},
        contents=contents,
    )


def absorb_row(request: Request, row: UsageRow, path: bytes) -> None:
    """Add another row of the same nodes: `absorb` without building a second request."""
    if row.counters != request.counters:
        request.counters = greatest(request.counters, row.counters)
    origin = request.origin
    if (row.at_ms, row.session, path, row.offset) < origin[:4]:
        request.origin = _origin(row, path)
    description = _description(row)
    if description > request.description:
        request.description = description
    if row.sidechain and row.message_id:
        request.nodes |= {(row.message_id, "")}
    request.ended = request.ended or row.has_stop or row.rich
    for i in row.iterations:
        _add_iteration(request.iterations, (i.kind, i.index), i.model, i.counters)
    if request.partial:
        for number, chars in row.contents:
            key = (path, number)
            request.contents[key] = max(chars, request.contents.get(key, 0))
    elif request.contents:
        request.contents = {}


def absorb(into: Request, other: Request) -> None:
    """Make `into` the union of two requests: commutative, associative, idempotent."""
    into.nodes |= other.nodes
    into.row_id = into.row_id or other.row_id
    into.counters = greatest(into.counters, other.counters)
    if other.origin[:4] < into.origin[:4]:
        into.origin = other.origin
    into.description = max(into.description, other.description)
    into.ended = into.ended or other.ended
    for key, (model, counters) in other.iterations.items():
        _add_iteration(into.iterations, key, model, counters)
    if into.partial:
        for content, chars in other.contents.items():
            into.contents[content] = max(chars, into.contents.get(content, 0))
    else:
        into.contents = {}


def line_number(row_id: str, offset: int) -> int:
    """What a line's content is counted under: a hash of its own id, or, without one, its offset.

    It tells apart the lines of one request in one file, for which 32 bits are plenty.
    """
    if not row_id:
        return -1 - offset
    return int.from_bytes(blake2b(row_id.encode(), digest_size=7).digest()[:4])


def unite(requests: Iterable[Request]) -> list[list[Request]]:
    """Sort requests into those that are one. Requests of one source only.

    Two requests are one when they share a node, or when one bears a node without request id
    (message id) and the other any node of that message id (request id). Groups and their members
    keep the order given.
    """
    members = list(requests)
    parent = list(range(len(members)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for sharing in _sharing(members):
        first = find(sharing[0])
        for i in sharing[1:]:
            parent[find(i)] = first
    groups: dict[int, list[Request]] = {}
    for i, request in enumerate(members):
        groups.setdefault(find(i), []).append(request)
    return list(groups.values())


def estimated_missing(contents: Mapping[Content, int], output: int) -> int:
    """Output tokens that a partial request probably had beyond those it logged."""
    by_file: dict[bytes, int] = {}
    for (path, _row), chars in contents.items():
        by_file[path] = by_file.get(path, 0) + chars
    return max(0, round(max(by_file.values(), default=0) / CHARS_PER_TOKEN) - output)


def greatest(a: Counters, b: Counters) -> Counters:
    """Field-wise maximum."""
    return a if a == b else Counters._make(map(max, a, b))


def _sharing(members: list[Request]) -> list[list[int]]:
    """Lists of places that belong together: same node, same wildcard, same row id."""
    by_row: dict[str, list[int]] = {}
    by_message: dict[str, list[int]] = {}
    by_request: dict[str, list[int]] = {}
    wild_messages: set[str] = set()
    wild_requests: set[str] = set()
    for i, request in enumerate(members):
        if not request.nodes:
            by_row.setdefault(request.row_id, []).append(i)
        for message_id, request_id in request.nodes:
            if message_id:
                by_message.setdefault(message_id, []).append(i)
                if not request_id:
                    wild_messages.add(message_id)
            else:
                wild_requests.add(request_id)
            if request_id:
                by_request.setdefault(request_id, []).append(i)
    found = [places for places in by_row.values() if len(places) > 1]
    found += [by_request[q] for q in wild_requests]
    for message_id, places in by_message.items():
        if len(places) == 1:
            continue
        if message_id in wild_messages:
            found.append(places)
        else:
            found += _same_node(members, message_id, places)
    return found


def _same_node(members: list[Request], message_id: str, places: list[int]) -> list[list[int]]:
    """Places of one message id, by request id."""
    by_node: dict[Node, list[int]] = {}
    for i in dict.fromkeys(places):
        for node in members[i].nodes:
            if node[0] == message_id:
                by_node.setdefault(node, []).append(i)
    return list(by_node.values())


def _origin(row: UsageRow, path: bytes) -> Origin:
    return Origin(
        row.at_ms, row.session, path, row.offset,
        row.project, row.agent, row.sidechain, row.branch, row.version,
    )  # fmt: skip


def _description(row: UsageRow) -> Description:
    size = sum(row.counters[:4])
    return Description(
        row.has_stop, row.has_iterations, bool(row.speed), size, row.model, row.tier, row.speed
    )


def _add_iteration(
    iterations: dict[tuple[Kind, int], tuple[str, Counters]],
    key: tuple[Kind, int],
    model: str,
    counters: Counters,
) -> None:
    known_model, known = iterations.get(key, ("", NOTHING))
    iterations[key] = (max(model, known_model), greatest(known, counters))
