"""Every route against a count by hand, over transcripts in which everything happens at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from instar_host.records import Request, Response
from instar_host.testing import MakeHost
from instar_tokenledger import retention
from instar_tokenledger.ingest import Budget
from instar_tokenledger.plugin import sources_of
from instar_tokenledger.routes import TokenRoutes
from instar_tokenledger.schema import QUARTER_MS
from instar_tokenledger.service import LedgerService
from tests.tokenledger.by_hand import (
    CLAUDE,
    UNSEEN,
    Json,
    Said,
    differences_in,
    lines_below,
    requests_in,
)
from tests.tokenledger.hand_book import Book
from tests.tokenledger.homes import LedgerHome, clock_of
from tests.tokenledger.old_ledgers import make_old_ledger, old_row
from tests.tokenledger.recounting import recounted, rollups_of
from tests.tokenledger.scribbles import (
    ANCHORS,
    ZONES,
    an_instant,
    readings,
    readings_below,
    running_totals,
    scribbled,
)

ENDS = 253_402_300_799_999
LISTS = {"/tokens/sessions": "sessions", "/tokens/by-project": "projects",
         "/tokens/by-model": "models"}  # fmt: skip


class Span(NamedTuple):
    since: int
    until: int


class Desk(LedgerHome):
    """A home with transcripts and running totals, and what was ever said in them."""

    def __init__(self, folder: Path, state_dir: Path, make_host: MakeHost) -> None:
        self.totals = folder / "totals"
        self.totals.mkdir()
        self.heard: set[Said] = set()
        self.read: set[Said] = set()
        super().__init__(folder, state_dir, make_host)

    def listen(self) -> None:
        """Note what lies on the disk now: from the next scan on it counts for good."""
        self.heard |= lines_below(self.claude)
        self.read |= readings_below(self.totals)

    def book(self) -> Book:
        """The right answers."""
        return Book([*requests_in(self.heard), *differences_in(self.read)])

    def ask(self, path: str, *, name: str = "", **query: Any) -> Json:
        """A route's answer."""
        routes = {r.path: r for r in TokenRoutes(self.host, self.service).routes()}
        values = {key: (str(value),) for key, value in query.items()}
        request = Request(method="GET", path=path, params={"id": name}, query=values)
        answer = routes[path].endpoint(request)
        assert isinstance(answer, Response)
        assert isinstance(answer.body, bytes)
        found: Json = msgspec.json.decode(answer.body)
        return found

    def assert_right(self, span: Span, rng: random.Random) -> None:
        """Every view of a span, whole and by pages."""
        book = self.book()
        said: Json = {"since": span.since, "until": span.until}
        assert self.ask("/tokens/summary", **said)["summary"] == book.summary(*span)
        for path, name in LISTS.items():
            right = getattr(book, name)(*span)
            assert self.ask(path, **said, limit=500)[name] == right
            for at in rng.sample(range(len(right) + 2), 2):
                limit = rng.randrange(1, 5)
                page = self.ask(path, **said, limit=limit, offset=at)
                assert page[name] == right[at : at + limit]
                assert page.get("total", len(right)) == len(right)
        for bucket in ("hour", "day"):
            tz = rng.choice(ZONES)
            series = self.ask("/tokens/series", **said, bucket=bucket, tz=tz)["series"]
            assert series == book.series(*span, bucket, tz), (bucket, tz)

    def assert_quiet(self, rng: random.Random) -> None:
        """Sessions that have gone quiet, at some moment."""
        now_ms, since, idle_ms = an_instant(rng), an_instant(rng), rng.choice((1, QUARTER_MS))
        clock_of(self).set(now_ms)
        right = self.book().orphans(since, now_ms, idle_ms)
        found = self.ask("/tokens/orphans", since=since, idleMs=idle_ms, limit=3, offset=1)
        assert found["orphans"] == right[1:4]

    def assert_detailed(self) -> None:
        """Each session down to its requests."""
        book = self.book()
        for name in book.homes:
            found = self.ask("/tokens/sessions/{id}", name=name, limit=500)["requests"]
            right = book.session(name)
            assert [{k: row[k] for k in right[0]} for row in found] == right

    def _service(self) -> LedgerService:
        totals = running_totals(self.totals)
        return LedgerService(self.host, lambda: [*sources_of(self.host), totals])


@pytest.fixture
def desk(tmp_path: Path, state_dir: Path, make_host: MakeHost) -> Iterator[Desk]:
    """An empty one."""
    made = Desk(tmp_path, state_dir, make_host)
    yield made
    made.close()


def rows_in(desk: Desk) -> int:
    """How many requests are kept in detail."""
    with desk.reading() as reading:
        rows: list[Any] = reading.connection.execute("SELECT count(*) FROM requests").fetchall()
        return int(rows[0][0])


