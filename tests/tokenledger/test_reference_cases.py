"""The fifteen cases that the original's own test of its ledger names, D1-1 to D1-15."""

from __future__ import annotations

from instar_tokenledger.ingest import Budget, Ingest
from instar_tokenledger.ledger import Ledger
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said, with_message

HOUR_MS = 3_600_000


def some_sessions(home: LedgerHome) -> None:
    """Six requests in three sessions of two projects, with the totals of the original's test."""
    use = [
        ("sA", "/alpha", 10, 100), ("sA", "/alpha", 20, 200), ("sB", "/alpha", 1, 2),
        ("sB", "/alpha", 3, 4), ("sC", "/beta", 1, 2), ("sC", "/beta", 1, 2),
    ]  # fmt: skip
    lines = []
    for i, (session, cwd, given, made) in enumerate(use):
        line = said(f"m{i}", f"r{i}", input=given, output=made, session=session, cwd=cwd)
        if i == 5:
            line = line.replace(b'"cache_read_input_tokens":0', b'"cache_read_input_tokens":1000')
        lines.append(line)
    home.write(SESSION, *lines)
    home.scan()


def test_a_usage_line_is_counted(home: LedgerHome) -> None:
    """D1-1: 5 in and 50 out are one event of 55 tokens in one session."""
    home.write(SESSION, said(input=5, output=50))
    home.scan()
    summary = home.summary()
    keys = ("eventCount", "totalInput", "totalOutput", "totalTokens", "sessionsActive")
    assert [summary[key] for key in keys] == [1, 5, 50, 55, 1]


def test_a_line_without_usage_is_skipped(home: LedgerHome) -> None:
    """D1-2: an assistant line without usage is counted as a skip of that reason."""
    home.write(SESSION, with_message(said(), usage=None))
    home.scan()
    assert (home.summary()["eventCount"], home.skips()) == (0, {"no-usage": 1})


def test_broken_json_is_skipped(home: LedgerHome) -> None:
    """D1-3: broken JSON is malformed and raises nothing."""
    home.write(SESSION, b"{broken", said())
    home.scan()
    assert (home.summary()["eventCount"], home.skips()) == (1, {"malformed": 1})


def test_a_request_met_twice_is_one(home: LedgerHome) -> None:
    """D1-4: the second row of a request adds no event; a larger one updates it."""
    home.write(SESSION, said(output=50), said(output=50), said(output=60))
    home.scan()
    assert (home.summary()["eventCount"], home.tokens()) == (1, (10, 60))


def test_lines_of_people_and_tools_are_not_counted(home: LedgerHome) -> None:
    """D1-5: user and tool result lines are neither events nor skips."""
    home.write(SESSION, b'{"type":"user","message":{}}', b'{"type":"tool_result","x":1}')
    home.scan()
    assert (home.summary()["eventCount"], home.skips()) == (0, {})


def test_totals_over_sessions_and_projects(home: LedgerHome) -> None:
    """D1-6: six events in three sessions and two projects add up in every part."""
    some_sessions(home)
    summary = home.summary()
    assert (summary["eventCount"], summary["sessionsActive"]) == (6, 3)
    assert summary["totalCacheRead"] == 1000
    parts = ("totalInput", "totalOutput", "totalCacheRead", "totalCacheCreate")
    assert summary["totalTokens"] == sum(summary[key] for key in parts) == 1346


def test_sessions_by_tokens(home: LedgerHome) -> None:
    """D1-7: sC 1006, sA 330, sB 10, in that order."""
    some_sessions(home)
    rows = [(row["sessionId"], row["totalTokens"]) for row in home.answers()["sessions"]]
    assert rows == [("sC", 1006), ("sA", 330), ("sB", 10)]


def test_projects_by_tokens(home: LedgerHome) -> None:
    """D1-8: each project with its sessions, events and tokens."""
    some_sessions(home)
    found = {
        row["projectPath"]: (row["sessionCount"], row["eventCount"], row["totalTokens"])
        for row in home.answers()["projects"]
    }
    assert found == {"/alpha": (2, 4, 340), "/beta": (1, 2, 1006)}


def test_orphans_are_sessions_gone_quiet(home: LedgerHome) -> None:
    """D1-9: of sessions an hour and a minute old, only the first is an orphan after 30 minutes."""
    now_ms = clock_of(home).now_ms()
    home.write(
        SESSION,
        said("m1", "r1", session="old", ts=now_ms - HOUR_MS),
        said("m2", "r2", session="new", ts=now_ms - 60_000),
    )
    home.scan()
    with home.reading() as reading:
        (orphan,) = reading.sessions.idle(30 * 60_000, now_ms, 10)
    assert (orphan["sessionId"], orphan["idleMs"]) == ("old", HOUR_MS)


def test_only_what_was_appended_is_read(home: LedgerHome) -> None:
    """D1-10: write, append, nothing new: 1, 1 and 0 events are added."""
    path = home.write(SESSION, said("m1", "r1"))
    assert home.scan().bytes_read == path.stat().st_size
    home.append(SESSION, said("m2", "r2"))
    assert home.scan().bytes_read == path.stat().st_size
    assert home.scan().bytes_read == path.stat().st_size
    assert home.summary()["eventCount"] == 2


def test_a_recreated_file_is_read_from_its_beginning(home: LedgerHome) -> None:
    """D1-11: after unlink and recreation, even on the same inode, both events are there."""
    home.write(SESSION, said("m1", "r1")).unlink()
    home.write(SESSION, said("m1", "r1"))
    home.scan()
    (home.claude / SESSION).unlink()
    home.write(SESSION, said("m2", "r2"))
    home.scan()
    assert home.summary()["eventCount"] == 2


def test_two_folders_and_a_stray_file(home: LedgerHome) -> None:
    """D1-12: two folders with a readme between them are two files and three rows."""
    home.write("projects/a/1.jsonl", said("m1", "r1"), said("m2", "r2"))
    home.write("projects/b/2.jsonl", said("m3", "r3"))
    home.write("projects/README.md", b"hello")
    assert home.scan().files_read == 2
    assert home.summary()["eventCount"] == 3


def test_a_step_reads_as_many_files_as_it_may(home: LedgerHome) -> None:
    """D1-13: twelve files with a cap of five take steps of 5, 5 and 2."""
    for i in range(12):
        home.write(f"projects/a/{i}.jsonl", said(f"m{i}", f"r{i}"))
    done = [home.scan(Budget(files=5)).files_read for _ in range(3)]
    assert done == [5, 10, 12]
    assert home.summary()["eventCount"] == 12


def test_old_files_are_read_when_everything_is_asked_for(home: LedgerHome) -> None:
    """D1-14, turned round: a scan reads a file of sixty days ago too; no row is lost to its age."""
    import os

    old = home.write("projects/a/old.jsonl", said("m1", "r1"))
    home.write("projects/a/new.jsonl", said("m2", "r2"))
    long_ago = clock_of(home).now_ms() / 1000 - 60 * 86_400
    os.utime(old, (long_ago, long_ago))
    assert home.scan().files_read == 2


def test_reading_pauses_between_slices(home: LedgerHome, ledger: Ledger) -> None:
    """D1-15: whoever shares the interpreter gets a turn after every file."""
    for i in range(8):
        home.write(f"projects/a/{i}.jsonl", said(f"m{i}", f"r{i}"))
    pauses: list[int] = []
    ingest = Ingest(ledger, home.service.sources(), clock_of(home), pause=lambda: pauses.append(1))
    ingest.look()
    assert len(list(ingest.read(Budget()))) >= 8
    assert len(pauses) >= 8
