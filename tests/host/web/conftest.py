"""H5: in every test over HTTP, a blocking call on an event loop is an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture(autouse=True)
def _no_blocking_calls_on_a_loop() -> Iterator[None]:
    """Files, sleeps, locks and sockets: whatever would hold up everybody else's request."""
    with blockbuster_ctx():
        yield
