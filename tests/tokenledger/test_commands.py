"""`instar tokens ...`: answers for people and scripts, exit codes, and words that do no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import apsw
import pytest

from benchmarks.corpus import START_MS
from instar_host.testing import FakeClock
from tests.tokenledger.command_lines import Shell, transcripts_at
from tests.tokenledger.homes import SESSION, LedgerHome, said
from tests.tokenledger.old_ledgers import held_open, make_old_ledger, old_row

DAY_MS = 86_400_000
SUMMARY_KEYS = {
    "totalTokens", "totalInput", "totalOutput", "totalCacheRead", "totalCacheCreate", "eventCount",
    "sessionsActive", "oldestEventTs", "newestEventTs", "kinds", "partial",
}  # fmt: skip
LISTS = ("sessions", "by-project", "by-model", "orphans", "series")
HOLD = """
import sys
from pathlib import Path
from instar_host.lease import Lease
with Lease(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def clock() -> FakeClock:
    """Two days after the first request."""
    return FakeClock(START_MS + 2 * DAY_MS)


@pytest.fixture
def shell(home: LedgerHome, clock: FakeClock) -> Shell:
    return Shell(home, clock)


def two_sessions(home: LedgerHome) -> None:
    """A request two days ago and one an hour ago."""
    late = START_MS + 2 * DAY_MS - 3_600_000
    home.write(SESSION, said("m1", "r1"), said("m2", "r2", session="s2", ts=late, input=1))


def test_a_scan_says_what_was_used(home: LedgerHome, shell: Shell) -> None:
    """Totals for a person, with what was read and what was skipped."""
    home.write(SESSION, said("m1", "r1"), said("m2", "r2"), b"broken")
    result = shell("tokens", "scan")
    assert result.code == 0
    assert "1,820 tokens in 2 requests, 1 session (" in result.out
    assert "Read 1 file," in result.out
    assert "Skipped 1 line: malformed" in result.out


def test_a_scan_in_json(home: LedgerHome, shell: Shell) -> None:
    """The summary's keys are those of the route, with what the scan did beside them."""
    two_sessions(home)
    found = shell("tokens", "scan", "--json").json()
    assert set(found["summary"]) == SUMMARY_KEYS
    assert found["scan"]["files_read"] == 1
    assert found["summary"]["eventCount"] == 2
    assert found["skips"] == {}


def test_every_kind_and_the_partial_share_are_named(home: LedgerHome, shell: Shell) -> None:
    """`kinds` has four kinds with five sums each; `partial` says requests, share and estimate."""
    two_sessions(home)
    summary = shell("tokens", "scan", "--json").json()["summary"]
    assert list(summary["kinds"]) == ["message", "advisor", "compaction", "fallback"]
    for sums in summary["kinds"].values():
        assert list(sums) == ["requests", "input", "output", "cacheCreate", "cacheRead"]
    assert list(summary["partial"]) == ["requests", "share", "estimatedOutput"]


@pytest.mark.parametrize(
    ("command", "name", "keys"),
    [
        (
            "sessions",
            "sessions",
            ["sessionId", "projectPath", "totalTokens", "eventCount", "firstTs", "lastTs"],
        ),
        ("by-project", "projects", ["projectPath", "totalTokens", "eventCount", "sessionCount"]),
        (
            "by-model",
            "models",
            ["model", "totalTokens", "eventCount", "input", "output", "cacheCreate", "cacheRead"],
        ),
        ("orphans", "orphans", ["sessionId", "projectPath", "lastTs", "totalTokens", "idleMs"]),
        (
            "series",
            "series",
            ["start", "eventCount", "input", "output", "cacheCreate", "cacheRead"],
        ),
    ],
)
def test_every_list_has_the_keys_of_its_route(
    home: LedgerHome, shell: Shell, command: str, name: str, keys: list[str]
) -> None:
    """A3: what a script reads from the command is what it would read from the route."""
    two_sessions(home)
    shell("tokens", "scan")
    found = shell("tokens", command, "--json").json()
    assert found[name]
    for row in found[name]:
        assert list(row) == keys
    assert "sinceMs" in found


@pytest.mark.parametrize("command", ["summary", *LISTS, "status"])
def test_every_command_speaks_to_people_too(home: LedgerHome, shell: Shell, command: str) -> None:
    """Each command prints lines that fit a page and end in 0."""
    two_sessions(home)
    shell("tokens", "scan")
    result = shell("tokens", command)
    assert (result.code, result.err) == (0, "")
    assert result.out.strip()


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        (None, None, 2), ("1d", None, 1), ("7d", None, 2), ("2w", "1d", 1), ("90m", None, 1),
        (str(START_MS), None, 2), (str(START_MS + 1), None, 1), (None, str(START_MS), 0),
        (None, str(START_MS + 1), 1), ("2026-01-05", "2026-01-06", 1), ("2026-01-06", None, 1),
        ("2026-01-05T00:00:00Z", "2026-01-05T00:00:00.001Z", 1),
        ("2026-01-05T02:00:00+02:00", None, 2), ("2026-01-05T00:00:00.001", None, 1),
    ],
)  # fmt: skip
def test_forms_of_since_and_until(
    home: LedgerHome, shell: Shell, since: str | None, until: str | None, count: int
) -> None:
    """Spans, dates, instants and epoch milliseconds; from is included, until is not."""
    two_sessions(home)
    shell("tokens", "scan")
    words = ["--since", since] if since else []
    words += ["--until", until] if until else []
    found = shell("tokens", "summary", "--json", *words).json()
    assert found["summary"]["eventCount"] == count


