"""Inside a FastAPI application, as one process and as two workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hosts.environments import CHECKOUT, Environment, environment
from tests.hosts.programs import Site, Start, free_port, surroundings

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

REQUIREMENTS = ("fastapi>=0.120", "gunicorn>=23", "uvicorn>=0.40", "uvicorn-worker>=0.4")
EXAMPLES = str(CHECKOUT / "examples")


@pytest.fixture(scope="module")
def python(wheels: Sequence[Path]) -> Environment:
    return environment("asgi", REQUIREMENTS, wheels, (3, 11))


def lease(answer: dict[str, dict[str, object]]) -> dict[str, object]:
    return answer["lease"]


def test_under_uvicorn(python: Environment, start: Start, tmp_path: Path) -> None:
    """One process: the application's page, ours below it, ticks, a clean stop."""
    port = free_port()
    command = ("uvicorn", "--factory", "fastapi_app:create", "--app-dir", EXAMPLES)
    program = start(
        [python.program(command[0]), *command[1:], "--port", str(port)], surroundings(tmp_path)
    )
    site = Site(f"http://127.0.0.1:{port}", program)
    assert site.until("/", lambda said: said) == {"dashboard": "/instar/"}
    first = site.until("/instar/tokens/status", lambda said: said if said["tick"]["runs"] else None)
    assert lease(first)["held"] is True
    site.until("/instar/plugins", lambda said: all(one["runs"] for one in said["ticks"]))
    assert "tokenledger" in {one["name"] for one in site.get("/instar/plugins")["plugins"]}
    program.stop()


def test_under_gunicorn_with_two_workers(python: Environment, start: Start, tmp_path: Path) -> None:
    """One worker holds the lease, the other reads; when the holder is killed, another writes."""
    port = free_port()
    command = ("--workers", "2", "--worker-class", "uvicorn_worker.UvicornWorker")
    where = ("--bind", f"127.0.0.1:{port}", "--pythonpath", EXAMPLES, "fastapi_app:create()")
    program = start([python.program("gunicorn"), *command, *where], surroundings(tmp_path))
    site = Site(f"http://127.0.0.1:{port}", program)
    status = "/instar/tokens/status"
    holder = site.until(status, lambda said: lease(said)["held"] and lease(said)["pid"])
    reader = site.until(status, lambda said: lease(said) if not lease(said)["held"] else None)
    assert reader["pid"] == holder
    assert site.get("/instar/tokens/summary")["summary"]["eventCount"] == 0

    os.kill(int(str(holder)), signal.SIGKILL)

    def other(said: dict[str, dict[str, object]]) -> object:
        return lease(said)["pid"] if lease(said)["pid"] not in (None, holder) else None

    assert site.until(status, other) != holder
    program.stop()
