"""Verification: every single tampering has a name, and nothing else has one."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instar_threadline.record.chain import HEAD_SLOT_BYTES, read_entry, seal
from instar_threadline.record.signing import derive_key, digest, sign
from instar_threadline.record.verify import Verdict, verify
from tests.threadline.logs import (
    GAIL,
    TOKEN,
    Seen,
    StillClock,
    keyring,
    open_log,
    original_line,
    received,
    sent,
    write_original,
)

COUNT = 12


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of twelve messages each way, appended in several batches."""
    folder = tmp_path_factory.mktemp("whole")
    fill(folder)
    return folder


def fill(folder: Path, count: int = COUNT, rotate_bytes: int = 1 << 20) -> None:
    clock = StillClock()
    log = open_log(folder, clock, rotate_bytes=rotate_bytes)
    for i in range(count):
        clock.ms += 1000
        thread = f"t-{i % 3}"
        log.record(
            [received(f"in {i}", id=f"i-{i}", thread_id=thread), sent(f"out {i}", id=f"o-{i}")]
        )
    log.close()


class Copy:
    """A copy of a log to do harm to."""

    def __init__(self, whole: Path, folder: Path) -> None:
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        self.folder = folder
        self.inbox = folder / "threadline" / "inbox.jsonl.active"
        self.outbox = folder / "threadline" / "outbox.jsonl.active"
        self.chain = folder / "threadline" / "inbox.chain.active"
        self.head = folder / "threadline" / "inbox.head"

    def lines(self) -> list[bytes]:
        return self.inbox.read_bytes().splitlines(keepends=True)

    def verdict(self) -> Verdict:
        return verify(self.folder, keyring(self.folder))


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Copy:
    return Copy(whole, tmp_path)


def test_an_untouched_log_is_whole(copy: Copy) -> None:
    """Nothing done, nothing found: genuine and complete, both said."""
    verdict = copy.verdict()
    assert (verdict.ok, verdict.integrity, verdict.completeness) == (True, "ok", "complete")
    assert [stream.lines for stream in verdict.streams] == [COUNT, COUNT]


def test_a_rotated_log_is_whole(tmp_path: Path) -> None:
    """The chain goes on from file to file; a missing file is a gap."""
    fill(tmp_path, rotate_bytes=900)
    assert verify(tmp_path, keyring(tmp_path)).ok
    for name in ("inbox.jsonl.000002", "inbox.chain.000002"):
        (tmp_path / "threadline" / name).unlink()
    verdict = verify(tmp_path, keyring(tmp_path))
    assert (verdict.ok, verdict.completeness) == (False, "short")


MUTATIONS = (
    "edit", "delete", "insert-old", "insert-new", "swap", "duplicate", "cut-head", "cut-middle",
    "cut-tail", "splice-direction", "replay-at-end", "other-key", "torn-middle", "blank", "empty",
)  # fmt: skip


