"""What happens to transcripts over their life: they grow, fork, go, and come back as others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.corpus import START_MS, build
from tests.tokenledger.homes import EVER, SESSION, LedgerHome, said, true_answers
from tests.tokenledger.recounting import recounted, rollups_of

FORK = "projects/-home-dev-app/fork.jsonl"


def test_the_whole_life_of_a_session(home: LedgerHome) -> None:
    """Mid-stream, half a line, fork, deletion, reuse of the path: the totals never go back."""
    home.write(SESSION, said("m1", "r1", output=1))
    home.scan()
    assert home.tokens() == (10, 1)

    home.append(SESSION, said("m1", "r1", output=900, stop=True))
    home.scan()
    assert home.tokens() == (10, 900)

    line = said("m2", "r2", input=20, output=50)
    home.append(SESSION, line[:60], end=b"")
    home.scan()
    assert home.tokens() == (10, 900)
    home.append(SESSION, line[60:])
    home.scan()
    assert home.tokens() == (30, 950)

    copied = [said("m1", "r1", session="f"), said("m3", "r3", session="f", input=7, output=70)]
    home.write(FORK, *copied)
    home.scan()
    assert home.tokens() == (37, 1020)

    os.unlink(home.claude / SESSION)
    home.scan()
    assert home.tokens() == (37, 1020)
    os.unlink(home.claude / FORK)
    home.scan()
    assert home.tokens() == (37, 1020)

    home.write(SESSION, said("m9", "r9", input=1, output=5))
    home.scan()
    assert home.tokens() == (38, 1025)
    assert rollups_of(home) == recounted(home)


def test_the_same_life_with_a_restart_after_every_step(home: LedgerHome) -> None:
    """A new process after each step reads nothing twice and forgets nothing."""
    line = said("m2", "r2", input=20, output=50)
    steps = [(said("m1", "r1", output=1), b"\n"), (said("m1", "r1"), b"\n"), (line[:60], b"")]
    home.write(SESSION, end=b"")
    for data, end in [*steps, (line[60:], b"\n")]:
        home.append(SESSION, data, end=end)
        home.scan()
        home.restart()
    assert home.tokens() == (30, 950)


def test_an_unfinished_line_counts_once_when_it_is_finished(home: LedgerHome) -> None:
    """T6: a whole object without its newline counts, and again as a line it is the same request."""
    home.write(SESSION, said("m1", "r1", output=5), end=b"")
    home.scan()
    assert home.tokens() == (10, 5)
    home.append(SESSION, b"", said("m2", "r2"))
    home.scan()
    assert home.tokens() == (20, 905)


def test_a_copy_of_the_tree_adds_nothing(home: LedgerHome) -> None:
    """A backup of all transcripts beside the originals leaves every total alone."""
    corpus = build(home.claude, seed=20, sessions=24, scale="small", damaged=False)
    home.scan()
    before = home.answers()
    for path in corpus.files:
        copy = os.fsdecode(path).replace("/projects/", "/projects/zz-copy-", 1)
        Path(copy).parent.mkdir(parents=True, exist_ok=True)
        Path(copy).write_bytes(Path(os.fsdecode(path)).read_bytes())
    assert home.scan().files_seen == 2 * len(corpus.files)
    assert home.answers() == before == true_answers(corpus.truth(), EVER)


def test_what_was_read_outlives_every_transcript(home: LedgerHome) -> None:
    """After all transcripts are gone, a rebuild takes nothing away."""
    corpus = build(home.claude, seed=21, sessions=12, scale="small")
    home.scan()
    for path in corpus.files:
        os.unlink(path)
    home.scan()
    home.service.forget_marks()
    home.scan()
    assert home.answers() == true_answers(corpus.truth(), EVER)


def test_marks_of_deleted_files_go(home: LedgerHome) -> None:
    """C-35: a file that has gone leaves its requests and no mark, skip or waiting byte."""
    home.write(SESSION, said(), b"broken")
    home.scan()
    os.unlink(home.claude / SESSION)
    home.scan()
    status = home.status()
    assert (status["files"]["read"], status["skips"], status["requests"]) == (0, {}, 1)


def test_a_rename_counts_nothing_twice(home: LedgerHome) -> None:
    """A file under a new name is read again and adds nothing."""
    path = home.write(SESSION, said("m1", "r1"), said("m2", "r2"), b"broken")
    home.scan()
    path.rename(path.with_name("renamed.jsonl"))
    home.scan()
    assert (home.tokens(), home.skips()) == ((20, 1800), {"malformed": 1})


@pytest.mark.parametrize("lines", [1, 3, 30])
def test_a_rewrite_in_place_is_read_whole(home: LedgerHome, lines: int) -> None:
    """C-23, T3: other content behind the same inode and head is read again from its beginning."""
    head = said("m0", "r0", cwd="/" + "x" * 400)
    path = home.write(SESSION, head, *(said(f"a{i}", f"a{i}", output=1) for i in range(3)))
    home.scan()
    new = b"\n".join([head, *(said(f"b{i}", f"b{i}", output=1) for i in range(lines))]) + b"\n"
    with path.open("r+b") as file:
        file.write(new)
        file.truncate()
    home.scan()
    assert home.summary()["eventCount"] == 4 + lines


def test_a_truncated_file_refilled_to_its_old_size_is_read_again(home: LedgerHome) -> None:
    """T2, T3: same inode and same size are not the same file."""
    path = home.write(SESSION, said("m1", "r1"))
    home.scan()
    inode = path.stat().st_ino
    home.write(SESSION, said("m2", "r2"))
    assert path.stat().st_ino == inode
    home.scan()
    assert home.tokens() == (20, 1800)


def test_a_truncated_file_counts_its_skips_anew(home: LedgerHome) -> None:
    """Skips are those of the file as it is: a rewrite forgets what the old content had."""
    home.write(SESSION, b"broken", b"broken", said())
    home.scan()
    home.write(SESSION, b"broken")
    home.scan()
    assert home.skips() == {"malformed": 1}


def test_a_file_that_grows_byte_by_byte(home: LedgerHome) -> None:
    """C-24, T4: a short file that grows is one file, never taken for a rotated one."""
    home.write(SESSION, end=b"")
    for byte in said() + b"\n":
        home.append(SESSION, bytes([byte]), end=b"")
        home.scan()
    (request,) = home.requests()
    assert (request["output"], request["offset"]) == (900, 0)
    assert home.status()["bytes"]["read"] == len(said()) + 1


def test_a_file_recreated_under_its_name(home: LedgerHome) -> None:
    """D1-11: unlinked and made again, whatever its inode, it is read from its beginning."""
    path = home.write(SESSION, said("m1", "r1"))
    home.scan()
    path.unlink()
    home.write(SESSION, said("m2", "r2"))
    home.scan()
    assert home.summary()["eventCount"] == 2


def test_a_late_origin_moves_a_request_to_its_session(home: LedgerHome) -> None:
    """When the earlier copy is found later, session, project and every total move with it."""
    home.write(FORK, said(session="copy", ts=START_MS + 86_400_000, cwd="/copy"))
    home.scan()
    home.write(SESSION, said(session="origin", ts=START_MS, cwd="/origin"))
    home.scan()
    home.assert_true()
    assert [row["sessionId"] for row in home.answers()["sessions"]] == ["origin"]
    assert rollups_of(home) == recounted(home)
