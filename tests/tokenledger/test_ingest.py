"""Finding and reading transcripts whatever the disk holds: odd names, odd files, odd moments."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from benchmarks.corpus import START_MS
from instar_host.store.tail import Lines
from instar_host.testing import MakeHost
from instar_tokenledger.ingest import Budget, Ingest
from instar_tokenledger.ledger import Ledger
from instar_tokenledger.sources.claude_code import claude_code
from instar_tokenledger.usage import Decoded, TokenSource
from tests.tokenledger.disk_faults import few_descriptors, odd_files, without_privileges
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said

FOLDER = "projects/-home-dev-app"
MIB = 1 << 20


def one(number: int, session: str = "session-1", cwd: str = "/home/dev/app") -> bytes:
    """A request of its own: 10 in, 900 out."""
    return said(f"m{number}", f"r{number}", session=session, cwd=cwd)


@pytest.fixture
def open_home(state_dir: Path, make_host: MakeHost) -> Iterator[LedgerHome]:
    """A home that every user may look into."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        made = LedgerHome(Path(folder), state_dir, make_host)
        made.write(f"{FOLDER}/fine.jsonl", one(0))
        made.scan()
        yield made
        made.close()
        os.chmod(folder, 0o755)


def test_a_null_line_stops_neither_file_nor_scan(home: LedgerHome) -> None:
    """C-17: the lines after a bare null and the files after that file are all read."""
    home.write(f"{FOLDER}/a.jsonl", one(1), b"null", one(2))
    home.write(f"{FOLDER}/b.jsonl", one(3))
    home.scan()
    assert (home.summary()["eventCount"], home.skips()) == (3, {"not-object": 1})


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_long_unfinished_line_cut_inside_a_character(home: LedgerHome, cut: int) -> None:
    """C-18: an emoji cut by the end of a long unfinished first line moves no offset below 0."""
    line = said(cwd="/" + "x" * 100_000 + "\U0001f600")
    at = line.index("\U0001f600".encode()) + cut
    home.write(SESSION, line[:at], end=b"")
    home.scan()
    assert home.status()["bytes"]["read"] == 0
    home.append(SESSION, line[at:], one(2))
    home.scan()
    assert home.summary()["eventCount"] == 2
    assert home.status()["bytes"]["read"] == os.path.getsize(home.claude / SESSION)


def test_every_cut_of_a_file_gives_the_same(home: LedgerHome) -> None:
    """T7: wherever a read ends, in a CR LF, a character or an escape, the lines are the same."""
    data = one(1, cwd="/größe") + b"\r\n" + one(2) + b"\n\n" + one(3) + b"\r\n"
    for cut in range(0, len(data), 7):
        name = f"{FOLDER}/{cut}.jsonl"
        home.write(name, data[:cut], end=b"")
        home.scan()
        home.append(name, data[cut:], end=b"")
    home.scan()
    assert (home.summary()["eventCount"], home.skips()) == (3, {})


def test_lines_that_are_all_skipped_move_the_mark(home: LedgerHome) -> None:
    """T9: a file with nothing that counts is read once."""
    path = home.write(SESSION, b"broken", b"[]", b'{"type":"user"}')
    assert home.scan().bytes_read == path.stat().st_size
    home.restart()
    assert home.scan().bytes_read == 0
    assert home.skips() == {"malformed": 1, "not-object": 1}


def test_a_line_too_long_is_passed_over_in_bounded_pieces(home: LedgerHome) -> None:
    """C-26, T8: a line over 16 MiB is one counted skip; what follows it counts."""
    path = home.write(SESSION, one(1), b"", end=b"")
    with path.open("ab") as file:
        for _ in range(30):
            file.write(b"x" * MIB)
        file.write(b"\n" + one(2) + b"\n")
    home.write(f"{FOLDER}/b.jsonl", one(3))
    steps = home.scan_all(lambda: Budget(bytes=4 * MIB))
    assert steps >= 4
    assert (home.summary()["eventCount"], home.skips()) == (3, {"too-long": 1})


