"""The text index: beside the index, never in its way, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import apsw

from instar_threadline.record import schema
from instar_threadline.record.index import FILE_NAME, WORDS_FILE_NAME
from instar_threadline.record.wordindex import Words, open_words
from instar_threadline.record.words import expression
from tests.threadline.logs import Seen, open_log, received


def test_the_index_can_be_written_while_its_text_is_taken_in(tmp_path: Path) -> None:
    """A piece that takes long holds no lock on the index: else the next step would wait for it,
    and fail with "database is locked" when that took more than five seconds."""
    log = open_log(tmp_path)
    log.record([received("word")])
    Seen(tmp_path).close()
    (tmp_path / WORDS_FILE_NAME).unlink()
    index = apsw.Connection(str(tmp_path / FILE_NAME))
    free: list[bool] = []

    def try_to_write() -> bool:
        index.execute("BEGIN IMMEDIATE; ROLLBACK")
        free.append(True)
        return False

    connection = open_words(str(tmp_path / WORDS_FILE_NAME), lambda: 0)
    connection.set_commit_hook(try_to_write)
    Words(connection, str(tmp_path / FILE_NAME)).close()
    index.close()
    assert free


def test_a_text_is_taken_in_once(tmp_path: Path) -> None:
    """Pieces smaller than what is there, late messages among them, and a second opening."""
    log, seen = open_log(tmp_path), Seen(tmp_path)
    for at in (10, 20, 15, 30, 12, 40):
        log.record([received("word", timestamp=f"2026-05-01T10:00:{at}Z")])
        seen.refresh()
    seen.close()
    (tmp_path / WORDS_FILE_NAME).unlink()
    for _ in range(2):
        connection = open_words(str(tmp_path / WORDS_FILE_NAME), lambda: 0)
        words = Words(connection, str(tmp_path / FILE_NAME), piece_rows=2)
        query = "SELECT rowid FROM words WHERE words MATCH ?"
        found = schema.rows(connection, query, (expression("wor"),))
        assert [row[0] for row in found] == sorted({row[0] for row in found})
        assert len(found) == 6
        words.close()


def test_each_text_is_taken_in_under_its_own_number(tmp_path: Path) -> None:
    """SQLite promises no order of rows that it was not asked for, and may change it."""
    log, seen = open_log(tmp_path), Seen(tmp_path)
    for at in (10, 20, 15, 30, 12, 40):
        log.record([received(f"word{at}", timestamp=f"2026-05-01T10:00:{at}Z")])
        seen.refresh()
    seen.close()
    (tmp_path / WORDS_FILE_NAME).unlink()
    connection = open_words(str(tmp_path / WORDS_FILE_NAME), lambda: 0)
    connection.pragma("reverse_unordered_selects", True)
    Words(connection, str(tmp_path / FILE_NAME)).close()
    again = Seen(tmp_path)
    for at in (10, 12, 15, 40):
        assert again.hits(f"word{at}") == [f"«word{at}»"]
    again.close()
