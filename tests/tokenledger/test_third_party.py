"""Token sources of other people: whatever they do, the ledger is right and says who did it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instar_host import HostContext, hookimpl
from instar_host.plugins import PluginStatus
from instar_host.store.tail import Lines, iter_lines
from instar_host.testing import MakeHost
from instar_tokenledger.batch import Batch
from instar_tokenledger.ingest import Budget
from instar_tokenledger.plugin import TokenLedgerPlugin, sources_of
from instar_tokenledger.service import LedgerService
from instar_tokenledger.third_party import guarded
from instar_tokenledger.usage import (
    CostState,
    Counters,
    Decoded,
    Iteration,
    Semantics,
    TokenSource,
    UsageRow,
)
from tests.tokenledger.homes import EVER, said
from tests.tokenledger.test_readings import Book

Decode = Callable[[Lines, bytes], Decoded]


def row(offset: int, tokens: int = 5, **more: Any) -> UsageRow:
    """A good row, or one with some fields that cannot be."""
    counters = more.pop("counters", Counters(input=tokens))
    fields = {"session": "theirs", "at_ms": 1_767_225_600_000 + offset, "offset": offset}
    return UsageRow(**{**fields, "counters": counters, "row_id": f"row-{offset}", **more})


def good(lines: Lines, _state: bytes) -> Decoded:
    """A decoder as it should be: a line is a number of tokens."""
    return Decoded(rows=[row(offset, int(line)) for offset, line in iter_lines(lines)])


class TheirPlugin:
    """Somebody's plugin, with one source."""

    def __init__(self, folder: Path, decode: Decode, **more: Any) -> None:
        self.source = TokenSource(
            name=more.pop("name", "theirs"),
            roots=more.pop("roots", lambda: [folder]),
            selects=more.pop("selects", lambda relative: relative.endswith(b".log")),
            decode=decode,
            **more,
        )

    @hookimpl
    def tokenledger_sources(self, host: HostContext) -> Iterable[TokenSource]:
        return [self.source]


class Neighbours:
    """Claude Code's transcripts and somebody else's, in one ledger."""

    def __init__(self, folder: Path, make_host: MakeHost) -> None:
        self.folder = folder / "theirs"
        self.folder.mkdir()
        self._project = folder / "claude" / "projects" / "-home-dev-app"
        self._project.mkdir(parents=True)
        self._claude = folder / "claude"
        self._make_host = make_host
        (self._project / "session-1.jsonl").write_bytes(said(input=100, output=20) + b"\n")

    def write(self, *lines: bytes, name: str = "a.log") -> None:
        """One of their files."""
        (self.folder / name).write_bytes(b"".join(line + b"\n" for line in lines))

    def scan(self, decode: Decode, **more: Any) -> None:
        """Read everything with their plugin loaded."""
        theirs = TheirPlugin(self.folder, decode, **more)
        settings = {"claudeDirs": [str(self._claude)], "dailyBackups": 0}
        self.host = self._make_host([TokenLedgerPlugin(), theirs], {"tokenLedger": settings})
        self.service = LedgerService(self.host, lambda: sources_of(self.host))
        try:
            list(self.service.step(Budget(), lambda: False))
        finally:
            self.service.close()

    def tokens(self) -> dict[str, int]:
        """Tokens by session."""
        with self.service.reading() as reading:
            return {
                s["sessionId"]: s["totalTokens"] for s in reading.sessions.page(EVER, 100).sessions
            }

    def skips(self) -> dict[str, int]:
        """Lines passed over, by reason."""
        with self.service.reading() as reading:
            found: dict[str, int] = reading.totals.contents()["skips"]
            return found

    def status(self) -> PluginStatus:
        """How their plugin fares."""
        return next(s for s in self.host.plugins.statuses() if s.name == "their")


@pytest.fixture
def both(tmp_path: Path, make_host: MakeHost) -> Neighbours:
    return Neighbours(tmp_path, make_host)


def test_a_well_behaved_source_counts_beside_ours(both: Neighbours) -> None:
    """A third-party source goes through the hook that our own uses."""
    both.write(b"3", b"4")
    both.scan(good)
    assert both.tokens() == {"session-1": 120, "theirs": 7}
    assert (both.skips(), both.status().errors) == ({}, 0)


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "a negative counter": {"counters": Counters(input=-1)},
    "a counter that is no number": {"counters": Counters(input="7")},  # type: ignore[arg-type]
    "a counter that is a fraction": {"counters": Counters(output=0.5)},  # type: ignore[arg-type]
    "a counter that is true": {"counters": Counters(output=True)},
    "a huge counter": {"counters": Counters(cache_read=2**62)},
    "counters of another type": {"counters": (1, 2, 3)},
    "a lone surrogate": {"model": "\ud83d"},
    "a text without end": {"project": "x" * 1_000_000},
    "a text that is bytes": {"agent": b"agent"},
    "no session": {"session": ""},
    "no id": {"row_id": ""},
    "an instant before time": {"at_ms": -1},
    "an instant in seconds": {"at_ms": 1_767_225_600},
    "an instant after time": {"at_ms": 2**63},
    "an instant that is a fraction": {"at_ms": 1.5},
    "an offset behind its line": {"offset": 10**9},
    "a flag that is a number": {"sidechain": 1},
    "contents that are a number": {"contents": 7},
    "a content of no length": {"contents": ((1, -1),)},
    "a content with a huge number": {"contents": ((2**63, 1),)},
    "iterations that are a list": {"iterations": []},
    "an iteration of no kind": {"iterations": (Iteration("x", 0, "", Counters()),)},  # type: ignore[arg-type]
    "an iteration that is negative": {"iterations": (Iteration("advisor", -1, "", Counters()),)},
    "an iteration with bad counters": {
        "iterations": (Iteration("advisor", 0, "", Counters(thinking=-1)),)
    },
}


