"""`instar serve` and `instar open` as programs: two processes, one lease, and a clean end."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from instar_host import HostContext, InstarError, Terminal, hookimpl
from instar_host.cli import run
from instar_host.lease import Lease
from instar_host.records import LeaseStatus, Tick
from instar_host.serve import (
    ServeOptions,
    open_again,
    sample_host,
    serve_until,
    troubles,
    watch,
)
from instar_host.testing import MakeHost

GUARD_S = 30.0
TOKEN = "a-token-for-tests"


class Served:
    """One `instar serve` in a process of its own."""

    def __init__(self, state_dir: Path, after: ExitStack) -> None:
        flags = ("--port", "0")
        environ = {**os.environ, "INSTAR_AUTH_TOKEN": TOKEN, "HOME": str(state_dir)}
        self.process = after.enter_context(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "instar_host",
                    "serve",
                    "--state-dir",
                    str(state_dir),
                    *flags,
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environ,
            )
        )
        after.callback(self.process.kill)
        self.address = self.line_with(r"http://\S+")

    def line_with(self, pattern: str) -> str:
        """Read on until a line matches; what matched."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found[0]
        raise AssertionError(f"it ended without a line like {pattern}")

    def get(self, path: str) -> httpx.Response:
        """Ask with the token."""
        bearer = {"authorization": f"Bearer {TOKEN}"}
        return httpx.get(self.address + path, headers=bearer, timeout=GUARD_S, trust_env=False)

    def lease(self) -> Mapping[str, object]:
        """Who writes, as it says itself."""
        answer = self.get("/plugins").json()["lease"]
        assert isinstance(answer, dict)
        return answer


def test_two_processes_share_a_state_directory_and_one_writes(
    state_dir: Path, after: ExitStack
) -> None:
    """Rule 5: the second serves read-only, names the first, and takes over when it is killed."""
    first = Served(state_dir, after)
    second = Served(state_dir, after)
    second.line_with("this one reads")
    told = {"held": False, "pid": first.process.pid, "address": first.address}
    assert first.lease()["held"] is True
    assert second.lease() == told
    first.process.kill()
    second.line_with("this process writes now")
    assert second.lease() == {
        "held": True,
        "pid": second.process.pid,
        "address": second.address,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_a_stream_open(
    state_dir: Path, after: ExitStack, number: int
) -> None:
    """H6: exit code 0, nothing on stderr, and the lease is free."""
    served = Served(state_dir, after)
    with socket.create_connection(("127.0.0.1", httpx.URL(served.address).port or 0)) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\n")
        served.process.send_signal(number)
        assert served.process.wait(GUARD_S) == 0
    assert served.process.stdout is not None
    assert "Traceback" not in served.process.stdout.read()
    assert Lease(state_dir).holder() is None


def test_a_stopped_and_continued_host_goes_on(state_dir: Path, after: ExitStack) -> None:
    """H6: SIGSTOP keeps the lease, so nobody takes over from a host that only sleeps."""
    first = Served(state_dir, after)
    second = Served(state_dir, after)
    first.process.send_signal(signal.SIGSTOP)
    assert second.lease()["pid"] == first.process.pid
    first.process.send_signal(signal.SIGCONT)
    assert first.lease()["held"] is True


def test_the_token_is_printed_on_a_terminal_only(
    state_dir: Path, after: ExitStack, make_host: MakeHost
) -> None:
    """A log or a pipe gets the address; a person gets the link."""
    served = Served(state_dir, after)
    host = make_host(environ={"INSTAR_AUTH_TOKEN": TOKEN})
    with pytest.raises(InstarError, match="on a terminal only"):
        open_again(NO_ARGUMENTS, host, terminal(is_tty=False))
    shown = terminal(is_tty=True)
    assert open_again(NO_ARGUMENTS, host, shown) == 0
    assert text_of(shown) == f"{served.address}/#token={TOKEN}\n"
    served.process.terminate()
    assert served.process.stdout is not None
    assert TOKEN not in served.process.stdout.read()


def test_opening_without_a_host_says_what_to_do(make_host: MakeHost) -> None:
    """One sentence, with the command that helps."""
    with pytest.raises(InstarError, match="`instar serve`"):
        open_again(NO_ARGUMENTS, make_host(), terminal(is_tty=True))


def test_opening_a_host_without_an_address_says_when(
    state_dir: Path, make_host: MakeHost, after: ExitStack
) -> None:
    """An application knows its address after the first request only: nobody is sent to start
    another host meanwhile.
    """
    lease = Lease(state_dir)
    assert lease.try_acquire()
    after.callback(lease.release)
    with pytest.raises(InstarError, match=f"{os.getpid()} runs .* open its page once"):
        open_again(NO_ARGUMENTS, make_host(), terminal(is_tty=True))


def test_a_taken_port_names_who_has_it(
    state_dir: Path, after: ExitStack, make_host: MakeHost
) -> None:
    """Ours by process and address; a stranger's as a stranger's."""
    served = Served(state_dir, after)
    port = httpx.URL(served.address).port
    host = make_host()
    with pytest.raises(InstarError, match=f"Process {served.process.pid} serves"):
        serve_until(threading.Event(), ServeOptions(port=port), host, terminal(is_tty=False))
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        options = ServeOptions(port=stranger.getsockname()[1])
        with pytest.raises(InstarError, match="Another program"):
            serve_until(threading.Event(), options, host, terminal(is_tty=False))


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "nonsense"])
def test_other_machines_are_not_let_in_by_accident(make_host: MakeHost, address: str) -> None:
    """W13: refused before anything starts."""
    with pytest.raises(InstarError, match=r"--allow-host|no address"):
        serve_until(
            threading.Event(),
            ServeOptions(host=address, port=0),
            make_host(),
            terminal(is_tty=True),
        )


