"""Being told of changes, and going on without it: absent, exhausted, killed, not wanted."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from instar_host.testing import FakeClock
from instar_host.testing_web import RunHost
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.watch import MAX_PATHS, RETRY_S, Launch, Watch
from tests.tokenledger.homes import said

SAYS = "import sys; sys.stdout.write({!r}); sys.stdout.flush(); sys.stdin.read()"
FAILS = "print({!r})"
WAIT_S = 20.0


def saying(text: str) -> Launch:
    """A watching process that says `text` and stays until it is told to end."""
    return _python(SAYS.format(text))


def failing(text: str) -> Launch:
    """A watching process that says `text` and ends."""
    return _python(FAILS.format(text))


def _python(code: str) -> Launch:
    def launch(_roots: Sequence[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    return launch


class Watched:
    """A watch, and the wakes that came of it."""

    def __init__(self, clock: FakeClock, launch: Launch | None = None) -> None:
        self.wakes = threading.Semaphore(0)
        self.wanted = True
        self.watch = Watch(clock, self.wakes.release, lambda: self.wanted, launch)

    def woken(self, times: int = 1) -> bool:
        return all(self.wakes.acquire(timeout=WAIT_S) for _ in range(times))


@pytest.fixture
def made() -> Iterator[list[Watched]]:
    """Watches that are stopped at the end."""
    watches: list[Watched] = []
    yield watches
    for watched in watches:
        watched.watch.stop()


def test_changes_wake_and_are_told_once(clock: FakeClock, made: list[Watched]) -> None:
    """Once it watches, what was before is unknown; then each path is told, to the first asker."""
    watched = Watched(clock, saying('[]\n["/a/x", "/a/\\udcff"]\n["/a/x"]\n'))
    made.append(watched)
    watched.watch.keep([b"/a"])
    assert watched.woken(3)
    assert (watched.watch.on, watched.watch.state) == (True, "on")
    assert watched.watch.take() == ([b"/a/x", b"/a/\xff"], True)
    assert watched.watch.take() == ([], False)


def test_without_the_extra_it_says_so(
    clock: FakeClock, made: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No watchfiles: polling, and the status names the extra."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    watched = Watched(clock)
    made.append(watched)
    watched.watch.keep([b"/a"])
    assert not watched.watch.on
    assert watched.watch.state == "off: the `watch` extra is not installed"


def test_at_inotifys_limit_it_says_why_and_is_tried_again_later(
    clock: FakeClock, made: list[Watched]
) -> None:
    """A failure ends the watch alone, is told with its reason, and rests before the next try."""
    watched = Watched(clock, failing('{"error": "OS file watch limit reached."}'))
    made.append(watched)
    watched.watch.keep([b"/a"])
    assert watched.woken()
    assert watched.watch.state == "off: OS file watch limit reached."
    assert watched.watch.take() == ([], True)
    watched.watch.keep([b"/a"])
    assert watched.wakes.acquire(blocking=False) is False
    clock.advance(RETRY_S)
    watched.watch.keep([b"/a"])
    assert watched.woken()


def test_a_killed_watch_is_noticed(clock: FakeClock, made: list[Watched]) -> None:
    """Whatever ends the watching process, ticks look by themselves from then on."""
    watched = Watched(clock, failing("[]"))
    made.append(watched)
    watched.watch.keep([b"/a"])
    assert watched.woken(2)
    assert not watched.watch.on
    assert watched.watch.take() == ([], True)


def test_a_system_that_starts_no_process_is_no_trouble(
    clock: FakeClock, made: list[Watched]
) -> None:
    """Out of processes or descriptors: off, with the system's reason."""

    def refuse(_roots: Sequence[bytes]) -> subprocess.Popen[bytes]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    watched = Watched(clock, refuse)
    made.append(watched)
    watched.watch.keep([b"/a"])
    assert watched.watch.state == "off: Resource temporarily unavailable"


def test_too_many_changes_become_a_look_at_everything(
    clock: FakeClock, made: list[Watched]
) -> None:
    """What is remembered between two ticks is bounded."""
    paths = ",".join(f'"/a/{i}"' for i in range(MAX_PATHS + 1))
    watched = Watched(clock, saying(f"[]\n[{paths}]\n"))
    made.append(watched)
    watched.watch.keep([b"/a"])
    assert watched.woken(2)
    assert watched.watch.take() == ([], True)


def test_it_ends_when_it_is_not_wanted_any_more(clock: FakeClock, made: list[Watched]) -> None:
    """A process that lost the lease stops watching by itself, and leaves no child."""
    started: list[subprocess.Popen[bytes]] = []
    launch = saying("[]\n")

    def remember(roots: Sequence[bytes]) -> subprocess.Popen[bytes]:
        started.append(launch(roots))
        return started[-1]

    watched = Watched(clock, remember)
    made.append(watched)
    watched.watch.keep([b"/a"])
    assert watched.woken()
    watched.wanted = False
    assert watched.woken()
    assert not watched.watch.on
    assert started[0].poll() is not None