def test_a_list_that_is_not_whole_says_so(home: LedgerHome, shell: Shell) -> None:
    """Beside the answer, where a person finds it and a program does not."""
    two_sessions(home)
    shell("tokens", "scan")
    assert shell("tokens", "sessions", "--limit", "2").err == ""
    cut = shell("tokens", "sessions", "--limit", "1")
    assert (cut.err, len(cut.out.splitlines())) == ("1 of 2 sessions; --limit shows more.\n", 2)
    assert shell("tokens", "sessions", "--limit", "1", "--json").err == ""


def test_dates_are_those_of_the_persons_own_zone(home: LedgerHome, shell: Shell) -> None:
    """A date without an offset begins at local midnight; a series says whose days it shows."""
    two_sessions(home)
    shell("tokens", "scan")
    shell.environ = {"TZ": "Australia/Lord_Howe"}
    found = shell("tokens", "summary", "--json", "--since", "2026-01-05").json()
    assert found["sinceMs"] == START_MS - 11 * 3_600_000
    assert shell("tokens", "series", "--json").json()["tz"] == "Australia/Lord_Howe"
    series = shell("tokens", "series", "--json", "--tz", "UTC", "--bucket", "hour").json()
    assert (series["tz"], series["bucket"]) == ("UTC", "hour")


