"""`instar` as a process: what it imports, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from instar_host.version import installed_version
from tests.host.third_party import Site


def instar(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "instar_host", *argv],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_version_needs_no_plugin_no_database_and_no_web(tmp_path: Path) -> None:
    """It answers in an environment where nothing else works."""
    script = (
        "import sys; from instar_host.cli import main; code = main(['--version']); "
        "print(sorted({m.split('.')[0] for m in sys.modules} "
        "& {'apsw', 'starlette', 'uvicorn', 'httpx', 'instar_tokenledger', 'instar_threadline'}))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert found.stdout == f"instar {installed_version()}\n[]\n"


def test_importing_the_contract_loads_no_database_no_web_and_starts_nothing() -> None:
    """Rule 6: nothing happens at import."""
    script = (
        "import sys, threading, instar_host; from instar_host import Config, Lease, Plugins; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'apsw', 'starlette', 'asyncio'}), "
        "threading.active_count())"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert found.stdout == "[] 1\n"


def test_an_installed_plugin_brings_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From entry point to output, through the real program."""
    site = Site(tmp_path / "site", monkeypatch)
    site.install(
        "hello",
        """
        @hookimpl
        def instar_commands(host):
            def run(arguments, host, terminal):
                print("hello from", host.state_dir.name, file=terminal.out)
                return 0
            return [Command(name="hello", summary="", configure=lambda p: None, run=run)]
        """,
    )
    state = tmp_path / "state"
    state.mkdir()
    (state / "config.json").write_text('{"plugins": {"enabled": ["hello"]}}', encoding="utf-8")

    said = instar("hello", "--state-dir", str(state), PYTHONPATH=str(site.path))

    assert (said.returncode, said.stdout, said.stderr) == (0, "hello from state\n", "")


def test_a_broken_configuration_is_one_line(tmp_path: Path) -> None:
    """Not a stack, and not a defect."""
    (tmp_path / "config.json").write_text("{", encoding="utf-8")

    said = instar("plugins", "--state-dir", str(tmp_path))

    assert said.returncode == 1
    assert said.stderr.startswith(f"instar: {tmp_path}/config.json is not JSON")
    assert said.stderr.count("\n") == 1


LATE = """
@hookimpl
def instar_commands(host):
    def run(arguments, host, terminal):
        input()
        print("nobody reads this", file=terminal.out)
        return 0
    return [Command(name="late", summary="", configure=lambda p: None, run=run)]
"""


def test_a_last_word_into_a_closed_pipe_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still buffered at the end must not make the interpreter complain on its way out."""
    site = Site(tmp_path / "site", monkeypatch)
    site.install("late", LATE)
    (tmp_path / "config.json").write_text('{"plugins": {"enabled": ["late"]}}', encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "instar_host", "--state-dir", str(tmp_path), "late"],
        env={**os.environ, "PYTHONPATH": str(site.path), "PYTHONUNBUFFERED": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None

    assert process.communicate(b"go\n", timeout=60)[1] == b""
    assert process.returncode == 141


ENDLESS = """
@hookimpl
def instar_commands(host):
    def run(arguments, host, terminal):
        print("started", flush=True)
        while True:
            print("x" * 1000, file=terminal.out)
    return [Command(name="endless", summary="", configure=lambda p: None, run=run)]
"""


@pytest.mark.parametrize(("how", "code"), [("close", 141), ("interrupt", 130)])
def test_a_broken_pipe_is_quiet_and_an_interrupt_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, code: int
) -> None:
    """`instar ... | head` and Ctrl-C leave no traceback."""
    site = Site(tmp_path / "site", monkeypatch)
    site.install("endless", ENDLESS)
    (tmp_path / "config.json").write_text('{"plugins": {"enabled": ["endless"]}}', encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "instar_host", "--state-dir", str(tmp_path), "endless"],
        env={**os.environ, "PYTHONPATH": str(site.path), "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"started\n"
    if how == "interrupt":
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()

    assert process.wait(timeout=60) == code
    assert err == ("instar: interrupted\n" if how == "interrupt" else "")


def with_streams(redirections: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """What `instar` says and answers where a shell set up its streams; its code is printed last."""
    script = f'exec 3>&1; {sys.executable} -m instar_host "$@" {redirections}; echo $? >&3'
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", *argv],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_not_there_are_no_defect(closed: str) -> None:
    """A supervisor may start a program without any of them: it does its work, and that quietly."""
    said = with_streams(closed, "--version")

    assert (said.stdout.splitlines()[-1], said.stderr) == ("0", "")


def test_a_complaint_without_standard_error_is_not_part_of_the_answer() -> None:
    """What is read as the answer holds answers only."""
    assert with_streams("2>&-", "open").stdout == "1\n"


def test_an_answer_that_does_not_fit_on_the_disk_is_one_sentence() -> None:
    """What was still buffered at the end is lost, and said; no traceback, and no exit code 120."""
    said = with_streams(">/dev/full", "--version")

    assert said.stdout == "1\n"
    assert said.stderr.startswith("instar: the answer cannot be written: No space left")
    assert said.stderr.count("\n") == 1


def test_where_no_stream_takes_anything_the_exit_code_speaks() -> None:
    """1, as for every sentence, also where the sentence cannot be written."""
    assert with_streams(">/dev/full 2>&1", "--version").stdout == "1\n"
    assert with_streams("2>/dev/full", "open").stdout == "1\n"


LINGERS = """
import sys, threading
from instar_host.cli import main
threading.Thread(target=sys.stdin.read, name="their-poller").start()
sys.argv = ["instar", "--version"]
sys.exit(main())
"""


def test_a_thread_that_keeps_the_program_is_named() -> None:
    """One that a plugin started and that is no daemon: a command was done, and silent for ever."""
    with subprocess.Popen(
        [sys.executable, "-c", LINGERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        assert "what a plugin left running (their-poller)" in process.stderr.readline()
        process.stdin.close()
        assert process.wait(60) == 0