def test_other_roots_begin_another_watch(clock: FakeClock, made: list[Watched]) -> None:
    """A root that comes later is watched too; none at all ends the watch."""
    seen: list[Sequence[bytes]] = []
    launch = saying("[]\n")

    def remember(roots: Sequence[bytes]) -> subprocess.Popen[bytes]:
        seen.append(roots)
        return launch(roots)

    watched = Watched(clock, remember)
    made.append(watched)
    for roots in ([b"/a"], [b"/a"], [b"/b", b"/a"], []):
        watched.watch.keep(roots)
    assert seen == [(b"/a",), (b"/a", b"/b")]
    assert watched.watch.state == "off: not wanted"


@pytest.mark.parametrize("words", ["Hello\n", "[7]\n", "7\n", '["\\ud800"]\n'])
def test_a_watch_that_talks_nonsense_is_ended(
    clock: FakeClock, made: list[Watched], words: str
) -> None:
    """Words that are none of a watch end it, are told as its reason, and ticks look themselves."""
    watched = Watched(clock, saying("[]\n" + words))
    made.append(watched)
    watched.watch.keep([b"/a"])
    assert watched.woken(2)
    assert watched.watch.state == "off: it said what no watch says"
    assert watched.watch.take() == ([], True)


def test_a_host_with_a_thousand_open_files_is_told_too(
    clock: FakeClock, made: list[Watched]
) -> None:
    """T17: the number of the descriptor that the watch speaks through does not matter."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    fillers = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        watched = Watched(clock, saying("[]\n"))
        made.append(watched)
        watched.watch.keep([b"/a"])
        assert watched.woken()
        assert watched.watch.on
    finally:
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_root_that_is_another_folder_by_now_is_watched_anew(
    clock: FakeClock, made: list[Watched], tmp_path: Path
) -> None:
    """T21: a system watches folders and not names: a link that leads elsewhere, a root made anew
    under the same number, and one that went are begun again."""
    for name in "ab":
        (tmp_path / name).mkdir()
    root = tmp_path / "root"
    root.symlink_to(tmp_path / "a")
    begun: list[Sequence[bytes]] = []
    words = ["[]\n", f'[]\n["{root}"]\n', "[]\n"]

    def launch(roots: Sequence[bytes]) -> subprocess.Popen[bytes]:
        begun.append(roots)
        return saying(words[len(begun) - 1])(roots)

    watched = Watched(clock, launch)
    made.append(watched)

    def kept() -> int:
        watched.watch.keep([os.fsencode(root)])
        return len(begun)

    assert (kept(), kept()) == (1, 1)
    root.unlink()
    root.symlink_to(tmp_path / "b")
    assert kept() == 2
    assert watched.woken(2)
    while not watched.watch.take()[0]:
        assert watched.woken()
    assert (kept(), kept()) == (3, 3)


def test_the_real_watch_goes_on_with_a_root_that_was_made_anew(
    clock: FakeClock, made: list[Watched], tmp_path: Path
) -> None:
    """T21: a root that is deleted and made again between two ticks is watched again."""
    pytest.importorskip("watchfiles")
    watched = Watched(clock)
    made.append(watched)
    root = tmp_path / "root"
    for name in (b"one", b"two"):
        root.mkdir()
        watched.watch.keep([os.fsencode(root)])
        told: list[bytes] = []
        while not watched.watch.on:
            assert watched.woken()
        (root / os.fsdecode(name)).touch()
        while os.fsencode(root) + b"/" + name not in told:
            assert watched.woken()
            told += watched.watch.take()[0]
        shutil.rmtree(root)
        while os.fsencode(root) not in told:
            assert watched.woken()
            told += watched.watch.take()[0]


def test_the_real_watch_tells_of_an_append_and_ends_with_its_input(
    clock: FakeClock, made: list[Watched], tmp_path: Path
) -> None:
    """watchfiles in a process of its own: new files, appends and new folders are told."""
    pytest.importorskip("watchfiles")
    watched = Watched(clock)
    made.append(watched)
    watched.watch.keep([os.fsencode(tmp_path)])
    assert watched.woken()
    assert watched.watch.on
    watched.watch.take()
    (tmp_path / "one.jsonl").write_bytes(b"x")
    assert watched.woken()
    assert os.fsencode(tmp_path / "one.jsonl") in watched.watch.take()[0]
    watched.watch.stop()
    assert watched.watch.state == "off: stopped"


def test_a_running_host_is_woken_by_an_append(run_host: RunHost, tmp_path: Path) -> None:
    """With the watch, a line is in the summary without any tick being due; it stops with the
    host."""
    pytest.importorskip("watchfiles")
    path = tmp_path / "projects" / "-a" / "one.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(said("m1", "r1") + b"\n")
    settings = {"claudeDirs": [str(tmp_path)], "dailyBackups": 0, "maxFileAgeMs": 0}
    running = run_host({"tokenledger": TokenLedgerPlugin()}, {"tokenLedger": settings})

    def asked(path: str) -> dict[str, object]:
        found: dict[str, object] = running.client.get(path).json()
        return found

    patience = threading.Event()
    for _ in range(400):
        if asked("/tokens/status")["watch"] == "on":
            break
        patience.wait(0.05)
    else:
        pytest.fail("the watch did not begin")
    with path.open("ab") as file:
        file.write(said("m2", "r2") + b"\n")
    for _ in range(400):
        if asked("/tokens/status")["requests"] == 2:
            break
        patience.wait(0.05)
    else:
        pytest.fail("the append was not noticed")
    assert running.runtime.stop(20)
