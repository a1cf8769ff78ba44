"""Hosts that end with the test that started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from instar_host.runtime import Runtime
from instar_host.testing import MakeHost

STOP_S = 20.0


@pytest.fixture
def after() -> Iterator[ExitStack]:
    """What has to end when the test does."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make_runtime(make_host: MakeHost, after: ExitStack) -> Callable[..., Runtime]:
    """Runtimes on one state directory, each with its own plugins."""

    def make(*plugins: object) -> Runtime:
        runtime = Runtime(lambda: make_host(plugins), lease_retry_s=0.01)
        after.callback(lambda: runtime.stop(STOP_S))
        return runtime

    return make