def harm(copy: Copy, kind: str, at: int) -> None:
    """Do one kind of harm at line `at` of the inbox."""
    lines = copy.lines()
    other = copy.outbox.read_bytes().splitlines(keepends=True)[at]
    forged, _ = sign(json.loads(lines[at]) | {"text": "forged"}, derive_key("another"))
    changes: dict[str, list[bytes]] = {
        "edit": [*lines[:at], lines[at].replace(b'"text":"in', b'"text":"IN'), *lines[at + 1 :]],
        "delete": [*lines[:at], *lines[at + 1 :]],
        "insert-old": [*lines[:at], lines[(at + 5) % COUNT], *lines[at:]],
        "insert-new": [*lines[:at], forged + b"\n", *lines[at:]],
        "swap": [*lines[:at], *reversed(lines[at : at + 2]), *lines[at + 2 :]],
        "duplicate": [*lines[: at + 1], *lines[at:]],
        "cut-head": lines[at + 1 :],
        "cut-middle": [*lines[: at - 1], *lines[at + 1 :]],
        "cut-tail": lines[: COUNT - 1 - at],
        "splice-direction": [*lines[:at], other, *lines[at + 1 :]],
        "replay-at-end": [*lines, lines[at]],
        "other-key": [*lines[:at], forged + b"\n", *lines[at + 1 :]],
        "torn-middle": [*lines[:at], lines[at][: len(lines[at]) // 2], *lines[at + 1 :]],
        "blank": [*lines[:at], b"\n", *lines[at:]],
        "empty": [],
    }
    copy.inbox.write_bytes(b"".join(changes[kind]))


@pytest.mark.parametrize("kind", MUTATIONS)
@settings(max_examples=8, deadline=None)
@given(at=st.integers(1, COUNT - 2))
def test_every_single_tampering_is_named(whole: Path, kind: str, at: int) -> None:
    """S1, C-67: whatever is done to one place, verify names a place, and the other file is fine.

    The first bad record is the one where the harm begins; for a cut tail it is the first line gone.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(whole, Path(folder))
        harm(copy, kind, at)
        verdict = copy.verdict()
        inbox, outbox = verdict.streams
        assert not verdict.ok
        assert inbox.first_bad is not None
        assert outbox.finding_count == 0
        begins = {"cut-head": 0, "cut-middle": at - 1, "cut-tail": COUNT - 1 - at, "empty": 0,
                  "duplicate": at + 1, "replay-at-end": COUNT - 1}.get(kind, at)  # fmt: skip
        assert inbox.first_bad.n in (begins + 1, begins + 2)  # the first entry opens the file
        gone = {
            "delete": 1,
            "cut-head": at + 1,
            "cut-middle": 2,
            "cut-tail": at + 1,
            "empty": COUNT,
        }
        if kind in gone:
            assert (inbox.completeness, inbox.missing) == ("short", gone[kind])
        if kind in ("delete", "cut-head", "cut-middle", "cut-tail", "empty"):
            assert inbox.integrity == "ok"
        else:
            assert inbox.integrity == "broken"


def test_no_flipped_bit_passes(tmp_path: Path) -> None:
    """S2: each single bit of a log of fifty lines, sampled densely, is never ok when flipped."""
    fill(tmp_path, count=50)
    copy = Copy(tmp_path, tmp_path / "copy")
    good = copy.inbox.read_bytes()
    for at in range(0, len(good), 37):
        bad = bytearray(good)
        bad[at] ^= 1 << (at % 8)
        copy.inbox.write_bytes(bad)
        assert not copy.verdict().ok, at


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["inbox", "chain", "head"])
def test_no_flipped_bit_passes_at_any_byte(tmp_path: Path, name: str) -> None:
    """S2 in full: every byte of log, chain and head of fifty messages received."""
    log = open_log(tmp_path / "whole", StillClock())
    for i in range(50):
        log.record([received(f"in {i}", id=f"i-{i}", thread_id=f"t-{i % 3}")])
    log.close()
    copy = Copy(tmp_path / "whole", tmp_path / "copy")
    path: Path = getattr(copy, name)
    good = path.read_bytes()
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << (at % 8)
        path.write_bytes(bad)
        assert not copy.verdict().ok, at


@pytest.mark.parametrize("at", range(1, COUNT + 1))
def test_a_chain_that_is_tampered_with_is_named(whole: Path, tmp_path: Path, at: int) -> None:
    """An entry changed, dropped or cut off is named, and lines that stay verify."""
    for change in ("edit", "drop", "cut"):
        copy = Copy(whole, tmp_path / change)
        entries = copy.chain.read_bytes().splitlines(keepends=True)
        entries[at : at + 1 if change != "cut" else None] = (
            [entries[at].replace(b'"length":', b'"length":1')] if change == "edit" else []
        )
        copy.chain.write_bytes(b"".join(entries))
        verdict = copy.verdict()
        assert not verdict.ok
        assert verdict.streams[0].first_bad is not None


def test_log_and_chain_cut_together_are_short_by_what_the_head_counted(copy: Copy) -> None:
    """C-67, tail truncation: the head in its own file remembers."""
    copy.inbox.write_bytes(b"".join(copy.lines()[:-3]))
    entries = copy.chain.read_bytes().splitlines(keepends=True)
    copy.chain.write_bytes(b"".join(entries[:-3]))
    inbox = copy.verdict().streams[0]
    assert (inbox.integrity, inbox.completeness, inbox.missing) == ("ok", "short", 3)


def test_an_end_that_was_rewritten_with_the_key_is_not_what_the_head_counted(copy: Copy) -> None:
    """Whoever has the key and forgets the head is found: the head knows the entry, not only how
    many there are."""
    entries = copy.chain.read_bytes().splitlines(keepends=True)
    before, last = read_entry(entries[-2][:-1], 0), read_entry(entries[-1][:-1], 0).entry
    assert last is not None
    line = copy.lines()[-1][:-1]
    forged, mac = sign(json.loads(line) | {"text": "rewritten"}, derive_key(TOKEN))
    key = keyring(copy.folder).current
    entry = msgspec.structs.replace(last, length=len(forged), digest=digest(forged), mac=mac)
    copy.inbox.write_bytes(b"".join([*copy.lines()[:-1], forged + b"\n"]))
    copy.chain.write_bytes(b"".join([*entries[:-1], seal(entry, "in", before.chain, key)[0]]))
    first = copy.verdict().streams[0].first_bad
    assert first is not None
    assert (first.kind, first.n) == ("rewritten", last.n)


def test_a_line_and_its_entry_spliced_from_another_log_are_named(tmp_path: Path) -> None:
    """Two logs of one key, one line and its entry carried over together: the MAC of an entry holds
    the one before it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        open_log(tmp_path / name).record([received(f"{name} {i}", id=f"{i}") for i in range(4)])
    for file, at in (("inbox.jsonl.active", 2), ("inbox.chain.active", 3)):
        here, there = (tmp_path / name / "threadline" / file for name in ("one", "two"))
        lines = here.read_bytes().splitlines(keepends=True)
        lines[at] = there.read_bytes().splitlines(keepends=True)[at]
        here.write_bytes(b"".join(lines))
    first = verify(tmp_path / "one", keyring(tmp_path / "one")).streams[0].first_bad
    assert first is not None
    assert (first.kind, first.n) == ("entry-altered", 4)


def test_a_copied_entry_announces_nothing_and_is_named_where_it_stands(copy: Copy) -> None:
    """An old entry once more at the end of the chain: the end is the bad place, all lines stay."""
    entries = copy.chain.read_bytes().splitlines(keepends=True)
    copy.chain.write_bytes(b"".join([*entries, entries[3]]))
    inbox = copy.verdict().streams[0]
    assert inbox.first_bad is not None
    assert (inbox.first_bad.kind, inbox.first_bad.n) == ("entry-altered", len(entries) + 1)
    assert (inbox.chained, inbox.missing, inbox.finding_count) == (COUNT, 0, 1)


def test_an_altered_entry_is_named_and_gives_up_nothing(tmp_path: Path) -> None:
    """S1: an offset that is claimed by an entry whose MAC fails moves no other entry."""
    first_line = original_line("in", TOKEN)
    write_original(tmp_path, [first_line, b"{"])
    open_log(tmp_path).record([received("after the torn line")])
    chain = tmp_path / "threadline" / "inbox.chain.active"
    entries = chain.read_bytes().splitlines(keepends=True)
    at = len(first_line)
    entries[2] = entries[2].replace(b'"offset":%d' % at, b'"offset":%d' % (at - 10))
    chain.write_bytes(b"".join(entries))
    inbox = verify(tmp_path, keyring(tmp_path)).streams[0]
    assert [(found.kind, found.n) for found in inbox.findings] == [("entry-altered", 3)]
    seen = Seen(tmp_path)
    assert seen.views.integrity().streams[0].findings == inbox.findings
    seen.close()


def test_a_head_that_was_altered_stays_known_after_later_appends(copy: Copy) -> None:
    """Whoever spoils the newer half of the head, and cuts off the last append, is remembered."""
    entries = copy.chain.read_bytes().splitlines(keepends=True)
    halves = copy.head.read_bytes()
    newer = max(
        (0, HEAD_SLOT_BYTES), key=lambda at: msgspec.json.decode(halves[at : at + 512])["n"]
    )
    copy.head.write_bytes(halves[:newer] + b"#" + halves[newer + 1 :])
    copy.inbox.write_bytes(b"".join(copy.lines()[:-1]))
    copy.chain.write_bytes(b"".join(entries[:-1]))
    for later in ("one", "two"):
        open_log(copy.folder).record([received(later)])
        inbox = copy.verdict().streams[0]
        assert (inbox.integrity, inbox.completeness) == ("ok", "unknown")
        assert [finding.kind for finding in inbox.findings] == ["head-altered"]


@pytest.mark.parametrize("kind", MUTATIONS)
def test_the_index_names_what_verify_names(copy: Copy, kind: str) -> None:
    """The tab and the command give the same two answers and the same first bad record."""
    harm(copy, kind, 5)
    seen = Seen(copy.folder)
    found, said = seen.views.integrity(), copy.verdict()
    seen.close()
    assert (found.ok, found.integrity, found.completeness) == (
        said.ok, said.integrity, said.completeness,
    )  # fmt: skip
    assert found.streams[0].first_bad == said.streams[0].first_bad


def test_a_head_that_went_missing_stays_known_after_later_appends(copy: Copy) -> None:
    """Whoever deletes the head, and then the tail of log and chain, is not covered up for by the
    next append."""
    entries = copy.chain.read_bytes().splitlines(keepends=True)
    copy.head.unlink()
    copy.inbox.write_bytes(b"".join(copy.lines()[:-2]))
    copy.chain.write_bytes(b"".join(entries[:-2]))
    open_log(copy.folder).record([received("later")])
    inbox = copy.verdict().streams[0]
    assert (inbox.integrity, inbox.completeness) == ("ok", "short")
    assert inbox.first_bad is not None
    assert inbox.first_bad.kind == "head-missing"


@pytest.mark.parametrize("name", ["inbox.head", "inbox.chain.active", "inbox.jsonl.active"])
def test_a_deleted_file_is_named(copy: Copy, name: str) -> None:
    """No file of the log can vanish without a word."""
    (copy.folder / "threadline" / name).unlink()
    verdict = copy.verdict()
    assert not verdict.ok
    assert verdict.completeness == "short"


def test_a_loss_stays_known_after_later_appends(copy: Copy) -> None:
    """A log that went on after a loss still says how many lines are gone, and what came is
    whole."""
    copy.inbox.write_bytes(b"".join(copy.lines()[:-2]))
    open_log(copy.folder).record([received("later")])
    inbox = copy.verdict().streams[0]
    assert (inbox.integrity, inbox.completeness, inbox.missing) == ("ok", "short", 2)
    assert inbox.lines == COUNT - 1


def test_lines_of_the_original_are_genuine_but_unchained(tmp_path: Path) -> None:
    """Written without a chain: integrity yes, completeness unknown, exit code 0's verdict."""
    key = derive_key(TOKEN)
    folder = tmp_path / "threadline"
    folder.mkdir()
    written = [sign({"id": f"m-{i}", "timestamp": "2026-05-01T10:00:00.000Z", "from": GAIL,
                     "senderName": "Gail", "trustLevel": "trusted", "threadId": "t", "text": "x"},
                    key)[0] for i in range(5)]  # fmt: skip
    (folder / "inbox.jsonl.active").write_bytes(b"".join(line + b"\n" for line in written))
    before = verify(tmp_path, keyring(tmp_path))
    assert (before.ok, before.integrity, before.completeness) == (True, "ok", "unknown")
    open_log(tmp_path).record([received("ours")])
    after = verify(tmp_path, keyring(tmp_path)).streams[0]
    assert (after.unchained, after.chained, after.finding_count) == (5, 1, 0)
    lines = (folder / "inbox.jsonl.active").read_bytes().splitlines(keepends=True)
    (folder / "inbox.jsonl.active").write_bytes(b"".join(lines[:2] + lines[3:]))
    assert not verify(tmp_path, keyring(tmp_path)).ok


def test_a_copied_line_is_found_without_a_chain(tmp_path: Path) -> None:
    """The same bytes twice in a log without a chain: a replay, named."""
    line, _ = sign({"id": "m", "threadId": "t", "from": GAIL, "text": "x"}, derive_key(TOKEN))
    (tmp_path / "threadline").mkdir()
    (tmp_path / "threadline" / "inbox.jsonl.active").write_bytes((line + b"\n") * 2)
    verdict = verify(tmp_path, keyring(tmp_path))
    assert verdict.streams[0].first_bad is not None


def test_lines_signed_with_a_lost_key_are_of_unknown_integrity(copy: Copy) -> None:
    """S7: without the old key nothing is called broken, and nothing is called genuine."""
    (copy.folder / "threadline" / "keyring.json").unlink()
    verdict = verify(copy.folder, keyring(copy.folder, "a new token"))
    assert verdict.streams[0].integrity == "unknown"


def test_what_was_slipped_in_between_appends_stays_known(copy: Copy) -> None:
    """A replayed line at the end is taken into the chain by the next append, and still named."""
    copy.inbox.write_bytes(b"".join([*copy.lines(), copy.lines()[3]]))
    assert not copy.verdict().ok
    open_log(copy.folder).record([received("later")])
    inbox = copy.verdict().streams[0]
    assert inbox.first_bad is not None
    assert (inbox.first_bad.kind, inbox.missing) == ("inserted", 0)