@pytest.mark.parametrize("fields", BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
def test_a_row_that_cannot_be_is_skipped_alone(both: Neighbours, fields: dict[str, Any]) -> None:
    """H1: counted as `bad-row`, named on the plugin's status; the rows around it count."""

    def decode(lines: Lines, state: bytes) -> Decoded:
        rows = list(good(lines, state).rows)
        return Decoded(rows=[rows[0], row(**{"offset": rows[1].offset, **fields}), rows[2]])

    both.write(b"3", b"4", b"5")
    both.scan(decode)
    assert both.tokens() == {"session-1": 120, "theirs": 8}
    assert both.skips() == {"bad-row": 1}
    assert (both.status().error or "").startswith("token source theirs: decode: ")


def test_a_line_whose_decoding_raises_is_skipped_alone(both: Neighbours) -> None:
    """H1: counted as `source-error`; the lines before and after it count."""
    both.write(b"3", b"nonsense", b"5", b"more nonsense")
    both.scan(good)
    assert both.tokens() == {"session-1": 120, "theirs": 8}
    assert both.skips() == {"source-error": 2}
    assert "ValueError: invalid literal" in (both.status().error or "")


def test_half_a_line_is_no_error(both: Neighbours) -> None:
    """A decoder that cannot read an unfinished line is not told off for it: the rest will come."""
    (both.folder / "a.log").write_bytes(b"3\nnonsen")
    both.scan(good)
    assert (both.tokens()["theirs"], both.skips(), both.status().errors) == (3, {}, 0)


def _exits(_lines: Lines, _state: bytes) -> Decoded:
    raise SystemExit(1)


def _without_end(lines: Lines, _state: bytes) -> Decoded:
    def rows() -> Iterator[UsageRow]:
        while True:
            yield row(lines.offset)

    return Decoded(rows=rows())  # type: ignore[arg-type]


NONSENSE: dict[str, Decode] = {
    "nothing": lambda _lines, _state: None,  # type: ignore[dict-item,return-value]
    "a list": lambda _lines, _state: [],  # type: ignore[dict-item,return-value]
    "a state of text": lambda _lines, _state: Decoded(state="x"),  # type: ignore[arg-type]
    "a state without end": lambda _lines, _state: Decoded(state=bytes(10**6)),
    "skips by number": lambda _lines, _state: Decoded(skips={1: 1}),  # type: ignore[dict-item]
    "negative skips": lambda _lines, _state: Decoded(skips={"odd": -1}),
    "rows that are a number": lambda _lines, _state: Decoded(rows=7),  # type: ignore[arg-type]
    "rows without end": _without_end,
    "an exit": _exits,
}


@pytest.mark.parametrize("decode", NONSENSE.values(), ids=NONSENSE.keys())
def test_an_answer_that_is_nonsense_costs_its_lines_alone(both: Neighbours, decode: Decode) -> None:
    """H1: no answer of a source fails the commit in which others' rows stand."""
    both.write(b"3", b"4")
    both.scan(decode)
    assert both.tokens() == {"session-1": 120}
    assert both.skips() == {"source-error": 2}
    assert both.status().errors == 1


def test_an_asynchronous_decoder_is_told_so(both: Neighbours) -> None:
    """The author reads what to change; Python warned of a coroutine that nobody awaited."""

    async def later(_lines: Lines, _state: bytes) -> Decoded:
        return Decoded()

    both.write(b"3")
    both.scan(later)  # type: ignore[arg-type]
    assert "decode is asynchronous; it has to be a plain function" in (both.status().error or "")


def test_a_cost_that_cannot_be_is_skipped(both: Neighbours) -> None:
    """An agent's own totals are checked like rows."""
    bad = CostState(session="theirs", model="m", counters=Counters(), cost_micro_usd=-5)
    both.write(b"3")
    both.scan(lambda _lines, _state: Decoded(cost_states=[bad]))
    assert both.skips() == {"bad-row": 1}


def _raises(*_anything: object) -> Any:
    raise LookupError("lost")


@pytest.mark.parametrize("part", ["roots", "selects"])
def test_a_source_that_cannot_say_where_it_looks_hides_only_itself(
    both: Neighbours, part: str
) -> None:
    """H1: roots and questions about paths may raise; the walk of the others goes on."""
    both.write(b"3")
    both.scan(good, **{part: _raises})
    assert both.tokens() == {"session-1": 120}
    said = f"token source theirs: {part}: LookupError: lost (test_third_party.py:"
    assert (both.status().error or "").startswith(said)


@pytest.mark.parametrize("nonsense", ["/a\0b", "/a\ud800b", b"/bytes", 7])
def test_a_root_that_is_no_path_is_the_fault_of_its_source(
    both: Neighbours, nonsense: object
) -> None:
    """H1: whatever a source names as its folder, that of others is read, and its status says so."""
    both.write(b"3")
    both.scan(good, roots=lambda: [nonsense])
    assert both.tokens() == {"session-1": 120}
    assert (both.status().error or "").startswith("token source theirs: roots: ")


def test_files_are_not_taken_for_deleted_while_a_source_fails(both: Neighbours) -> None:
    """A question that raises leaves the walk incomplete, so that no mark is dropped."""
    both.write(b"3")
    both.scan(good)
    both.scan(good, descends=_raises, selects=_raises)
    with both.service.reading() as reading:
        assert reading.totals.contents()["files"] == 2


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"name": ""}, "has to be plain text"),
        ({"name": "claude-code"}, "its token source 'claude-code' exists already"),
        ({"semantics": "average"}, "semantics is 'average', not one of snapshot, cumulative"),
    ],
)
def test_a_source_that_cannot_be_used_is_left_out_and_named(
    both: Neighbours, more: dict[str, Any], why: str
) -> None:
    """What is wrong with a source is known before it reads anything."""
    both.write(b"3")
    both.scan(good, **more)
    assert both.tokens() == {"session-1": 120}
    assert why in (both.status().error or "")


