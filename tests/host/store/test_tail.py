"""The tail: whole lines past a mark, whatever happened to the file in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from instar_host.store.tail import Lines, Mark, TooLong, open_tail, unchanged
from tests.host.store.tailing import Reader, append, numbered, rewrite_in_place

MiB = 1 << 20


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def test_each_whole_line_is_handed_out_once(log: Path) -> None:
    """Lines that stood before the mark never come again; new ones come at the next tick."""
    reader = Reader(log)
    log.write_bytes(b"one\ntwo\n")
    assert reader.tick() == [(0, b"one"), (4, b"two")]
    append(log, b"three\n")
    assert (reader.tick(), reader.verdict) == ([(8, b"three")], "grown")
    assert (reader.tick(), reader.verdict) == ([], "same")


@pytest.mark.parametrize("block_bytes", range(1, 25))
def test_no_block_border_changes_what_is_read(log: Path, block_bytes: int) -> None:
    """T7: a newline, a CR LF or an emoji across the border of a read gives the same lines."""
    content = b"first\r\n\n\xf0\x9f\x98\x80 long enough\nx\n" + "é€".encode() + b"\nlast\n"
    log.write_bytes(content)
    lines = Reader(log, block_bytes=block_bytes).tick()
    assert b"".join(line + b"\n" for _, line in lines) == content
    assert all(content[at : at + len(line)] == line for at, line in lines)


def test_an_unfinished_emoji_never_moves_the_mark_back(log: Path) -> None:
    """C-18: an unfinished first line with a character cut by the read leaves the mark at 0."""
    log.write_bytes(b"x" * 63 + "😀".encode())
    reader = Reader(log)
    assert (reader.lines(), reader.kept and reader.kept.offset) == ([], 0)
    append(log, b"!\n")
    assert reader.lines() == [b"x" * 63 + "😀!".encode()]


def test_an_unfinished_line_is_shown_but_stays_before_no_mark(log: Path) -> None:
    """T6: the last line without a newline is there to see, and is handed out once completed."""
    reader = Reader(log)
    log.write_bytes(b"whole\nhal")
    assert (reader.lines(), reader.unfinished) == ([b"whole"], b"hal")
    assert (reader.lines(), reader.unfinished) == ([], b"hal")
    append(log, b"f\n")
    assert (reader.lines(), reader.unfinished) == ([b"half"], None)


def test_a_file_that_grows_byte_by_byte_gives_each_line_once(log: Path) -> None:
    """C-24, T4: a short file keeps its identity while it grows; nothing is read twice."""
    reader = Reader(log)
    found: list[bytes] = []
    for byte in numbered(12):
        append(log, bytes([byte]))
        found += reader.lines()
        assert reader.verdict in ("new", "grown", "same")
    assert found == numbered(12).splitlines()


def test_a_rewrite_with_the_same_head_and_inode_is_read_from_the_start(log: Path) -> None:
    """C-23: same first 256 bytes, same inode, larger: the bytes before the mark give it away."""
    head = numbered(8)
    log.write_bytes(head + b"R1\nR2\n")
    reader = Reader(log)
    reader.tick()
    rewrite_in_place(log, head + b"R3\nR4\nR5\n")
    assert (reader.lines()[-3:], reader.verdict) == ([b"R3", b"R4", b"R5"], "rewritten")


@pytest.mark.parametrize("extra", [b"", b"and more\n"])
def test_copytruncate_refilled_to_the_old_size_or_more_is_read_anew(
    log: Path, extra: bytes
) -> None:
    """T3: a file cut to nothing and filled again to its old size, or past it, starts at 0."""
    log.write_bytes(numbered(20))
    reader = Reader(log)
    reader.tick()
    rewrite_in_place(log, numbered(20, start=100) + extra)
    assert reader.lines() == (numbered(20, start=100) + extra).splitlines()
    assert reader.verdict == "rewritten"


def test_a_truncated_file_is_read_anew(log: Path) -> None:
    """A file shorter than the mark begins again at 0."""
    log.write_bytes(numbered(20))
    reader = Reader(log)
    reader.tick()
    rewrite_in_place(log, b"fresh\n")
    assert (reader.lines(), reader.verdict) == ([b"fresh"], "truncated")


def test_a_reused_inode_is_no_proof_of_the_same_file(log: Path) -> None:
    """T2: another file of the same size under the same name and inode is read in full."""
    for attempt in range(200):
        log.write_bytes(numbered(3, start=attempt))
        reader = Reader(log)
        reader.tick()
        before = log.stat().st_ino
        log.unlink()
        log.write_bytes(numbered(3, start=attempt + 1000))
        if log.stat().st_ino == before:
            assert reader.lines() == numbered(3, start=attempt + 1000).splitlines()
            return
    pytest.skip("this file system does not reuse inodes")


def test_the_same_content_under_another_inode_goes_on(log: Path) -> None:
    """A file moved, copied or restored from a backup is not read again."""
    log.write_bytes(numbered(20))
    reader = Reader(log)
    reader.tick()
    other = log.with_name("copy")
    other.write_bytes(log.read_bytes() + b"new\n")
    other.replace(log)
    assert (reader.lines(), reader.verdict) == ([b"new"], "grown")


def test_identical_files_are_both_read(tmp_path: Path) -> None:
    """T5: identity is kept per path, so a copy of a session hides nothing."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(numbered(9))
        assert len(Reader(tmp_path / name).lines()) == 9


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_a_budget_stops_at_a_line_but_always_makes_progress(log: Path, block_bytes: int) -> None:
    """`max_bytes` bounds a call; a first line over it is still handed out whole, and alone."""
    log.write_bytes(b"a" * 500 + b"\n" + numbered(30))
    reader = Reader(log, block_bytes=block_bytes)
    assert reader.lines(max_bytes=10) == [b"a" * 500]
    sizes = []
    while lines := reader.lines(max_bytes=100):
        sizes.append(sum(len(line) + 1 for line in lines))
    assert (sum(sizes), max(sizes)) == (len(numbered(30)), 82)