def test_an_allowed_name_is_answered(make_host: MakeHost) -> None:
    """`--allow-host` is for a phone in the LAN: that name, and no other."""
    stop = threading.Event()
    seen: list[int] = []

    def ask(address: str) -> None:
        for name in ("phone.lan", "evil.lan"):
            answer = httpx.get(f"{address}/health", headers={"host": name}, trust_env=False)
            seen.append(answer.status_code)
        stop.set()

    options = ServeOptions(port=0, allow_hosts=("Phone.LAN",))
    assert serve_until(stop, options, make_host(), terminal(is_tty=False), ask) == 0
    assert seen == [200, 403]


def test_the_names_of_other_machines_are_printed_as_addresses(make_host: MakeHost) -> None:
    """One that is made of numbers and colons stands in brackets, or no browser takes it."""
    stop, shown = threading.Event(), terminal(is_tty=True)
    options = ServeOptions(port=0, allow_hosts=("phone.lan", "fe80::1", "[fe80::2]"))
    assert serve_until(stop, options, make_host(), shown, lambda _address: stop.set()) == 0
    names = [line.strip() for line in text_of(shown).splitlines() if line.startswith("         ")]
    assert [urlsplit(name).hostname for name in names] == ["phone.lan", "fe80::1", "fe80::2"]


class Sampler:
    """Brings a sample."""

    @hookimpl
    def instar_sample(self, host: HostContext, folder: Path) -> dict[str, dict[str, object]]:
        """One file, and the setting that names it."""
        (folder / "sampler").mkdir()
        return {"tokenLedger": {"claudeDirs": [str(folder / "sampler")]}}


def test_a_sample_lives_and_dies_in_a_place_of_its_own(
    make_host: MakeHost, state_dir: Path
) -> None:
    """The real state directory, environment and token are not touched, and nothing stays."""
    host = make_host([Sampler()], environ={"INSTAR_AUTH_TOKEN": "real"})
    with sample_host(host) as sample:
        assert sample.state_dir != state_dir
        assert sample.config.token() != "real"
        [folder] = sample.config.values["tokenLedger"]["claudeDirs"]
        assert Path(folder).is_dir()
    assert not Path(folder).exists()
    assert not sample.state_dir.exists()
    assert list(state_dir.iterdir()) == []


class BadSampler:
    """Gives settings that no file can hold."""

    def __init__(self, given: Any) -> None:
        self.given = given

    @hookimpl
    def instar_sample(self, host: HostContext, folder: Path) -> Any:
        """What the test says."""
        return self.given


@pytest.mark.parametrize(
    "given", [{"x": {"folder": Path("x")}}, {"x": 3}, {3: {}}, {"tokenLedger": []}]
)
def test_a_sample_without_settings_costs_only_its_own(make_host: MakeHost, given: Any) -> None:
    """The others' are served, and its plugin is named; `serve --sample` ended in a defect."""
    host = make_host({"bad": BadSampler(given), "good": Sampler()})
    with sample_host(host) as sample:
        assert set(sample.config.values) == {"tokenLedger"}
    assert "instar_sample: " in (host.plugins.statuses()[0].error or "")


def test_a_sample_that_nobody_brings_says_so(make_host: MakeHost) -> None:
    """Rather than an empty page."""
    with pytest.raises(InstarError, match="No plugin brings a sample"), sample_host(make_host()):
        pass


