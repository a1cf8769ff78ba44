"""A browser for page tests; each test gets its own profile and its own host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from instar_host.testing import MakeHost
from instar_host.testing_web import RunningHost
from tests.web.browsers import Tab, chromium
from tests.web.ledgers import ServedLedger


class OpenTab(Protocol):
    """Opens a fresh profile on a host: `size`, `timezone` and Playwright's own options."""

    def __call__(self, running: RunningHost, **options: Any) -> Tab: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for one module: while it runs, no other test could run a loop of its own."""
    with chromium() as found:
        yield found


@pytest.fixture
def open_tab(browser: Any) -> Iterator[OpenTab]:
    """Tabs that must end without an error, a violation or a foreign request."""
    made: list[Tab] = []

    def make(running: RunningHost, **options: Any) -> Tab:
        made.append(Tab(browser, running, **options))
        return made[-1]

    yield make
    for tab in made:
        tab.check()
        tab.close()


@pytest.fixture
def ledger(tmp_path: Path, make_host: MakeHost) -> Iterator[ServedLedger]:
    """Transcripts to write, and a ledger of them to serve."""
    with ExitStack() as after:
        yield ServedLedger(tmp_path, make_host, after)