def test_a_running_total_needs_a_key(both: Neighbours) -> None:
    """A cumulative source that names no total would add up unrelated sessions."""
    both.write(b"3")
    both.scan(good, semantics="cumulative")
    assert both.skips() == {"bad-row": 1}
    assert "names the running total" in (both.status().error or "")


def test_a_file_belongs_to_the_first_source_that_finds_it(both: Neighbours) -> None:
    """A source that claims Claude Code's folder cannot keep its transcripts from being read."""
    claude = both.folder.parent / "claude" / "projects"
    both.scan(good, roots=lambda: [claude, both.folder.parent], selects=lambda _relative: True)
    assert both.tokens() == {"session-1": 120}


def test_running_totals_of_a_real_source_go_through_files_and_restarts(both: Neighbours) -> None:
    """B-13 from the file to the total: read whole, read again, grown, and copied."""

    def decode(lines: Lines, state: bytes) -> Decoded:
        rows = good(lines, state).rows
        return Decoded(rows=[msgspec.structs.replace(r, request_id="total") for r in rows])

    both.write(b"10", b"25")
    both.scan(decode, semantics="cumulative")
    both.write(b"10", b"25", b"60")
    both.write(b"10", b"25", b"60", name="copy.log")
    both.scan(decode, semantics="cumulative")
    assert both.tokens()["theirs"] == 60


junk = st.one_of(
    st.none(), st.booleans(), st.floats(), st.binary(max_size=4), st.just(()), st.just("\ud800"),
    st.integers(), st.sampled_from((2**40, 2**53, 2**63, 10**30, -1)), st.text(max_size=4),
)  # fmt: skip
numbers = st.lists(junk, max_size=9).map(lambda values: Counters(*values))
FIELDS = [name for name in UsageRow.__struct_fields__ if name != "counters"]
fields = st.dictionaries(st.sampled_from(FIELDS), junk, max_size=2)
odd_rows = st.tuples(fields, st.one_of(st.just({}), numbers.map(lambda n: {"counters": n}))).map(
    lambda some: msgspec.structs.replace(row(1, request_id="good"), **some[1], **some[0])
)


@given(st.lists(odd_rows, max_size=4), st.sampled_from(get_args(Semantics)))
@settings(deadline=None, max_examples=200)
def test_no_row_whatever_is_in_it_fails_a_commit(
    rows: list[UsageRow], semantics: Semantics
) -> None:
    """What passes the guard can be committed, and what cannot be committed does not pass."""
    good_row = row(3, request_id="good")
    source = TokenSource(
        name="theirs",
        roots=list,
        selects=bool,
        decode=lambda _lines, _state: Decoded(rows=[*rows, good_row]),
        semantics=semantics,
    )
    decoded = guarded(source, lambda _words: None).decode(Lines(data=b"abcd\n", offset=0), b"")
    book = Book()
    batch = Batch()
    (batch.add_readings if semantics == "cumulative" else batch.add)("theirs", b"/a", decoded)
    book.ledger.commit(batch)
    assert good_row in decoded.rows
    assert sum(decoded.skips.values()) + len(decoded.rows) == len(rows) + 1
    book.assert_totals_are_those_of_the_requests()
    book.connection.close()
