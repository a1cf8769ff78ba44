"""Running totals: the last reading wins, and the order in which readings arrive changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instar_tokenledger.batch import Batch
from instar_tokenledger.committed import Committed
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.queries import Queries
from instar_tokenledger.readings import differences, distinct, reading_of
from instar_tokenledger.schema import MIGRATIONS
from instar_tokenledger.service import Reading
from instar_tokenledger.session_queries import SessionQueries
from instar_tokenledger.usage import Counters, Decoded, UsageRow
from tests.tokenledger.homes import EVER, answers_of
from tests.tokenledger.recounting import RECOUNTED

T0 = 1_767_225_600_000
HOUR_MS = 3_600_000

Said = tuple[bytes, UsageRow]


def said(
    input: int,  # noqa: A002 - the counter's name
    at: int = 0,
    *,
    key: str = "total-1",
    path: bytes = b"/a/1",
    offset: int | None = None,
    **more: Any,
) -> Said:
    """A reading of `input` tokens, `at` hours after midnight."""
    counters = more.pop("counters", Counters(input=input))
    row = UsageRow(
        session=more.pop("session", key),
        at_ms=T0 + at * HOUR_MS,
        offset=at if offset is None else offset,
        counters=counters,
        request_id=key,
        **more,
    )
    return path, row


class Book:
    """A ledger in memory that is told readings."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        for step in MIGRATIONS:
            if isinstance(step.script, str):
                self.connection.execute(step.script)
        self.ledger = Ledger(self.connection)

    def tell(self, *readings: Said, source: str = "codex") -> Committed:
        """One commit."""
        batch = Batch()
        for path, row in readings:
            batch.add_readings(source, path, Decoded(rows=[row]))
        return self.ledger.commit(batch)

    def series(self) -> dict[int, int]:
        """Input tokens by hour."""
        found = self.connection.execute("SELECT at_ms, sum(input) FROM requests GROUP BY 1")
        return {(at_ms - T0) // HOUR_MS: tokens for at_ms, tokens in found}

    def everything(self) -> Any:
        """Every view, with every request down to its line."""
        reading = Reading(
            Queries(self.connection), SessionQueries(self.connection), self.connection
        )
        requests = {
            row["sessionId"]: reading.sessions.requests(row["sessionId"], 1000)
            for row in reading.sessions.page(EVER, 1000).sessions
        }
        return answers_of(reading, EVER), requests

    def assert_totals_are_those_of_the_requests(self) -> None:
        """Every stored total, counted again."""
        self.connection.create_scalar_function("tokens_of", lambda *_: 0)
        for table, recount in RECOUNTED.items():
            stored = self.connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
            assert sorted(stored) == sorted(self.connection.execute(recount).fetchall()), table


@pytest.fixture
def book() -> Iterator[Book]:
    made = Book()
    yield made
    made.connection.close()


def test_the_last_reading_is_the_total_and_the_series_gets_differences(book: Book) -> None:
    """B-13: a running total is never added to itself."""
    book.tell(said(100, 1), said(250, 2), said(400, 3))
    assert book.series() == {1: 100, 2: 150, 3: 150}


def test_a_total_that_stands_still_makes_no_request(book: Book) -> None:
    """An agent that says the same total again has not used anything."""
    book.tell(said(100, 1), said(100, 2))
    book.tell(said(100, 3))
    assert book.series() == {1: 100}


def test_a_late_reading_splits_the_difference_it_falls_into(book: Book) -> None:
    """A reading between two others takes its share of the later one and adds nothing."""
    book.tell(said(100, 1), said(400, 3))
    told = book.tell(said(250, 2))
    assert book.series() == {1: 100, 2: 150, 3: 150}
    assert (told.added, told.changed) == (1, 1)


def test_a_reading_told_twice_changes_nothing(book: Book) -> None:
    """A file read again from its beginning leaves everything as it was."""
    readings = [said(100, 1), said(250, 2)]
    book.tell(*readings)
    told = book.tell(*readings)
    assert (told.added, told.changed, told.sessions) == (0, 0, ())


def test_a_copy_of_a_file_counts_once_and_the_smaller_path_is_its_origin(book: Book) -> None:
    """Same total, instant and counters: the same reading, wherever it stands."""
    book.tell(said(100, 1, path=b"/b/copy"), said(250, 2, path=b"/b/copy"))
    book.tell(said(100, 1, path=b"/a/first"), said(250, 2, path=b"/a/first"))
    _, requests = book.everything()
    assert [(r["input"], r["file"]) for r in requests["total-1"]] == [
        (100, "/a/first"),
        (150, "/a/first"),
    ]


@pytest.mark.parametrize("split", [1, 2, 3])
def test_a_total_that_falls_takes_back_what_was_said_before(book: Book, split: int) -> None:
    """The sum is the last reading, also after a fall: nothing is counted that it does not bear
    out."""
    readings = [said(100, 1), said(400, 2), said(250, 3), said(300, 4)]
    book.tell(*readings[:split])
    book.tell(*readings[split:])
    assert book.series() == {1: 100, 2: 150, 4: 50}
    book.assert_totals_are_those_of_the_requests()


def test_a_total_that_falls_to_nothing_leaves_nothing(book: Book) -> None:
    """The last reading wins even if it is zero, and no empty total stays behind."""
    book.tell(said(100, 1), said(400, 2))
    book.tell(said(0, 3))
    summary, _ = book.everything()
    assert (summary["summary"]["eventCount"], summary["sessions"]) == (0, [])


def test_totals_of_two_keys_and_two_sources_never_meet(book: Book) -> None:
    """A key names a total within its source."""
    book.tell(said(100, 1), said(70, 1, key="total-2"))
    book.tell(said(100, 1), source="another")
    assert book.series() == {1: 270}


def test_each_difference_bears_its_own_readings_model_and_project(book: Book) -> None:
    """A session that changes its model or folder half-way is split there."""
    book.tell(said(100, 1, model="small", project="/a"), said(250, 2, model="big", project="/b"))
    answers, _ = book.everything()
    assert {m["model"]: m["totalTokens"] for m in answers["models"]} == {"small": 100, "big": 150}
    assert {p["projectPath"]: p["totalTokens"] for p in answers["projects"]} == {
        "/a": 100,
        "/b": 150,
    }


def test_a_commit_that_fails_leaves_no_reading(book: Book) -> None:
    """Readings are written with the marks of their files or not at all."""
    book.tell(said(100, 1))
    book.connection.execute(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON readings BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with pytest.raises(apsw.ConstraintError):
        book.tell(said(250, 2))
    book.connection.execute("DROP TRIGGER temp.full")
    book.tell(said(250, 2))
    assert book.series() == {1: 100, 2: 150}


counters = st.fixed_dictionaries(
    {
        "input": st.integers(0, 6),
        "output": st.integers(0, 4),
        "cache_read": st.sampled_from((0, 0, 5)),
        "thinking": st.integers(0, 1),
    }
).map(lambda numbers: Counters(**numbers))
told = st.builds(
    lambda at, offset, counters, **more: said(0, at, offset=offset, counters=counters, **more),
    at=st.integers(0, 4),
    offset=st.integers(0, 40),
    counters=counters,
    key=st.sampled_from(("total-1", "total-2")),
    path=st.sampled_from((b"/a/1", b"/a/2", b"/b/1")),
    session=st.sampled_from(("session-1", "session-2")),
    model=st.sampled_from(("small", "big", "")),
    project=st.sampled_from(("/a", "")),
)


@st.composite
def lists_of_readings(draw: st.DrawFn) -> list[Said]:
    """Lines, each at a place of its own, and copies of some of their files."""
    lines = draw(st.lists(told, min_size=1, max_size=10, unique_by=lambda a: (a[0], a[1].offset)))
    copies = draw(st.lists(st.sampled_from(lines), max_size=4))
    folder = draw(st.sampled_from((b"/0", b"/z")))
    return [*lines, *((folder + path, row) for path, row in copies)]


@given(lists_of_readings(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_order_and_any_partition_of_readings_gives_the_same(
    readings: list[Said], data: st.DataObject
) -> None:
    """The law: permutations, repetitions and commits change no answer, and the totals are those of
    the requests."""
    at_once, one_by_one = Book(), Book()
    at_once.tell(*readings)
    order = data.draw(st.permutations(readings))
    while order:
        size = data.draw(st.integers(1, len(order)))
        one_by_one.tell(*order[:size], *data.draw(st.lists(st.sampled_from(readings), max_size=2)))
        order = order[size:]
    assert one_by_one.everything() == at_once.everything()
    one_by_one.assert_totals_are_those_of_the_requests()
    assert totals(one_by_one) == last_readings(readings)
    one_by_one.connection.close()
    at_once.connection.close()


@given(lists_of_readings())
@settings(deadline=None)
def test_differences_are_never_negative_and_sum_to_the_last_reading(readings: list[Said]) -> None:
    """Whatever an agent says, no request has a negative counter."""
    one_total = distinct(reading_of(row, path) for path, row in readings)
    parts = differences(one_total)
    assert all(min(part) >= 0 and any(part) for part in parts.values())
    assert _sum(parts.values()) == max(one_total.values()).counters


def totals(book: Book) -> dict[str, Counters]:
    """What the requests of each key add up to."""
    found: dict[str, list[Counters]] = {}
    for key, *parts in book.connection.execute(
        "SELECT substr(request_id, 2), input, output, cache_create, cache_read, cache_5m, cache_1h,"
        " web_searches, web_fetches, thinking FROM requests"
    ):
        found.setdefault(key, []).append(Counters(*parts))
    return {key: _sum(parts) for key, parts in found.items()}


def last_readings(readings: Iterable[Said]) -> dict[str, Counters]:
    """The rule said plainly: the reading that is last by instant, file and offset; copies of a
    reading are one, and stand where the smallest path has them."""
    first_place: dict[tuple[str, int, Counters], tuple[bytes, int]] = {}
    for path, row in readings:
        at = (row.request_id, row.at_ms, row.counters)
        first_place[at] = min(first_place.get(at, (path, row.offset)), (path, row.offset))
    last: dict[str, tuple[int, bytes, int, Counters]] = {}
    for (key, at_ms, numbers), (path, offset) in first_place.items():
        place = (at_ms, path, offset, numbers)
        last[key] = max(last.get(key, place), place)
    return {key: place[3] for key, place in last.items() if any(place[3])}


def _sum(parts: Iterable[Counters]) -> Counters:
    return (
        Counters._make(map(sum, zip(*parts, strict=True))) if (parts := list(parts)) else Counters()
    )
