"""`instar tokens trace`: every line that made a number, wherever copies of it stand."""

from __future__ import annotations

import os

import pytest

from benchmarks.corpus import START_MS, Counters, Iteration
from instar_host.testing import FakeClock
from tests.tokenledger.command_lines import Shell
from tests.tokenledger.homes import SESSION, LedgerHome, said
from tests.tokenledger.old_ledgers import make_old_ledger, old_row

FORK = "projects/-home-dev-app/the-fork.jsonl"


@pytest.fixture
def shell(home: LedgerHome, clock: FakeClock) -> Shell:
    return Shell(home, clock)


def test_every_line_of_a_request_is_shown(home: LedgerHome, shell: Shell) -> None:
    """Rows, fork copies and quotes: file, byte offset and the usage found there."""
    rows = [said("m1", "r1", output=n, ts=START_MS + n, uuid=f"u{n}") for n in (1, 2, 900)]
    home.write(SESSION, said("m0", "r0"), *rows, said("m9", "r9"))
    home.write(FORK, rows[0], said("m1", "r1", output=900, quoted=True, ts=START_MS + 901))
    shell("tokens", "scan")
    (found,) = shell("tokens", "trace", "r1", "--json").json()["requests"]
    assert [line["usage"]["output"] for line in found["lines"]] == [1, 2, 900, 1, 900]
    for line in found["lines"]:
        with open(line["file"], "rb") as file:
            file.seek(line["offset"])
            assert b'"id":"m1"' in file.readline()
    assert (found["usage"]["output"], found["file"]) == (900, str(home.claude / SESSION))
    text = shell("tokens", "trace", "m1").out
    assert text.count("output 900") >= 3
    assert text.count("fork.jsonl @") == 2


@pytest.mark.parametrize("wanted", ["m1", "r1"])
def test_any_id_finds_the_request(home: LedgerHome, shell: Shell, wanted: str) -> None:
    """Message id and request id lead to the same request."""
    home.write(SESSION, said("m1", "r1"))
    shell("tokens", "scan")
    assert len(shell("tokens", "trace", wanted, "--json").json()["requests"]) == 1


def test_a_row_without_other_ids_is_found_by_its_own(home: LedgerHome, shell: Shell) -> None:
    """Where there is nothing else, the row's id is the request's."""
    home.write(SESSION, said(None, None, uuid="u-1"))
    shell("tokens", "scan")
    (found,) = shell("tokens", "trace", "u-1", "--json").json()["requests"]
    assert (found["uuid"], len(found["lines"])) == ("u-1", 1)


def test_requests_that_were_united_show_all_their_lines(home: LedgerHome, shell: Shell) -> None:
    """A side question's copy under another request id is part of the same request."""
    home.write(SESSION, said("m1", "r1"))
    home.write(FORK, said("m1", "r2", output=950, sidechain=True))
    shell("tokens", "scan")
    (found,) = shell("tokens", "trace", "r1", "--json").json()["requests"]
    assert [line["requestId"] for line in found["lines"]] == ["r1", "r2"]
    assert found["usage"]["output"] == 950


def test_iterations_are_part_of_the_proof(home: LedgerHome, shell: Shell) -> None:
    """What was billed beside the top level is told with its kind and model."""
    advisor = Iteration(type="advisor_message", model="big", counters=Counters(input=5))
    home.write(SESSION, said("m1", "r1", rich=True, iterations=(advisor,)))
    shell("tokens", "scan")
    (found,) = shell("tokens", "trace", "m1", "--json").json()["requests"]
    (entry,) = found["iterations"]
    assert (entry["kind"], entry["model"], entry["usage"]["input"]) == ("advisor", "big", 5)


def test_a_line_without_its_newline_is_shown(home: LedgerHome, shell: Shell) -> None:
    """What counted without a newline is traced without one."""
    home.write(SESSION, said("m1", "r1"), end=b"")
    shell("tokens", "scan")
    (found,) = shell("tokens", "trace", "m1", "--json").json()["requests"]
    assert len(found["lines"]) == 1


def test_lines_that_have_gone_are_said_to_be_gone(home: LedgerHome, shell: Shell) -> None:
    """The ledger keeps its number when the transcript is deleted, and says so."""
    home.write(SESSION, said("m1", "r1"))
    shell("tokens", "scan")
    os.unlink(home.claude / SESSION)
    shell("tokens", "scan")
    result = shell("tokens", "trace", "m1")
    assert result.code == 0
    assert "gone; the ledger keeps its number" in result.out


def test_a_request_of_an_old_ledger_says_that_it_never_had_a_place(
    home: LedgerHome, shell: Shell
) -> None:
    """Rows taken over from 0.28 have no file and offset to show."""
    make_old_ledger(home.database, [old_row("r1")])
    shell("tokens", "scan")
    assert "instar 0.28, which kept no file" in shell("tokens", "trace", "r1").out


@pytest.mark.parametrize("wanted", ["nothing", "nothing\udcff"])
def test_an_unknown_id_is_a_negative_answer(home: LedgerHome, shell: Shell, wanted: str) -> None:
    """Exit code 1 and a sentence, also for bytes that are no text."""
    home.scan()
    home.service.close()
    result = shell("tokens", "trace", wanted)
    assert (result.code, result.out) == (1, "")
    assert "nothing" in result.err
