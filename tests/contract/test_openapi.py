"""W8: the whole API of both plugins against its own description, with and without the token."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from instar_host.testing import MakeHost
from instar_host.testing_web import TOKEN, RunningHost, start_host
from instar_threadline.plugin import ThreadlinePlugin
from instar_tokenledger.plugin import TokenLedgerPlugin

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)


@pytest.fixture
def served(make_host: MakeHost, tmp_path: Path) -> Iterator[RunningHost]:
    """Both plugins over empty homes."""
    (tmp_path / "claude").mkdir()
    config = {"authToken": TOKEN, "tokenLedger": {"claudeDirs": [str(tmp_path / "claude")]}}
    plugins = {"tokenledger": TokenLedgerPlugin, "threadline": ThreadlinePlugin}
    with ExitStack() as after:
        yield start_host(make_host(plugins, config), after)


def try_out(served: RunningHost, folder: Path, *flags: str) -> None:
    """Let schemathesis try every operation; its own words when it finds something."""
    document = folder / "openapi.json"
    document.write_text(served.client.get("/openapi.json").text, encoding="utf-8")
    tool = Path(sys.executable).with_name("schemathesis")
    command = [str(tool), "run", str(document), "--url", served.address, "--no-color"]
    command += ["--checks", ",".join(CHECKS), "--max-examples", "25", "--seed", "1", *flags]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_every_operation_keeps_its_word(served: RunningHost, tmp_path: Path) -> None:
    """No 5xx, no undocumented answer, no method that should not be, whatever is sent."""
    bearer = f"Authorization: Bearer {TOKEN}"
    try_out(served, tmp_path, "-H", bearer, "--phases", "coverage,fuzzing")


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_no_operation_but_the_open_ones_answers_a_stranger(
    served: RunningHost, tmp_path: Path
) -> None:
    """Nothing but /health says yes without the token."""
    try_out(served, tmp_path, "--phases", "coverage")
    document = json.loads((tmp_path / "openapi.json").read_text(encoding="utf-8"))
    for path, operations in document["paths"].items():
        for method in operations:
            concrete = path.replace("{", "").replace("}", "")
            status = served.stranger.request(method.upper(), concrete).status_code
            assert status == (200 if path == "/health" else 401), f"{method} {path}"
