"""`instar threads ...`: what it prints, what it exits with, and what no message can make it do."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from instar_host.cli import main
from instar_host.lease import Lease
from instar_threadline import commands
from instar_threadline.record import views
from instar_threadline.record.readers import Readers
from tests.screens import Screen
from tests.threadline.logs import DAWN, GAIL, Seen, open_log, received, sent

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run `instar threads ...` on a state directory with two threads."""
    monkeypatch.setenv("INSTAR_AUTH_TOKEN", "test-auth-token")
    log = open_log(state_dir)
    log.record(
        [
            received("the \x1b[31mground\x1b[0m truth", id="m-1"),
            sent("under\u202estood", id="o-1"),
            received("```\n# not a heading", thread_id="t-2", counterparty=GAIL, id="m-2"),
        ]
    )
    log.close()

    def instar(*arguments: str) -> tuple[int, str]:
        code = main(["threads", *arguments, "--state-dir", str(state_dir)])
        return code, capsys.readouterr().out

    return instar


def test_the_list_names_thread_agent_and_fingerprint(run: Run) -> None:
    """One line a thread, the latest first."""
    code, out = run("list")
    assert code == 0
    assert "t-1" in out
    assert DAWN[:16] in out
    assert json.loads(run("list", "--json")[1])["count"] == 2
    assert json.loads(run("list", "--json", "--agent", "dawn")[1])["count"] == 2
    assert json.loads(run("list", "--json", "--agent", GAIL)[1])["count"] == 1


def test_no_message_can_drive_the_terminal(run: Run) -> None:
    """Escapes and direction marks are printed as what they are."""
    code, out = run("show", "t-1")
    assert code == 0
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b[31mground" in out


def test_a_thread_that_is_not_there_is_a_one(run: Run) -> None:
    """Exit 1, and the name is said."""
    assert run("show", "nowhere")[0] == 1
    assert run("export", "nowhere")[0] == 1


def test_search_finds_or_exits_with_one(run: Run) -> None:
    """Like grep: 0 with hits, 1 without."""
    code, out = run("search", "GROUND")
    assert (code, "«ground»" in out) == (0, True)
    assert run("search", "absent words")[0] == 1
    assert json.loads(run("search", "heading", "--json")[1])["count"] == 1


def test_verify_says_both_answers(run: Run, state_dir: Path) -> None:
    """C-67: 0 when everything verifies; 1, naming the first bad record, when not."""
    code, out = run("verify")
    assert (code, "integrity: ok   completeness: complete" in out) == (0, True)
    path = state_dir / "threadline" / "inbox.jsonl.active"
    path.write_bytes(path.read_bytes().replace(b"truth", b"TRUTH"))
    code, out = run("verify")
    assert (code, "altered at entry 2" in out) == (1, True)
    verdict = json.loads(run("verify", "--json")[1])
    assert (verdict["integrity"], verdict["ok"]) == ("broken", False)


def test_export_is_whole(run: Run) -> None:
    """JSON lines and Markdown hold every message; in Markdown a text is only ever text."""
    lines = [json.loads(line) for line in run("export")[1].splitlines()]
    assert sorted(line["id"] for line in lines) == ["m-1", "m-2", "o-1"]
    out = run("export", "t-2", "--format", "markdown")[1]
    assert "````text\n```\n# not a heading\n````\n" in out


def test_reading_needs_no_lease(run: Run, state_dir: Path) -> None:
    """While another process keeps the index, the commands read what it has."""
    run("list")
    lease = Lease(state_dir)
    assert lease.try_acquire()
    try:
        assert run("list")[0] == 0
        assert run("verify")[0] == 0
    finally:
        lease.release()


def test_wrong_usage_is_a_two(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that says nothing sensible is an error with its name."""
    assert run("list", "--since", "yesterday")[0] == 2
    for limit in ("0", "many", "10001"):
        assert main(["threads", "list", "--limit", limit]) == 2
        said = capsys.readouterr().err
        assert said.startswith("instar: argument --limit: a whole number from 1 to 10000\n")


def test_a_line_is_cut_for_a_person_and_whole_for_a_program(
    run: Run, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`instar threads list | grep FINGERPRINT` finds it however long the thread's name is."""
    log = open_log(state_dir)
    log.record([received("hello", id="m-9", thread_id="long-" * 30)])
    log.close()
    monkeypatch.setenv("COLUMNS", "40")
    assert f"{'long-' * 30}  Dawn ({DAWN[:16]})" in run("list")[1]
    monkeypatch.setattr(sys, "stdout", Screen())
    main(["threads", "list", "--state-dir", str(state_dir)])
    assert isinstance(sys.stdout, Screen)
    assert max(map(len, sys.stdout.getvalue().splitlines())) == 40


def test_a_search_that_takes_longer_goes_on_to_the_end(
    run: Run, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a page of the search ends without a hit, nobody is told that there is none."""
    decoys = [received("abd abc", thread_id="t-3") for _ in range(600)]  # all the trigrams
    first = received("abcabd", thread_id="t-3", timestamp="2020-01-01T00:00:00Z")
    open_log(state_dir).record([first, *decoys])
    monkeypatch.setattr(commands, "SEARCH_BUDGET_S", -1.0)

    assert run("search", "abcabd")[0] == 0
    assert json.loads(run("search", "abc", "--limit", "601", "--json")[1])["count"] == 601
    assert run("search", "abdabd")[0] == 1


def test_what_no_thread_can_be_called_is_no_thread(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """An argument that is no UTF-8 is a sentence, and a text that no search takes is another."""
    assert [run(command, "\udcff")[0] for command in ("show", "export")] == [1, 1]
    assert run("search", "x" * 501)[0] == 2


def test_an_export_has_all_that_there_is_while_more_comes(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message once, in order, a page in memory at a time; threads that move are not missed."""
    monkeypatch.setattr(views, "PAGE_MESSAGES", 2)
    log = open_log(state_dir)
    log.record([received(str(i), thread_id=f"t-{i % 3}", id=str(i)) for i in range(15)])
    seen = Seen(state_dir)
    found, more = list[str](), iter(range(15, 30))
    for thread_id in seen.views.thread_ids():
        for message in seen.views.messages(thread_id):
            found.append(message.id)
            n = next(more, None)
            if n is not None:  # to a thread that is behind: it becomes the latest one
                log.record([received(str(n), thread_id="t-0", timestamp="2030-01-01T00:00:00Z")])
                seen.refresh()
    seen.close()
    assert set(map(str, range(15))) <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("limit", [0, 300], ids=["nothing", "no page"])
def test_what_is_indexed_is_shown_on_a_full_disk(
    run: Run, state_dir: Path, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    """S5: looking needs no room: what cannot be taken in now is missing, and standard error says
    why."""
    run("list")
    open_log(state_dir).record([received("later", thread_id="t-3")])
    readers = Readers(state_dir)  # of a host, say: without any, SQLite needs room to share memory
    with readers.connection() as held:
        held.execute("SELECT 1 FROM streams").fetchall()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        code = main(["threads", "list", "--json", "--state-dir", str(state_dir)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr()
    readers.close()
    assert (code, json.loads(said.out)["count"]) == (0, 2)
    assert said.err
    assert json.loads(run("list", "--json")[1])["count"] == 3
