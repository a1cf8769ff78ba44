"""A scan beside a running host: asked for over HTTP, done there, shown here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instar_host.errors import InstarError, LeaseHeld
from instar_host.lease import Holder
from instar_host.remote import RemoteHost
from instar_host.testing_web import RunHost, RunningHost
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.wishes import WishBook
from tests.tokenledger.homes import said

HOLD = (
    "import sys; from pathlib import Path; from instar_host.lease import Lease;"
    "lease = Lease(Path(sys.argv[1])); lease.acquire(); lease.publish(sys.argv[2] or None);"
    "print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    """A configuration folder with one transcript of today and one of 2020."""
    folder = tmp_path / "claude" / "projects" / "-a"
    folder.mkdir(parents=True)
    (folder / "new.jsonl").write_bytes(said("new", "new") + b"\n")
    (folder / "old.jsonl").write_bytes(said("old", "old") + b"\n")
    os.utime(folder / "old.jsonl", (1_600_000_000, 1_600_000_000))
    return folder.parent.parent


@pytest.fixture
def running(run_host: RunHost, claude: Path) -> RunningHost:
    """A host that reads that folder."""
    settings = {"claudeDirs": [str(claude)], "dailyBackups": 0, "watch": False}
    return run_host({"tokenledger": TokenLedgerPlugin()}, {"tokenLedger": settings})


def instar(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `instar` as a person would, beside whatever runs."""
    return subprocess.run(
        [sys.executable, "-m", "instar_host", *arguments, "--state-dir", str(state_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def held(state_dir: Path, address: str) -> Iterator[int]:
    """Another process with the lease, which says that it answers at `address`; its pid."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state_dir), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        yield holder.pid
    finally:
        holder.communicate(b"")


@pytest.mark.parametrize("command", ["scan", "rebuild"])
def test_the_running_host_reads_and_the_command_shows_it(
    running: RunningHost, state_dir: Path, command: str
) -> None:
    """`instar tokens scan` reads files of any age through the host, and prints the totals."""
    done = instar(state_dir, "tokens", command, "--json")
    assert done.returncode == 0, done.stderr
    assert str(os.getpid()) in done.stderr
    assert json.loads(done.stdout)["summary"]["eventCount"] == 2
    scans = running.client.get("/tokens/status").json()["scans"]
    assert scans["done"] == scans["asked"] == 1


def test_a_scan_without_all_leaves_old_files_alone(running: RunningHost) -> None:
    """An empty wish is for a look now; only `all` overrides the age limit."""
    answer = running.client.post("/tokens/scan", json={})
    assert (answer.status_code, answer.json()) == (202, {"scan": 1})
    bad: list[object] = [{"all": 1}, {"everything": True}, []]
    for body in bad:
        assert running.client.post("/tokens/scan", json=body).status_code == 400
    assert running.stranger.post("/tokens/scan", json={}).status_code == 401


def test_a_holder_that_does_not_answer_is_exit_code_3(state_dir: Path) -> None:
    """Within seconds, naming the process, whether it serves nothing or does not answer."""
    for address in ("", "http://127.0.0.1:9"):
        with held(state_dir, address) as pid:
            done = instar(state_dir, "tokens", "scan")
        assert done.returncode == 3
        assert str(pid) in done.stderr


def test_a_host_without_the_lease_says_who_has_it(
    run_host: RunHost, state_dir: Path, claude: Path
) -> None:
    """409 with the other's pid and address: nothing is read by two."""
    settings = {"claudeDirs": [str(claude)], "dailyBackups": 0, "watch": False}
    with held(state_dir, "http://127.0.0.1:9") as pid:
        running = run_host({"tokenledger": TokenLedgerPlugin()}, {"tokenLedger": settings})
        answer = running.client.post("/tokens/scan", json={"all": True})
    assert answer.status_code == 409
    assert (answer.json()["pid"], answer.json()["address"]) == (pid, "http://127.0.0.1:9")


def test_what_is_no_host_of_ours_is_told_from_a_refusal(running: RunningHost) -> None:
    """A wrong token is a refusal with its reason; another program's answer is none."""
    address = f"http://127.0.0.1:{running.port}"
    with pytest.raises(InstarError, match="refuses"):
        RemoteHost(Holder(pid=1, address=address), "wrong").get("/tokens/status")
    for nowhere in (None, "unix:/x", "http://127.0.0.1:9"):
        with pytest.raises(LeaseHeld, match="process 7"):
            RemoteHost(Holder(pid=7, address=nowhere), "t").get("/tokens/status")


def test_a_wish_is_fulfilled_only_by_what_came_after_it() -> None:
    """A look that began before the wish fulfils earlier ones alone."""
    wishes = WishBook()
    first = wishes.ask()
    second = wishes.ask(all_ages=True)
    wishes.fulfil(first)
    assert (wishes.now.open, wishes.now.all) == (True, True)
    third = wishes.ask(anew=True)
    wishes.fulfil(second)
    assert (wishes.now.all, wishes.now.anew) == (True, True)
    wishes.forgotten()
    assert not wishes.now.anew
    wishes.fulfil(third)
    assert not wishes.now.open