def test_a_step_may_end_inside_a_file(home: LedgerHome) -> None:
    """C-26: bytes bound a step to a line more, and the next one goes on at that byte."""
    path = home.write(SESSION, *(one(i) for i in range(200)))
    sizes = [home.scan(Budget(bytes=5_000)).bytes_read for _ in range(4)]
    steps = [after - before for before, after in zip([0, *sizes], sizes, strict=False)]
    assert all(0 < step < 5_000 + len(one(1)) + 1 for step in steps)
    home.scan()
    assert home.summary()["eventCount"] == 200
    assert home.status()["bytes"]["read"] == path.stat().st_size


@pytest.mark.parametrize("budget", [Budget(rows=1), Budget(files=1), Budget(seconds=0.0)])
def test_every_budget_makes_progress(home: LedgerHome, budget: Budget) -> None:
    """However little a step may spend, steps come to an end."""
    for i in range(3):
        home.write(f"{FOLDER}/{i}.jsonl", one(i), one(i + 10))
    steps = home.scan_all(lambda: budget if budget.seconds is None else Budget(seconds=60.0))
    assert steps <= 10
    assert home.summary()["eventCount"] == 6


def test_unchanged_files_are_not_opened(home: LedgerHome, ledger: Ledger) -> None:
    """C-27: a file that has not changed costs a stat; nothing of it is read again."""
    for i in range(50):
        home.write(f"{FOLDER}/{i}.jsonl", one(i))
    opened: list[bytes] = []
    source = home.service.sources()[0]
    ingest = Ingest(ledger, [copy_of(source, opened)], clock_of(home))
    for expected in (50, 50):
        ingest.look()
        list(ingest.read(Budget()))
        assert len(opened) == expected


def copy_of(source: TokenSource, decoded: list[bytes]) -> TokenSource:
    """The source, noting each block that it decodes."""

    def decode(lines: Lines, state: bytes) -> Decoded:
        decoded.append(lines.data)
        return source.decode(lines, state)

    return msgspec.structs.replace(source, decode=decode)


def test_a_deleted_file_makes_no_other_wait(home: LedgerHome) -> None:
    """C-28: there is no place in a list that a deletion could shift."""
    for name in "abcd":
        home.write(f"{FOLDER}/{name}.jsonl", said(name, name))
    home.scan(Budget(files=2))
    (home.claude / FOLDER / "d.jsonl").unlink()
    for name in "abc":
        home.append(f"{FOLDER}/{name}.jsonl", said(name * 2, name * 2))
    home.scan()
    assert home.summary()["eventCount"] >= 6


def test_the_live_session_comes_first(home: LedgerHome) -> None:
    """C-29: the file changed last is read first, however many wait."""
    for i in range(40):
        path = home.write(f"{FOLDER}/{i:02}.jsonl", one(i, session=f"s{i}"))
        os.utime(path, (1_700_000_000 + i, 1_700_000_000 + i))
    live = home.claude / FOLDER / "17.jsonl"
    os.utime(live, (1_800_000_000, 1_800_000_000))
    home.scan(Budget(files=1))
    assert [row["sessionId"] for row in home.answers()["sessions"]] == ["s17"]


@pytest.mark.parametrize("when", [0, 86_400, 4_102_444_800])
def test_odd_file_times_hide_nothing(home: LedgerHome, when: int) -> None:
    """T18: a modification time of 1970 or 2100 keeps no file out."""
    path = home.write(SESSION, one(1))
    os.utime(path, (when, when))
    home.scan()
    assert home.summary()["eventCount"] == 1


@pytest.mark.parametrize(
    "name",
    [
        b"with\nnewline", b"with\ttab", b"\x1b[31mred", b"\xff\xfe", "größe".encode(),
        b"x" * 240, b" spaces ", b"'quote\"", unicodedata.normalize("NFD", "é").encode(),
    ],
)  # fmt: skip
def test_any_name_is_read_and_shown_without_harm(home: LedgerHome, name: bytes) -> None:
    """T13: names are bytes; they are kept as they are and shown escaped."""
    home.write(b"projects/" + name[:200] + b"/" + name + b".jsonl", one(1))
    home.scan()
    home.restart()
    assert home.scan().files_read == 0
    (request,) = home.requests()
    assert request["file"].isprintable()
    request["file"].encode()


