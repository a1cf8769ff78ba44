"""The list of what is wrong with the record: every place, in order, in pages, as plain text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from instar_host.cli import main
from instar_threadline.record.findings import FindingKind
from instar_threadline.record.problems import WORDS, Problem, Problems
from tests.threadline.logs import Seen, open_log, original_line, received, write_original

HOSTILE = b"<img src=x onerror=alert(1)>\x1b[31m\xff\n"


def spoiled_log(state_dir: Path) -> Path:
    """Six lines of ours; the second is changed, and three that nobody announced follow."""
    log = open_log(state_dir)
    log.record([received(f"text {i}", id=f"m-{i}") for i in range(6)])
    log.close()
    path = state_dir / "threadline" / "inbox.jsonl.active"
    data = path.read_bytes().replace(b"text 1", b"text X")
    path.write_bytes(data + HOSTILE + b"null\n" + original_line("in", "another token"))
    return path


def test_every_kind_has_words() -> None:
    """No finding is shown without a sentence."""
    assert set(WORDS) == set(get_args(FindingKind))


def test_every_bad_record_is_listed_once_in_order(tmp_path: Path) -> None:
    """Pages give all of them, where they stand, with what stands there as text."""
    path = spoiled_log(tmp_path)
    seen = Seen(tmp_path)
    problems = Problems(seen.readers, tmp_path)
    whole = problems.page()
    assert [one.kind for one in whole.problems] == ["altered"] + ["inserted"] * 3
    assert (whole.count, whole.total, whole.next_cursor) == (4, 4, None)
    assert [one.offset for one in whole.problems] == sorted(one.offset for one in whole.problems)
    data = path.read_bytes()
    for one in whole.problems:
        assert one.file == path.name
        line = data[one.offset :].partition(b"\n")[0].decode("utf-8", "replace")
        assert line.startswith(one.excerpt.removesuffix("…"))
    paged: list[Problem] = []
    start = 0
    while True:
        page = problems.page(limit=1, start=start)
        paged += page.problems
        if page.next_cursor is None:
            break
        start = int(page.next_cursor)
    assert tuple(paged) == whole.problems
    seen.close()


def test_an_unreadable_line_says_why(tmp_path: Path) -> None:
    """In a log without a chain too: the reason is the reader's, the bytes are shown shortened."""
    write_original(tmp_path, [original_line("in"), b"[" * 5000 + b"\n", b"{}\n", b'"x"\n'])
    seen = Seen(tmp_path)
    found = Problems(seen.readers, tmp_path).page().problems
    assert [one.kind for one in found] == ["unreadable"] * 3
    assert [one.words.partition(": ")[2] for one in found] == [
        "nested too deeply", "no thread id", "not an object",
    ]  # fmt: skip
    assert len(found[0].excerpt) < 300
    seen.close()


def test_the_terminal_shows_the_first_and_counts_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify --limit`, and all of them with `--json`; no bytes of the log drive the terminal."""
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o700)
    monkeypatch.setenv("INSTAR_AUTH_TOKEN", "test-auth-token")
    spoiled_log(state_dir)
    arguments = ["threads", "verify", "--state-dir", str(state_dir)]
    assert main([*arguments, "--limit", "2"]) == 1
    out = capsys.readouterr().out
    assert "altered at entry 3" in out
    assert "and 2 more" in out
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "onerror=alert(1)>\\x1b[31m\ufffd" in out
    assert "\x1b" not in out
    assert "more;" not in out
    assert main([*arguments, "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["streams"][0]["findings"]) == 4
