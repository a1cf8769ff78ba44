"""What one call of `instar` imports: a command pays for itself, and for nothing else.

Imports were four fifths of the processor time of a scan that finds nothing new.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SAY_MODULES = """
import sys
from instar_host.cli import main
code = main()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""
WEB = {"starlette", "uvicorn", "httpx", "anyio", "rich", "asyncio", "ssl", "socket", "http.client"}
COSTLY = {"importlib.metadata", "email", "zoneinfo", "shutil", "tempfile", "subprocess", "secrets"}
THREADLINE = {"instar_threadline.service", "instar_threadline.record", "instar_threadline.bridge"}
WRITING = {"instar_tokenledger.ingest", "instar_tokenledger.ledger", "instar_tokenledger.sources"}
LEDGER = {"instar_tokenledger.service", "instar_tokenledger.queries"}
HOST = {"instar_host.runtime", "instar_host.web", "instar_host.serve", "instar_host.adapters"}


def modules_of(tmp_path: Path, *words: str) -> set[str]:
    """Everything that `instar WORDS` had imported at its end."""
    (tmp_path / "home").mkdir(exist_ok=True)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TZ": "UTC",
        "INSTAR_STATE_DIR": str(tmp_path / "state"),
    }
    call = [sys.executable, "-c", SAY_MODULES, *words]
    done = subprocess.run(call, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split("\n")[-2].split())


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (("tokens", "status"), WEB | COSTLY | THREADLINE | WRITING | HOST),
        (("tokens", "summary"), WEB | COSTLY | THREADLINE | WRITING | HOST),
        (("tokens", "scan"), (WEB | COSTLY | THREADLINE | HOST) - {"subprocess"}),
        (("threads", "list"), {"http.client", "email"} | LEDGER | HOST),
        (("plugins",), {"instar_host.web", "instar_host.serve", "email"}),
        (("--help",), HOST),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",  # sets have no order
)
def test_a_command_imports_what_it_works_with(
    tmp_path: Path, words: tuple[str, ...], absent: set[str]
) -> None:
    """Not the other plugin, no web library, no loop, and none of the library's heavy parts."""
    assert modules_of(tmp_path, *words) & absent == set()


SERVE = """
import gc, os, signal, sys, threading, time
from instar_host.cli import main

def watch():
    while not gc.get_freeze_count():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=watch, daemon=True).start()
sys.exit(main(["serve", "--port", "0", "--state-dir", sys.argv[1]]))
"""


def test_a_host_that_serves_leaves_its_start_to_no_collection(tmp_path: Path) -> None:
    """A walk of the garbage collector over all that was imported is the longest wait of a loop."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    call = [sys.executable, "-c", SERVE, str(tmp_path / "state")]
    done = subprocess.run(call, env=environ, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


BOOT = """
import json, sys, time
from instar_host.config import locate_state_dir
from instar_host.host import open_host
from instar_host.runtime import Runtime
from instar_host.shapes import work_out_shapes
from instar_host.records import Request
from pathlib import Path
import msgspec

def structs():
    found, waiting = set(), [msgspec.Struct]
    while waiting:
        for child in waiting.pop().__subclasses__():
            found.add(f"{child.__module__}.{child.__qualname__}")
            waiting.append(child)
    return found

home = Path(sys.argv[1])
where = locate_state_dir(str(home / "state"), {}, home, home)
runtime = Runtime(lambda: open_host(where, {"HOME": str(home)}, name="instar"))
runtime.start()
runtime.wait_ready(30)
before = structs()
routes = {(r.route.method, r.route.path): r.route.endpoint for r in runtime.surface.routes}

def ask(path, **query):
    request = Request(method="GET", path=path, query={k: (v,) for k, v in query.items()})
    return json.loads(routes["GET", path](request).body)

while ask("/tokens/status")["state"] != "up-to-date":
    time.sleep(0.01)
for path in "/tokens/sessions", "/tokens/by-model", "/threadline/observability/threads":
    ask(path)
ask("/tokens/series", tz="Europe/Berlin")
print(json.dumps([sorted(structs() - before), ask("/tokens/summary", since="0")]))
runtime.stop(10)
"""


def booted(home: Path) -> Any:
    """Structs that a running host met only after it was ready, and the summary that it gave."""
    call = [sys.executable, "-c", BOOT, str(home)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(call, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_running_host_meets_no_struct_late(tmp_path: Path) -> None:
    """Ticks and endpoints decode side by side, which kills the process where a struct is new."""
    transcript = tmp_path / ".claude" / "projects" / "-a" / "s.jsonl"
    transcript.parent.mkdir(parents=True)
    usage = {"input_tokens": 1, "output_tokens": 2}
    message = {"id": "m", "role": "assistant", "model": "x", "usage": usage}
    line = {"type": "assistant", "timestamp": "2026-01-01T00:00:00Z", "requestId": "r", "uuid": "u"}
    transcript.write_text(json.dumps({**line, "sessionId": "s", "message": message}) + "\n")
    os.makedirs(tmp_path / "state", mode=0o700)
    settings = {"tokenLedger": {"maxFileAgeMs": 0}}
    (tmp_path / "state" / "config.json").write_text(json.dumps(settings))
    (tmp_path / "state" / "config.json").chmod(0o600)

    late, summary = booted(tmp_path)

    assert (late, summary["summary"]["eventCount"]) == ([], 1)