@pytest.mark.parametrize(
    "words",
    [
        ["summary", "--since", "yesterday"], ["summary", "--since", "-1"],
        ["summary", "--since", "7d", "--until", "14d"], ["summary", "--since", "2026-13-01"],
        ["summary", "--until", "9" * 30], ["summary", "--since", "2026"],
        ["summary", "--since", "20260131"], ["summary", "--until", str(START_MS // 1000)],
        ["summary", "--since", ""], ["orphans", "--since", "2026"], ["orphans", "--idle", ""],
        ["series", "--tz", "Mars/Olympus"], ["series", "--tz", "../../etc/passwd"],
        ["series", "--bucket", "year"], ["sessions", "--limit", "0"],
        ["sessions", "--limit", "many"], ["orphans", "--idle", "soon"], ["orphans", "--idle", "0"],
        ["trace"], ["snapshot"], ["nonsense"], [],
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(home: LedgerHome, shell: Shell, words: list[str]) -> None:
    """What cannot be understood is said in a sentence, never in a traceback."""
    result = shell("tokens", *words)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert result.out == ""
    assert words or "There is scan, summary, " in result.err


def test_a_span_without_a_unit_is_refused(shell: Shell) -> None:
    """`--idle 5` was five milliseconds, and people mean minutes: the sentence shows the way."""
    result = shell("tokens", "orphans", "--idle", "5")
    assert result.code == 2
    assert "'5' names no unit: write 5m for minutes" in result.err


def test_an_empty_home_says_where_it_looked(home: LedgerHome, shell: Shell) -> None:
    """Where there is nothing to read, the places and the way out are named."""
    result = shell("tokens", "scan")
    assert result.code == 0
    assert f"{home.claude}/projects" in result.out
    assert "--claude-dir" in result.out
    assert shell("tokens", "scan", "--json").json()["summary"]["eventCount"] == 0


@pytest.mark.parametrize("command", ["summary", *LISTS, "status"])
def test_before_the_first_scan_every_question_has_an_answer(
    home: LedgerHome, shell: Shell, command: str
) -> None:
    """A ledger that is not there yet is empty, and asking makes none."""
    assert shell("tokens", command).code == 0
    assert shell("tokens", command, "--json").json()
    assert not os.path.exists(home.database)


@pytest.mark.parametrize("command", LISTS)
def test_a_list_without_rows_says_so(home: LedgerHome, shell: Shell, command: str) -> None:
    """No bare line of column heads: a sentence, and the way out where the ledger is empty."""
    result = shell("tokens", command)
    assert "instar tokens scan" in result.out
    two_sessions(home)
    shell("tokens", "scan")
    result = shell("tokens", command, "--since", "2031-01-01")
    assert (result.code, result.out.count("\n")) == (0, 1)
    assert result.out.startswith(("Nothing in this span.", "No session has gone quiet."))


def test_a_folder_that_is_named_and_not_there_is_said(home: LedgerHome, shell: Shell) -> None:
    """A mistyped `--claude-dir` does not pass for a folder without news."""
    two_sessions(home)
    assert shell("tokens", "scan").err == ""
    result = shell("tokens", "scan", *transcripts_at(home.claude.with_name("typo")))
    assert (result.code, "There is no folder projects/ in" in result.err) == (0, True)
    assert "typo" in result.err


def test_a_long_path_fits_a_terminal_and_is_whole_in_a_pipe(home: LedgerHome, shell: Shell) -> None:
    """The end of a path is kept where somebody looks on; nothing is cut for a program."""
    path = "/home/ada/" + "deep/" * 40 + "harbour"
    home.write(SESSION, said("m1", "r1", cwd=path))
    shell("tokens", "scan")
    for command in ("sessions", "by-project", "orphans"):
        shown = shell("tokens", command, tty=True).out
        assert max(map(len, shown.splitlines())) <= 100
        assert "…" in shown
        assert "/harbour" in shown
        assert path in shell("tokens", command).out


def test_other_folders_than_the_configured_ones(home: LedgerHome, shell: Shell) -> None:
    """`--claude-dir` names the folders to read, several if need be, over every default."""
    folders = [home.claude.with_name(name) for name in ("one", "two")]
    for i, folder in enumerate(folders):
        (folder / "projects/a").mkdir(parents=True)
        (folder / "projects/a/s.jsonl").write_bytes(said(f"m{i}", f"r{i}") + b"\n")
    home.write(SESSION, said("m9", "r9"))
    words = [word for folder in folders for word in transcripts_at(folder)]
    assert shell("tokens", "scan", "--json", *words).json()["summary"]["eventCount"] == 2


def test_progress_is_shown_on_a_terminal_only(home: LedgerHome, shell: Shell) -> None:
    """A pipe gets the answer and nothing else; a terminal's line is cleared at the end."""
    two_sessions(home)
    assert shell("tokens", "scan").err == ""
    assert shell("tokens", "rebuild", tty=True, err_tty=False).err == ""  # instar ... 2>log
    assert shell("tokens", "rebuild", err_tty=True).err.endswith(" \r")  # instar ... | less


def test_a_rebuild_takes_nothing_away(home: LedgerHome, shell: Shell) -> None:
    """Requests of deleted transcripts stay, and what is there is read again."""
    two_sessions(home)
    before = shell("tokens", "scan", "--json").json()["summary"]
    os.unlink(home.claude / SESSION)
    home.write("projects/a/new.jsonl", said("m1", "r1"))
    assert shell("tokens", "rebuild", "--json").json()["summary"] == before


@pytest.mark.parametrize("command", ["scan", "rebuild"])
def test_writing_beside_the_holder_of_the_lease_is_exit_code_3(
    home: LedgerHome, shell: Shell, command: str
) -> None:
    """A process that holds the lease is named; reading goes on beside it."""
    two_sessions(home)
    shell("tokens", "scan")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        result = shell("tokens", command)
        assert result.code == 3
        assert str(holder.pid) in result.err
        assert shell("tokens", "summary", "--json").json()["summary"]["eventCount"] == 2
    finally:
        holder.communicate()
    assert shell("tokens", command).code == 0


def test_status_says_how_far_reading_has_come(home: LedgerHome, shell: Shell) -> None:
    """Files, bytes, requests and skips, for people and scripts."""
    path = home.write(SESSION, said(), b"broken")
    shell("tokens", "scan")
    found = shell("tokens", "status", "--json").json()
    assert (found["requests"], found["sessions"], found["skips"]) == (1, 1, {"malformed": 1})
    assert (found["files"]["read"], found["bytes"]["read"]) == (1, path.stat().st_size)
    assert found["ledgerBytes"] > 0
    assert "Skipped 1 line: malformed" in shell("tokens", "status").out


@pytest.mark.parametrize("command", ["scan", "summary", "sessions"])
def test_a_ledger_that_is_somebody_elses(home: LedgerHome, shell: Shell, command: str) -> None:
    """A foreign database is named and left alone: exit code 1, no traceback."""
    os.makedirs(os.path.dirname(home.database), mode=0o700)
    connection = apsw.Connection(home.database)
    connection.execute("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup')")
    connection.close()
    result = shell("tokens", command)
    assert (result.code, "Traceback" in result.err) == (1, False)
    assert "token-ledger.db" in result.err


def test_an_old_ledger_that_is_in_use(home: LedgerHome, shell: Shell) -> None:
    """While instar 0.28 runs, a scan says so and what to do; afterwards it takes over."""
    make_old_ledger(home.database, [old_row("r1")])
    with held_open(home.database):
        result = shell("tokens", "scan")
        assert result.code == 1
        assert "Stop that process" in result.err
    result = shell("tokens", "scan", "--json")
    assert "Took over" in result.err
    assert result.json()["summary"]["eventCount"] == 1


HOSTILE = "\x1b]0;owned\x07\x1b[31m\u202egnp.\x9b2J\r\n\t"


@pytest.mark.parametrize("command", ["scan", "summary", *LISTS, "status", "trace evil"])
def test_words_from_transcripts_never_drive_the_terminal(
    home: LedgerHome, shell: Shell, command: str
) -> None:
    """T13: names, ids, models and folders with escapes in them are shown, never obeyed."""
    line = said(
        "evil", HOSTILE, session=HOSTILE, cwd="/" + HOSTILE, model=HOSTILE, branch=HOSTILE,
        version=HOSTILE, agent_id=HOSTILE, tier=HOSTILE,
    )  # fmt: skip
    home.write(b"projects/\x1b[31m-a\nb\xff/\x1b]0;x\x07.jsonl", line)
    shell("tokens", "scan")
    result = shell("tokens", *command.split())
    assert result.code == 0
    for character in result.out + result.err:
        assert character == "\n" or character.isprintable(), ascii(character)


def test_hostile_arguments_are_shown_too(home: LedgerHome, shell: Shell) -> None:
    """What was asked for and not found is repeated without its control characters."""
    result = shell("tokens", "trace", HOSTILE)
    assert result.code == 1
    assert all(c == "\n" or c.isprintable() for c in result.err)


def test_the_answer_of_a_scan_is_one_json_document(home: LedgerHome, shell: Shell) -> None:
    """With `--json` standard output is JSON from first to last byte, even after a take-over."""
    make_old_ledger(home.database, [old_row("r1")])
    two_sessions(home)
    result = shell("tokens", "scan", "--json")
    assert json.loads(result.out)["summary"]["eventCount"] == 2