@pytest.mark.parametrize("port", ["-1", "65536", "http", "٣"])
def test_a_port_is_a_number(tmp_path: Path, port: str) -> None:
    """Wrong usage is exit code 2 and one line."""
    shown = terminal(is_tty=False)
    argv = ["serve", "--port", port, "--state-dir", str(tmp_path)]
    assert run(argv, {}, Path.cwd, Path.home, shown) == 2


def test_the_description_of_serve_lists_its_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a person can ask for, from the command line itself."""
    run(
        ["serve", "--help", "--state-dir", str(tmp_path)],
        {},
        Path.cwd,
        Path.home,
        terminal(is_tty=False),
    )
    text = capsys.readouterr().out
    for flag in ("--host", "--port", "--allow-host", "--sample", "--state-dir"):
        assert flag in text


def terminal(*, is_tty: bool) -> Terminal:
    """Streams in memory."""
    return Terminal(out=io.StringIO(), err=io.StringIO(), is_tty=is_tty)


def text_of(shown: Terminal) -> str:
    """What was printed."""
    assert isinstance(shown.out, io.StringIO)
    return shown.out.getvalue()


NO_ARGUMENTS = argparse.Namespace()


def test_a_look_at_the_lease_that_fails_ends_nothing() -> None:
    """A process that has no descriptor left for a moment goes on, and says later who writes."""
    stop, shown = threading.Event(), terminal(is_tty=False)
    looks = iter([InstarError("instar.lock cannot be read: Too many open files"), None])

    def look() -> LeaseStatus:
        if (error := next(looks)) is not None:
            raise error
        stop.set()
        return LeaseStatus(pid=7)

    watch(look, stop, shown)
    assert "process 7 writes here" in shown.out.getvalue()  # type: ignore[attr-defined]


def test_a_host_that_ended_by_itself_is_no_host_that_serves() -> None:
    """`serve` stayed, answered nothing and said nothing; a service would never be started anew."""
    stop, shown = threading.Event(), terminal(is_tty=False)

    def alive() -> None:
        raise InstarError("The host's loop ended")

    with pytest.raises(InstarError, match="loop ended"):
        watch(LeaseStatus, stop, shown, alive=alive)


def test_where_nobody_can_write_no_process_is_named() -> None:
    """On a disk that is read-only nobody holds the lease, and "process None" is nobody's name."""
    stop, shown = threading.Event(), terminal(is_tty=False)

    def look() -> LeaseStatus:
        stop.set()
        return LeaseStatus()

    watch(look, stop, shown)
    assert text_of(shown).strip().startswith("lease  nobody writes here; this one reads")


class Stumbles:
    """Its section of the configuration is wrong, say: it loads, and fails when it is asked."""

    @hookimpl
    def instar_ticks(self, host: HostContext) -> list[Tick]:
        raise InstarError("stumbles.pace has to be an integer")


def test_a_plugin_that_fails_when_asked_is_printed_once(make_host: MakeHost) -> None:
    """A wrong section left `serve` silent: its error is printed, and printed once."""
    stop, shown = threading.Event(), terminal(is_tty=False)
    host = make_host({"stumbles": Stumbles()})
    news = troubles(host.plugins.statuses)
    assert news() == []
    host.plugins.collect("instar_ticks", host=host)
    looks = iter([False, False, True])

    def look() -> LeaseStatus:
        stop.set() if next(looks) else host.plugins.collect("instar_ticks", host=host)
        return LeaseStatus(held=True)

    watch(look, stop, shown, news)
    line = "  plugin stumbles: instar_ticks: stumbles.pace has to be an integer\n"
    assert text_of(shown) == line


def test_what_serve_prints_holds_the_error_of_a_section(
    make_host: MakeHost, after: ExitStack
) -> None:
    """The whole way: a plugin that cannot give its ticks is named right below the address."""
    stop, shown = threading.Event(), terminal(is_tty=False)
    timer = threading.Timer(GUARD_S, stop.set)
    after.callback(timer.cancel)
    timer.start()

    class Heard(io.StringIO):
        """Ends the host as soon as it has said what is wrong."""

        def write(self, text: str) -> int:
            if "plugin stumbles" in text:
                stop.set()
            return super().write(text)

    shown = msgspec.structs.replace(shown, out=Heard())
    serve_until(stop, ServeOptions(port=0), make_host({"stumbles": Stumbles()}), shown)
    assert "plugin stumbles: instar_ticks: stumbles.pace has to be an integer" in text_of(shown)
