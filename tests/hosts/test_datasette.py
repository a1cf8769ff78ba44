"""Datasette over a snapshot of the ledger, never over the ledger itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.environments import Environment, environment
from tests.hosts.programs import GUARD_S, Site, free_port, surroundings

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

REQUIREMENTS = ("datasette==0.65.5", "setuptools<81")


@pytest.fixture(scope="module")
def python(wheels: Sequence[Path]) -> Environment:
    return environment("datasette", REQUIREMENTS, wheels, (3, 11))


def test_it_shows_the_requests_of_a_snapshot(
    python: Environment, start: Start, tmp_path: Path
) -> None:
    """The two commands of docs/datasette.md, and the numbers behind them."""
    line = {
        "type": "assistant", "sessionId": "s", "timestamp": "2026-01-01T10:00:00.000Z",
        "requestId": "r", "uuid": "u", "cwd": "/app", "message": {
            "id": "m", "model": "claude-opus-4", "stop_reason": "end_turn",
            "usage": {"input_tokens": 7, "output_tokens": 5},
        },
    }  # fmt: skip
    transcript = tmp_path / ".claude" / "projects" / "app" / "s.jsonl"
    transcript.parent.mkdir(parents=True)
    transcript.write_text(json.dumps(line) + "\n", encoding="utf-8")
    environ = surroundings(tmp_path)
    for arguments in (("scan",), ("snapshot", "tokens.db")):
        subprocess.run(
            [python.program("instar"), "tokens", *arguments],
            env=environ, cwd=tmp_path, check=True, timeout=GUARD_S, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    port = free_port()
    command = (python.program("datasette"), "serve", "-i", "tokens.db", "--port", str(port))
    site = Site(f"http://127.0.0.1:{port}", start(command, environ))
    rows = site.until("/tokens/requests.json?_shape=array", lambda said: said)
    assert [(row["input"], row["output"]) for row in rows] == [(7, 5)]
    query = "/tokens.json?_shape=array&sql=select+sum(input)+as+total+from+requests"
    assert site.get(query) == [{"total": 7}]
