"""The kill harness: real processes, a real log, real HTTP, kill -9 at any moment, and faults."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instar_host.clock import SystemClock
from instar_threadline.messages import NewMessage
from instar_threadline.record.keyring import open_keyring
from instar_threadline.record.log import MessageLog
from tests.threadline.bridge import law
from tests.threadline.bridge.fake_bot_api import GROUP, TOKEN, BotApi, Fault
from tests.threadline.bridge.fake_bot_server import BotServer, serving
from tests.threadline.bridge.law import arrived, check_everything_arrived

MESSAGES = 600
THREADS = 5
KILLS = 60
FAULTS: list[Fault] = ["reset-before", "reset-after", "half-answer", "502-before", "502-after"]
FAULTS += ["garbage", "500-restart"]
AUTH_TOKEN = "kill-harness-token"
SPEED = 60.0
HANG_GUARD_S = 280.0


class Nursery:
    """Starts and kills senders."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = 0

    def spawn(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.pid = int(self._process.stdout.readline())

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """In memory where there is such a place: a kill, unlike a power cut, needs no disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@contextmanager
def nursery(state_dir: Path, url: str) -> Iterator[Nursery]:
    environment = {
        "PATH": os.environ["PATH"],
        "INSTAR_AUTH_TOKEN": AUTH_TOKEN,
        "INSTAR_TELEGRAM_TOKEN": TOKEN,
        "INSTAR_TELEGRAM_CHAT_ID": str(GROUP),
        "INSTAR_TELEGRAM_BASE_URL": url,
    }
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.threadline.bridge.sender_process"]
    process = subprocess.Popen(
        [*command, str(state_dir), str(SPEED)],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    made = Nursery(process)
    try:
        yield made
    finally:
        if made.pid:
            made.kill()
        process.kill()
        process.communicate()


def inject(server: BotServer, rng: random.Random, upcoming: int) -> int:
    """Strew faults over the next calls; how many."""
    plan: list[Fault | None] = [
        rng.choice(FAULTS) if rng.random() < 0.3 else None for _ in range(upcoming)
    ]
    server.faults = plan
    return sum(fault is not None for fault in plan)


@pytest.mark.faults
@pytest.mark.timeout(HANG_GUARD_S + 30)
@pytest.mark.parametrize("seed", range(5))
def test_q3_q9_kills_and_faults_lose_nothing(state_dir: Path, seed: int) -> None:
    """Q3, Q9: 600 messages, 60 kill -9, 80 faults: 0 lost, 0 out of order, repeats marked."""
    rng = random.Random(seed)
    settings = {"enabled": True, "autoCreateTopics": True}
    config = {"threadline": {"telegramBridge": settings}}
    (state_dir / "config.json").write_text(json.dumps(config))
    api = BotApi()
    keyring = open_keyring(str(state_dir / "threadline"), AUTH_TOKEN)
    log = MessageLog(state_dir, keyring, SystemClock(), agent="echo")
    with serving(api) as server, nursery(state_dir, server.url) as senders:
        senders.spawn()
        wait_until((state_dir / "server-data/threadline-bridge.db").exists)
        time.sleep(0.5)  # the first look at the log must be before the first message
        faults = inject(server, rng, 900)
        said: dict[str, int] = {f"t{n}": 0 for n in range(THREADS)}
        kills = 0
        deadline = time.monotonic() + HANG_GUARD_S
        while arrived(api) < MESSAGES and time.monotonic() < deadline:
            if sum(said.values()) < MESSAGES:
                log.record([message(said, rng) for _ in range(rng.randrange(4, 10))])
            time.sleep(rng.uniform(0.02, 0.25))
            if kills < KILLS:
                senders.kill()
                kills += 1
                senders.spawn()
        total = dict(said)
        wait_until(lambda: arrived(api) >= sum(total.values()))
        time.sleep(1.0)  # the last corrections
        senders.kill()
    log.close()
    repeats = check_everything_arrived(api, total)
    spent = faults - sum(fault is not None for fault in server.faults)
    twins = sum("Dawn" in topic.name for topic in api.group.topics.values()) - THREADS
    print(f"seed {seed}: {kills} kills, {spent} faults, {repeats} marked copies, {twins} twins")
    assert kills == KILLS
    assert spent >= 80
    spoken_in = {m.topic_id for m in api.group.messages if law.TOKEN.search(m.text)}
    # A topic that Telegram makes after it was looked for has a twin; nothing is ever said there.
    assert len(spoken_in) <= THREADS
    assert api.violations == []


def message(said: dict[str, int], rng: random.Random) -> NewMessage:
    """The next message of a random thread; some are long, so that not all are merged."""
    thread = rng.choice(sorted(said))
    number = said[thread]
    said[thread] += 1
    filler = "word " * rng.choice([20, 40, 400, 500])
    return NewMessage(
        direction="in",
        counterparty="a1b2c3d4e5f60718",
        counterparty_name="Dawn",
        thread_id=thread,
        text=f"{filler}[{thread}:{number}]",
        id=f"{thread}-{number}",
    )


def wait_until(holds: object, timeout_s: float = 120.0) -> None:
    """Poll a condition that another process brings about."""
    assert callable(holds)
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
