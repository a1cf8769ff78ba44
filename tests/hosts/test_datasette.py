"""Datasette and DuckDB over a snapshot of the ledger, never over the ledger itself.

Every query of `docs/datasette.md` is run as it stands there. DuckDB's SQLite extension comes from a
wheel here, because DuckDB itself would fetch it over the network.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.hosts.environments import CHECKOUT, Environment, environment
from tests.hosts.programs import GUARD_S, Site, Start, free_port, surroundings

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

REQUIREMENTS = (
    "datasette==0.65.5",
    "setuptools<81",
    "duckdb==1.4.4",
    "duckdb-ext-sqlite==1.4.4.20260205",
)
EXTENSION = "duckdb_ext/extensions/*/*/sqlite_scanner.duckdb_extension"
BY_DAY = {"day": "2026-01-01", "model": "claude-opus-4", "requests": 1, "tokens": 12}
BY_SESSION = {"session": "s", "project": "/app", "requests": 1, "tokens": 12}
ELSEWHERE = {"TZ": "Pacific/Auckland"}
"""Where it is another day already: the page says UTC."""
DUCKDB = """
import duckdb, json, sys
connection = duckdb.connect()
for statement in json.load(sys.stdin):
    found = connection.execute(statement)
names = [column[0] for column in found.description]
print(json.dumps([dict(zip(names, row)) for row in found.fetchall()], default=str))
"""


@pytest.fixture(scope="module")
def python(wheels: Sequence[Path]) -> Environment:
    return environment("datasette", REQUIREMENTS, wheels, (3, 11))


@pytest.fixture
def snapshot(python: Environment, tmp_path: Path) -> Path:
    """A snapshot of a ledger of one request, beside the series of the same."""
    line = {
        "type": "assistant", "sessionId": "s", "timestamp": "2026-01-01T20:00:00.000Z",
        "requestId": "r", "uuid": "u", "cwd": "/app", "message": {
            "id": "m", "model": "claude-opus-4", "stop_reason": "end_turn",
            "usage": {"input_tokens": 7, "output_tokens": 5},
        },
    }  # fmt: skip
    transcript = tmp_path / ".claude" / "projects" / "app" / "s.jsonl"
    transcript.parent.mkdir(parents=True)
    transcript.write_text(json.dumps(line) + "\n", encoding="utf-8")
    for arguments in (("scan",), ("snapshot", "tokens.db"), ("series", "--json")):
        done = subprocess.run(
            [python.program("instar"), "tokens", *arguments],
            env=surroundings(tmp_path), cwd=tmp_path, check=True, timeout=GUARD_S,
            capture_output=True,
        )  # fmt: skip
    (tmp_path / "series.json").write_bytes(done.stdout)
    return tmp_path / "tokens.db"


def queries(kind: str) -> list[str]:
    """The page's queries of one kind, in order, without their semicolons."""
    page = (CHECKOUT / "docs" / "datasette.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{kind}\n(.*?);\n```$", page, re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    return found


def test_datasette_answers_the_queries_of_the_page(
    python: Environment, snapshot: Path, start: Start, tmp_path: Path
) -> None:
    """`datasette serve -i` over the copy shows its tables, and what they add up to."""
    port = free_port()
    command = (python.program("datasette"), "serve", "-i", snapshot.name, "--port", str(port))
    environ = {**surroundings(tmp_path), **ELSEWHERE}
    site = Site(f"http://127.0.0.1:{port}", start(command, environ))
    rows = site.until("/tokens/requests.json?_shape=array", lambda said: said)
    assert [(row["input"], row["output"]) for row in rows] == [(7, 5)]
    by_day, by_session = (
        site.get("/tokens.json?" + urlencode({"_shape": "array", "sql": query}))
        for query in queries("sql")
    )
    assert (by_day, by_session) == ([BY_DAY], [BY_SESSION])


def test_duckdb_answers_the_queries_of_the_page(python: Environment, snapshot: Path) -> None:
    """The copy attached read-only, as the page does it, and the JSON of a command."""
    (extension,) = python.site_packages.glob(EXTENSION)
    attach = [f"INSTALL '{extension}'", "LOAD sqlite"]
    attach += ["ATTACH 'tokens.db' (TYPE sqlite, READ_ONLY)", "USE tokens"]
    by_day, series = queries("sql duckdb")
    assert duckdb(python, snapshot.parent, [*attach, by_day]) == [BY_DAY]
    assert duckdb(python, snapshot.parent, [*attach, queries("sql")[1]]) == [BY_SESSION]
    (row,) = duckdb(python, snapshot.parent, [series])
    assert (row["input"], row["output"]) == (7, 5)


def duckdb(python: Environment, folder: Path, statements: list[str]) -> Any:
    """The rows of the last of some statements."""
    done = subprocess.run(
        [python.program("python"), "-c", DUCKDB], input=json.dumps(statements),
        env={**surroundings(folder), **ELSEWHERE}, cwd=folder, timeout=GUARD_S,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
