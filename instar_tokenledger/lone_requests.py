"""Requests that one row tells alone, straight to columns and sums.

Most requests of a first scan are of this kind, so that what is done for each of them is what a scan
costs: one pass, few objects that are not written, and what successive rows share is looked up once.
Says the same of a request as `Rows.add` and `Totals.change` do of any. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

from instar_tokenledger.accounting import CHARS_PER_TOKEN, PARTIAL_OUTPUT
from instar_tokenledger.batch import Lone
from instar_tokenledger.ids import MESSAGE, REQUEST, short
from instar_tokenledger.interning import Interned, Place
from instar_tokenledger.request_rows import (
    ENDED,
    HAD_ITERATIONS,
    HAD_STOP,
    MORE,
    WILD_MESSAGE,
    Rows,
)
from instar_tokenledger.rollups import NO_NAME, Sums, Totals
from instar_tokenledger.schema import QUARTER_MS
from instar_tokenledger.usage import UsageRow

NewIds = Callable[[int], int]
"""The first of so many numbers in a row that no request bears."""

Kind = tuple[str, str, str]
"""Model, tier and speed."""
_FLAGS = {
    (stop, rich, iterations): (ENDED if stop or rich else 0)
    | (HAD_STOP if stop else 0)
    | (HAD_ITERATIONS if iterations else 0)
    for stop, rich, iterations in product((False, True), repeat=3)
}
"""By stop reason, rich usage block and iterations."""


class _Spot(NamedTuple):
    """The numbers under which a row's surroundings are stored, and what its session adds up to."""

    place: int
    project: int
    session: Sums


class LoneRequests:
    """Adds to the rows and totals of one batch. Requests are new, and bear a message id."""

    def __init__(
        self, source: str, names: Interned, rows: Rows, totals: Totals, new_ids: NewIds
    ) -> None:
        self._source = source
        self._names = names
        self._rows = rows
        self._totals = totals
        self._new_ids = new_ids
        self._kinds: dict[Kind, tuple[int, int]] = {}
        """What `_numbers` said."""

    def add(self, lones: Sequence[Lone]) -> None:
        """Requests that are new, in the order in which their lines were read."""
        number = self._new_ids(len(lones))
        for path, rows in _runs(lones):
            self._add_run(path, rows, number)
            number += len(rows)

    def _add_run(self, path: bytes, rows: Sequence[UsageRow], number: int) -> None:
        """Rows of one spot, numbered from `number`. One loop, because a call for each row costs as
        much as what it does."""
        place, project, session = self._spot(path, rows[0])
        requests, kinds, quarter = self._rows.requests, self._kinds, -1
        usages: dict[int, Sums] = {}
        for row in rows:
            kind = (row.model, row.tier, row.speed)
            variant, model = kinds.get(kind) or self._numbers(kind)
            at_ms = row.at_ms
            if at_ms // QUARTER_MS != quarter:
                quarter, usages = at_ms // QUARTER_MS, {}
                self._rows.quarter_places.add((quarter, place))
            usage = usages.get(model)
            if usage is None:
                usage = usages[model] = self._totals.of_messages(quarter, project, model)
            fresh, output, create, read, five, hour, searches, fetches, thinking = row.counters
            tokens = fresh + output + create + read
            flags = _FLAGS[row.has_stop, row.rich, row.has_iterations]
            request_id = row.request_id
            if row.sidechain or not request_id:
                flags |= WILD_MESSAGE
            if row.iterations or (output <= PARTIAL_OUTPUT and not flags & ENDED):
                more, beside = self._add_parts(number, path, row, quarter, project, model)
                flags |= more
                tokens += beside
            usage[0] += 1
            usage[1] += fresh
            usage[2] += output
            usage[3] += create
            usage[4] += read
            session[0] += 1
            session[1] += tokens
            if at_ms < session[2]:
                session[2] = at_ms
            elif at_ms > session[3]:
                session[3] = at_ms
            requests.append((
                number, place, at_ms, row.offset, variant, flags, None, fresh, output, create, read,
                five, hour, searches, fetches, thinking, short(row.message_id, MESSAGE),
                short(request_id, REQUEST) if request_id else None, None,
            ))  # fmt: skip
            number += 1

    def _spot(self, path: bytes, row: UsageRow) -> _Spot:
        names = self._names
        place = names.place(Place(
            self._source, path, row.session, row.project, row.agent, row.sidechain, row.branch,
            row.version,
        ))  # fmt: skip
        project = names.name(row.project) or NO_NAME
        self._totals.sessions.add(row.session)
        session = self._totals.of_session(names.session(row.session), project, row.at_ms)
        return _Spot(place, project, session)

    def _numbers(self, kind: Kind) -> tuple[int, int]:
        """Of the variant and of the model."""
        numbers = self._names.variant(*kind), self._names.name(kind[0]) or NO_NAME
        self._kinds[kind] = numbers
        return numbers

    def _add_parts(
        self, number: int, path: bytes, row: UsageRow, quarter: int, project: int, model: int
    ) -> tuple[int, int]:
        """What only some requests have: the flag that says so, and tokens billed beside theirs."""
        contents: tuple[tuple[int, int], ...] = ()
        output = row.counters.output
        if not (row.has_stop or row.rich) and output <= PARTIAL_OUTPUT:
            contents = row.contents
            chars = sum(chars for _, chars in contents)
            missing = max(0, round(chars / CHARS_PER_TOKEN) - output)
            self._totals.add_partial(quarter, 1, missing)
        tokens = 0
        if row.iterations:
            tokens = self._totals.add_iterations(row, quarter, project, model)
        if not contents and not row.iterations:
            return 0, tokens
        self._rows.add_parts(number, path, contents, row.iterations)
        return MORE, tokens


def _runs(lones: Sequence[Lone]) -> Iterator[tuple[bytes, list[UsageRow]]]:
    """Successive rows that bear the very same texts, as rows of one decoder's run do."""
    path, first = lones[0] if lones else (b"", None)
    run: list[UsageRow] = []
    for of_path, row in lones:
        if of_path is not path or first is None or not _made_alike(first, row):
            yield path, run
            path, first, run = of_path, row, []
        run.append(row)
    if run:
        yield path, run


def _made_alike(a: UsageRow, b: UsageRow) -> bool:
    return (
        a.session is b.session
        and a.project is b.project
        and a.version is b.version
        and a.branch is b.branch
        and a.agent is b.agent
        and a.sidechain is b.sidechain
    )
