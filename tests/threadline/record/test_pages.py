"""Pages of long messages, and of what short queries find: bounded, each message once, none lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from instar_threadline.record import search, views
from instar_threadline.record.search import Search
from instar_threadline.sources.statefiles import StateFiles
from tests.threadline.logs import Seen, open_log, received

COUNT = 40
LONG = "wort \u00fc " * 100


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    """A thread of long messages, and pages that hold five of them."""
    texts = [f"{LONG}{i}" for i in range(COUNT)]
    open_log(tmp_path).record([received(text, id=str(i)) for i, text in enumerate(texts)])
    found = Seen(tmp_path)
    yield found
    found.close()


def test_a_page_of_long_messages_has_fewer_of_them(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that sends megabytes fills no page beyond its bound; the cursors lead to all."""
    monkeypatch.setattr(views, "PAGE_CHARS", 5 * len(LONG))
    found: list[str] = []
    sizes, before = [], None
    while True:
        page = seen.views.thread("t-1", limit=1000, before=before)
        assert page is not None
        found = [message.id for message in page.messages] + found
        sizes.append(len(page.messages))
        before = page.older_cursor
        if before is None:
            break
    assert found == [str(i) for i in range(COUNT)]
    assert max(sizes) == 5


@pytest.mark.parametrize("query", ["wort", "\u00fc", "w"])
def test_hits_of_long_messages_come_in_pages(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """So do hits, whatever the length of the query: each once, newest first, to the end."""
    monkeypatch.setattr(search, "PAGE_CHARS", 5 * len(LONG))
    monkeypatch.setattr(search, "RECENT_MESSAGES", 7)
    pages = list(_pages(seen.search, query))
    assert [i for page in pages for i in page] == [str(i) for i in reversed(range(COUNT))]
    assert max(map(len, pages)) == 5


def test_the_clock_is_looked_at_between_long_messages(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W10: a search stops when its time is up, also in the middle of a stretch of candidates."""
    monkeypatch.setattr(search, "LOOKED_CHARS", 3 * len(LONG))
    now = iter(range(10_000))
    hasty = Search(seen.readers, StateFiles(str(seen.state_dir)), lambda: float(next(now)))
    pages = list(_pages(hasty, "wort"))
    assert max(map(len, pages)) == 3
    assert [i for page in pages for i in page] == [str(i) for i in reversed(range(COUNT))]


def _pages(over: Search, query: str) -> Iterator[list[str]]:
    cursor = None
    for _ in range(COUNT + 1):
        page = over.messages(query, limit=100, cursor=cursor)
        yield [hit.message.id for hit in page.hits]
        if page.next_cursor is None:
            return
        cursor = int(page.next_cursor)
    raise AssertionError("there is no end")
