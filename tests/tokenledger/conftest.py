"""The fixture of every ledger test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from instar_host.testing import MakeHost
from instar_tokenledger.ledger import Ledger
from tests.tokenledger.arrangements import empty_ledger
from tests.tokenledger.homes import LedgerHome


@pytest.fixture
def home(tmp_path: Path, state_dir: Path, make_host: MakeHost) -> Iterator[LedgerHome]:
    """An empty home with a ledger that has read nothing yet."""
    made = LedgerHome(tmp_path, state_dir, make_host)
    yield made
    made.close()


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """An empty ledger in memory."""
    made = empty_ledger()
    yield made
    made.close()