def test_twins_by_normalization_are_two_files(home: LedgerHome) -> None:
    """T13: two spellings of one name are two files where the disk says so."""
    names = (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"))
    for i, name in enumerate(names):
        home.write(f"{FOLDER}/{name}.jsonl", one(i))
    home.scan()
    assert home.summary()["eventCount"] == len(os.listdir(home.claude / FOLDER))


def test_odd_files_are_never_opened(home: LedgerHome) -> None:
    """T11, T12: FIFO, socket, device, folder, dangling link and loop with a transcript's name."""
    home.write(f"{FOLDER}/fine.jsonl", one(1))
    assert len(odd_files(home.claude / FOLDER)) == 7
    assert home.scan().files_seen == 1
    assert home.summary()["eventCount"] == 1


def test_links_lead_nowhere(home: LedgerHome) -> None:
    """T11: neither a linked file nor a linked folder is followed out of the root; both count."""
    outside = home.claude.parent / "outside"
    outside.mkdir()
    (outside / "secret.jsonl").write_bytes(one(1) + b"\n")
    home.write(f"{FOLDER}/fine.jsonl", one(2))
    (home.claude / FOLDER / "link.jsonl").symlink_to(outside / "secret.jsonl")
    (home.claude / "projects" / "linked").symlink_to(outside)
    for _ in range(2):  # they count for as long as they are there
        assert home.scan().errors == {"symlink": 2}
    assert home.summary()["eventCount"] == 1
    (home.claude / "projects" / "linked").unlink()
    assert home.scan().errors == {"symlink": 1}


def test_a_root_that_is_a_link_is_fine(home: LedgerHome) -> None:
    """A configuration folder kept elsewhere is normal; only links below the root are refused."""
    elsewhere = home.claude.parent / "elsewhere"
    elsewhere.mkdir()
    (home.claude / "projects").symlink_to(elsewhere)
    home.write(SESSION, one(1))
    home.scan()
    assert home.summary()["eventCount"] == 1


def test_a_file_swapped_for_a_link_after_it_was_found(home: LedgerHome, ledger: Ledger) -> None:
    """T11: what the walk saw as a file and is a link at opening is not read, and is reported."""
    path = home.write(SESSION, one(1))
    secret = home.claude.parent / "secret.jsonl"
    secret.write_bytes(one(2) + b"\n")
    ingest = Ingest(ledger, home.service.sources(), clock_of(home))
    ingest.look()
    path.unlink()
    path.symlink_to(secret)
    list(ingest.read(Budget()))
    assert ingest.progress.errors == {"symlink": 1}
    assert ledger.known_mark(os.fsencode(path)) is None


def test_a_file_that_vanished_after_it_was_found(home: LedgerHome, ledger: Ledger) -> None:
    """T15: a file gone between the walk and its opening is no error, and others are read."""
    path = home.write(f"{FOLDER}/gone.jsonl", one(1))
    home.write(f"{FOLDER}/stays.jsonl", one(2))
    ingest = Ingest(ledger, home.service.sources(), clock_of(home))
    ingest.look()
    path.unlink()
    list(ingest.read(Budget()))
    assert (ingest.progress.errors, ingest.progress.files_read) == ({}, 1)


def test_a_folder_renamed_after_it_was_found(home: LedgerHome, ledger: Ledger) -> None:
    """T16: a whole folder renamed under the reader is found under its new name next time."""
    home.write(f"{FOLDER}/a.jsonl", one(1))
    ingest = Ingest(ledger, home.service.sources(), clock_of(home))
    ingest.look()
    (home.claude / FOLDER).rename(home.claude / "projects/renamed")
    for _ in range(2):
        list(ingest.read(Budget()))
        ingest.look()
    list(ingest.read(Budget()))
    assert ledger.known_mark(os.fsencode(home.claude / "projects/renamed/a.jsonl")) is not None


def test_a_deep_tree(home: LedgerHome) -> None:
    """T16: two hundred folders deep, a subagent's file is found."""
    deep = f"{FOLDER}/s/subagents/" + "d/" * 200
    home.write(f"{deep}agent-1.jsonl", one(1))
    home.scan()
    assert home.summary()["eventCount"] == 1


def test_a_sparse_file_of_a_terabyte(home: LedgerHome) -> None:
    """T12: a hole without end is passed over, not read."""
    path = home.write(SESSION, one(1))
    os.truncate(path, 1 << 40)
    home.scan_all(lambda: Budget(bytes=256 * MIB, seconds=30.0))
    assert home.summary()["eventCount"] == 1


@pytest.mark.parametrize("denied", [f"{FOLDER}/denied.jsonl", FOLDER])
def test_what_may_not_be_read_is_reported_and_read_later(
    open_home: LedgerHome, denied: str
) -> None:
    """C-19, T14: a file or folder without permission stops nothing; it is read once allowed."""
    home = open_home
    home.write(f"{FOLDER}/denied.jsonl", one(1))
    home.write("projects/other/fine.jsonl", one(2))
    mode = os.stat(home.claude / denied).st_mode
    os.chmod(home.claude / denied, 0)
    with without_privileges():
        progress = home.scan()
    assert dict(progress.errors) == {"Permission denied": 1}
    assert home.summary()["eventCount"] == 2
    os.chmod(home.claude / denied, mode)
    with without_privileges():
        assert not home.scan().errors
    assert home.summary()["eventCount"] == 3


def test_a_folder_that_cannot_be_listed_keeps_its_marks(open_home: LedgerHome) -> None:
    """T14: not seeing a file is no proof that it has gone."""
    home = open_home
    os.chmod(home.claude / FOLDER, 0)
    with without_privileges():
        home.scan()
    os.chmod(home.claude / FOLDER, 0o755)
    assert home.status()["files"]["read"] == 1
    assert home.scan().bytes_read == os.path.getsize(home.claude / FOLDER / "fine.jsonl")


@pytest.mark.parametrize("spare", [0, 1, 2, 3])
def test_out_of_descriptors(home: LedgerHome, spare: int) -> None:
    """C-19, T17: without descriptors a step reports and ends; the next one catches up."""
    for i in range(5):
        home.write(f"{FOLDER}/{i}.jsonl", one(i))
    home.service.close()
    home.scan(Budget(files=1))
    with few_descriptors(spare):
        errors = dict(home.scan().errors)
    assert errors in ({}, {"Too many open files": errors.get("Too many open files")})
    assert home.scan().errors == {}
    assert home.summary()["eventCount"] == 5


def test_roots_that_come_go_and_overlap(home: LedgerHome, ledger: Ledger) -> None:
    """T21: a missing root is no error, a root in another reads no file twice, marks outlive it."""
    roots = [home.claude / "projects", home.claude / "projects"]
    ingest = Ingest(ledger, [claude_code(lambda: roots)], clock_of(home))

    def scan() -> int:
        ingest.look()
        list(ingest.read(Budget()))
        return ingest.progress.files_seen

    assert scan() == 0
    assert not ingest.progress.errors
    home.write(SESSION, one(1))
    assert (scan(), ingest.progress.files_read) == (1, 1)
    (home.claude / "projects").rename(home.claude / "away")
    assert scan() == 0
    (home.claude / "away").rename(home.claude / "projects")
    assert (scan(), ingest.progress.files_read) == (1, 1)


def test_closing_in_the_middle_of_a_scan(home: LedgerHome) -> None:
    """C-33: a reader that stops half-way has committed what it said, and the next goes on."""
    for i in range(20):
        home.write(f"{FOLDER}/{i}.jsonl", one(i))
    steps = home.service.step(Budget(), lambda: False)
    for _ in range(5):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    home.restart()
    home.scan()
    assert home.summary()["eventCount"] == 20


def test_a_scan_that_is_told_to_stop_stops(home: LedgerHome) -> None:
    """C-33: between two blocks the reader asks whether the host is stopping."""
    for i in range(20):
        home.write(f"{FOLDER}/{i}.jsonl", one(i))
    asked = iter([False] * 6)
    list(home.service.step(Budget(), lambda: next(asked, True)))
    assert 0 < home.summary()["eventCount"] < 20
    home.scan()
    assert home.summary()["eventCount"] == 20


def test_instants_far_apart_are_kept(home: LedgerHome) -> None:
    """L12: requests of 1970 and 9999 are stored, summed and put into buckets."""
    home.write(SESSION, said("a", "a", ts=0), said("b", "b", ts=253_402_300_799_000), one(1))
    home.scan()
    home.assert_true()
    assert home.summary()["oldestEventTs"] == 0
    assert START_MS in [request["ts"] for request in home.requests()]