def spans(rng: random.Random, count: int) -> list[Span]:
    """Anything from nothing to everything, most with ends where something ends."""
    found = [Span(*sorted((an_instant(rng), an_instant(rng)))) for _ in range(count)]
    anchor = rng.choice(ANCHORS)
    return [*found, Span(anchor, anchor + 1), Span(anchor + 1, anchor), Span(0, ENDS)]


def told_in_moments(
    desk: Desk, files: dict[str, list[bytes]], rng: random.Random, moments: int
) -> Iterator[int]:
    """Write the files a part at a time, and read each part in small steps, with restarts."""
    for moment in range(moments):
        for path in rng.sample(sorted(files), len(files)):
            lines = files[path]
            begin, end = (len(lines) * m // moments for m in (moment, moment + 1))
            if begin < end:
                desk.write(path, *lines[:end], end=rng.choice((b"\n", b"")))
        desk.listen()
        while not desk.scan(Budget(bytes=rng.randrange(500, 9_000))).caught_up:
            if rng.random() < 0.1:
                desk.restart()
        yield moment


@pytest.mark.parametrize("seed", range(4))
def test_every_route_is_what_a_count_by_hand_says(desk: Desk, seed: int) -> None:
    """At every moment of random transcripts, in any window, zone and page, and after a rebuild."""
    rng = random.Random(seed)
    files = scribbled(rng, 45)
    (desk.totals / "a.jsonl").write_bytes(b"\n".join(readings(rng, 12)) + b"\n")
    for _ in told_in_moments(desk, files, rng, 2):
        for span in spans(rng, 3):
            desk.assert_right(span, rng)
        (desk.totals / "b.jsonl").write_bytes(b"\n".join(readings(rng, 9)) + b"\n")
    desk.service.forget_marks()
    desk.listen()
    desk.scan()
    for span in spans(rng, 4):
        desk.assert_right(span, rng)
    desk.assert_quiet(rng)
    desk.assert_detailed()
    assert rollups_of(desk) == recounted(desk)


@pytest.mark.parametrize("seed", range(2))
def test_an_old_ledger_brought_over_is_counted_with_what_is_read_later(
    desk: Desk, seed: int
) -> None:
    """Rows of 0.28 merge into the requests of their ids, whenever those are read."""
    rng = random.Random(seed)
    old = [
        old_row(
            f"req_{n}", session_id=f"s{n % 5}", ts=an_instant(rng), project_path=f"/old/{n % 2}",
            output_tokens=rng.randrange(2_000), model=None if n % 7 == 0 else "opus",
        )
        for n in range(0, 60, 2)
    ]  # fmt: skip
    make_old_ledger(desk.database, old)
    desk.heard |= {_of_old(row) for row in old}
    for _ in told_in_moments(desk, scribbled(rng, 40), rng, 2):
        for span in spans(rng, 4):
            desk.assert_right(span, rng)
    desk.assert_detailed()


@pytest.mark.parametrize("seed", range(2))
def test_what_was_let_go_of_is_counted_as_before(desk: Desk, seed: int) -> None:
    """Letting go in the middle changes no answer at whole quarters; of later lines those count
    that are not sealed."""
    rng = random.Random(seed)
    moments = told_in_moments(desk, scribbled(rng, 50, sharing=0), rng, 2)
    next(moments)
    heard, ledger = set(desk.heard), desk.service._ledger
    assert ledger is not None
    while retention.prune(ledger.connection, 2, ENDS, iter([True, False]).__next__):
        desk.assert_right(Span(0, ENDS), rng)
    sealed_ms = ledger.horizon.sealed_before_ms
    assert rows_in(desk) < len(requests_in(heard))
    next(moments)
    late = {one for one in desk.heard - heard if one.at_ms < sealed_ms}
    desk.heard -= late
    assert desk.skips()["sealed"] > 0
    for since, until in spans(rng, 6):
        desk.assert_right(
            Span(since // QUARTER_MS * QUARTER_MS, until // QUARTER_MS * QUARTER_MS), rng
        )


def _of_old(row: dict[str, Any]) -> Said:
    figures = tuple(row[f"{name}_tokens"] for name in
                    ("input", "output", "cache_creation", "cache_read"))  # fmt: skip
    return Said(
        source=CLAUDE, at_ms=row["ts"], session=row["session_id"], path=UNSEEN, offset=0,
        ids=("", row["request_id"], ""), figures=(*figures, *(0,) * 5),
        project=row["project_path"], model=row["model"] or "", tier=row["service_tier"], stop=True,
    )  # fmt: skip