def test_only_skipped_lines_still_move_the_mark(log: Path) -> None:
    """T9: a file of nothing but too long lines is not read again."""
    log.write_bytes((b"x" * 200 + b"\n") * 3)
    reader = Reader(log, max_line_bytes=100)
    reader.tick()
    reader.tick()
    assert [piece.offset for piece in reader.skipped] == [0, 201, 402]


def test_an_unchanged_file_needs_one_stat(log: Path) -> None:
    """`unchanged` holds once the end was seen, even of an unfinished line, until a change."""
    reader = Reader(log)
    log.write_bytes(b"whole\nhalf")
    reader.tick(max_bytes=1)
    kept = reader.kept
    assert kept is not None
    assert not unchanged(kept, log.stat())
    reader.tick()
    kept = reader.kept
    assert kept is not None
    assert unchanged(kept, log.stat())
    append(log, b"\n")
    assert not unchanged(kept, log.stat())


def test_a_rewrite_while_reading_is_noticed(log: Path) -> None:
    """A file rewritten between the check and the read, from its second part on, is read anew."""
    log.write_bytes(numbered(20))
    reader = Reader(log)
    reader.tick()
    append(log, numbered(15, start=20))
    fresh = numbered(8) + numbered(40, start=500)
    with open_tail(log, reader.kept) as opened:
        rewrite_in_place(log, fresh)
        for _ in opened.blocks():
            pass
        reader.kept = opened.mark()
    assert not unchanged(reader.kept, log.stat())
    assert (reader.lines(), reader.verdict) == (fresh.splitlines(), "rewritten")


def test_a_file_cut_while_reading_is_read_anew(log: Path) -> None:
    """A file that shrinks under an open tail ends the read quietly; the next one starts at 0."""
    log.write_bytes(numbered(20))
    with open_tail(log, None, block_bytes=64) as opened:
        blocks: Iterator[Lines | TooLong] = opened.blocks()
        next(blocks)
        rewrite_in_place(log, b"")
        assert list(blocks) == []
        kept = opened.mark()
    reader = Reader(log)
    reader.kept = kept
    append(log, b"new\n")
    assert (reader.lines(), reader.verdict) == ([b"new"], "truncated")


def test_a_mark_survives_a_restart(log: Path) -> None:
    """A mark is plain data: encoded and decoded it is the same mark, with SQLite-sized integers."""
    log.write_bytes(numbered(4))
    reader = Reader(log)
    reader.tick()
    kept = reader.kept
    assert kept is not None
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=Mark) == kept
    assert len(kept.guard) == 16
    assert all(-(2**63) <= n < 2**63 for n in (kept.dev, kept.inode, kept.size, kept.ctime_ns))


def test_a_huge_inode_number_still_fits(log: Path) -> None:
    """File systems number inodes up to 2**64; the mark folds them and still compares equal."""
    log.write_bytes(b"line\n")
    with open_tail(log, None) as opened:
        list(opened.blocks())
        fields = list(log.stat()[:10])
        fields[1:3] = [2**64 - 5, 2**64 - 9]
        opened.stat = os.stat_result(fields)
        kept = opened.mark()
    assert (kept.inode, kept.dev) == (2**63 - 5, 2**63 - 9)


def test_an_unread_tail_gives_a_mark_at_its_start(log: Path) -> None:
    """Asking for a mark before reading moves nothing."""
    log.write_bytes(numbered(4))
    with open_tail(log, None) as opened:
        assert opened.mark().offset == 0
    assert len(Reader(log).lines()) == 4


def test_empty_blocks_are_refused(log: Path) -> None:
    """A size below one byte could never make progress."""
    log.write_bytes(b"")
    with pytest.raises(ValueError, match="at least 1"):
        open_tail(log, None, block_bytes=0)
