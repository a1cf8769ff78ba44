"""Rows put into files, batches and commits in every way, and a ledger in memory that takes them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import apsw

from benchmarks.corpus import Row, emit_line, lay, partitioned, rows_permuted, truth_of
from instar_host.store.tail import Lines
from instar_tokenledger.accounting import Request, absorb, request_of, unite
from instar_tokenledger.batch import Batch
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.queries import Queries
from instar_tokenledger.schema import MIGRATIONS
from instar_tokenledger.service import Reading
from instar_tokenledger.session_queries import SessionQueries
from instar_tokenledger.sources.claude_code import NAME
from instar_tokenledger.sources.claude_lines import decode
from instar_tokenledger.usage import Decoded
from instar_tokenledger.windows import Window
from tests.tokenledger.homes import EVER, answers_of, true_answers

Json = dict[str, Any]


class Piece(NamedTuple):
    """Some whole lines of a file, and where they begin."""

    path: bytes
    offset: int
    data: bytes

    def decoded(self) -> Decoded:
        return decode(Lines(data=self.data, offset=self.offset, terminated=True), b"")


class Arrangement(NamedTuple):
    """Rows with their places, and the pieces that say them in the order they are met."""

    rows: list[Row]
    pieces: list[Piece]

    def truth(self, window: Window = EVER, zones: Sequence[str] = ("UTC",)) -> Json:
        return true_answers(truth_of(self.rows), window, zones)


def arranged(rows: Sequence[Row], rng: random.Random, *, files: int = 3) -> Arrangement:
    """The rows in another order, spread over files, met in pieces of any size and any order."""
    placed: list[Row] = []
    pieces: list[Piece] = []
    for number, part in enumerate(partitioned(rows_permuted(rows, rng), rng, files)):
        path = b"/home/%d.jsonl" % number
        laid = lay(path, part)[1]
        placed += laid
        pieces += _pieces(laid, rng)
    rng.shuffle(pieces)
    return Arrangement(placed, pieces)


def requests_of(arrangement: Arrangement) -> list[Request]:
    """What the pure rules make of the rows, all at once."""
    single = [
        request_of(row, piece.path) for piece in arrangement.pieces for row in piece.decoded().rows
    ]
    return [together(group) for group in unite(single)]


def together(requests: Iterable[Request]) -> Request:
    """The union of requests that are one."""
    first, *others = requests
    for other in others:
        absorb(first, other)
    return first


def empty_ledger() -> Ledger:
    """A ledger in memory."""
    connection = apsw.Connection(":memory:")
    for step in MIGRATIONS:
        if isinstance(step.script, str):
            connection.execute(step.script)
    return Ledger(connection)


def ledger_of(pieces: Sequence[Piece], rng: random.Random) -> Ledger:
    """A ledger that was given the pieces in batches of random size, some of them twice."""
    ledger = empty_ledger()
    batch = Batch()
    for piece in pieces:
        for _ in range(rng.choice((1, 1, 1, 2))):
            batch.add(NAME, piece.path, piece.decoded())
        if rng.random() < 0.4:
            ledger.commit(batch)
            batch = Batch()
    ledger.commit(batch)
    return ledger


def answers_in(ledger: Ledger, window: Window = EVER, zones: Sequence[str] = ("UTC",)) -> Json:
    """Every view of a ledger in memory."""
    connection = ledger.connection
    return answers_of(
        Reading(Queries(connection), SessionQueries(connection), connection), window, zones
    )


def _pieces(laid: Sequence[Row], rng: random.Random) -> list[Piece]:
    pieces: list[Piece] = []
    for row in laid:
        line = emit_line(row) + b"\n"
        if pieces and rng.random() < 0.5:
            last = pieces.pop()
            pieces.append(last._replace(data=last.data + line))
        else:
            pieces.append(Piece(row.path, row.offset, line))
    return pieces
