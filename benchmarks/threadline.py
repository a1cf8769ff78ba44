"""`python -m benchmarks.threadline`: a million messages, indexed, listed, read, searched, appended.

Beside each question stands the way of the original: read both files whole and look at every record.
Texts are made of words whose frequency falls off as in a natural language, from a fixed seed.
Append is timed beside the two bare syncs that it has to wait for, in turns, on the same disk.
Wall times; the CPU time of the catch-up is shown too, because wall time says little on a busy
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.measure import at_share
from instar_host.clock import SystemClock
from instar_threadline.messages import NewMessage
from instar_threadline.record.disk import Disk
from instar_threadline.record.index import Index
from instar_threadline.record.keyring import Keyring, open_keyring
from instar_threadline.record.lines import iso_instant
from instar_threadline.record.log import MessageLog
from instar_threadline.record.readers import Readers
from instar_threadline.record.search import Search
from instar_threadline.record.views import Views
from instar_threadline.sources.statefiles import StateFiles

SEED = 7
BEGIN_MS = 1_750_000_000_000
EVERY_MS = 20_000
MESSAGES_A_THREAD = 100
VOCABULARY = 20_000
BATCH = 1000
APPENDS = 200
RARE = "zygomorphic"
PHRASE = "the quick brown fox"
ABSENT = "qqzzxxyy"
GOAL_MS = 50.0
GOAL_APPEND_MS = 2.0
GOAL_CATCH_UP = 40_000


class Unsynced(Disk):
    """For building the corpus only: a million syncs would measure the disk."""

    def sync(self, descriptor: int) -> None:
        del descriptor


def corpus(count: int) -> Iterator[NewMessage]:
    """The messages, in the order of time."""
    rng = random.Random(SEED)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = [1 / (i + 1) ** 0.6 for i in range(len(letters))]
    words = ["".join(rng.choices(letters, weights, k=rng.randint(2, 9))) for _ in range(VOCABULARY)]
    shares = [1 / (i + 1) for i in range(VOCABULARY)]
    pool = rng.choices(words, shares, k=200_000)
    threads = max(1, count // MESSAGES_A_THREAD)
    for i in range(count):
        start = rng.randrange(len(pool) - 30)
        text = " ".join(pool[start : start + rng.randint(4, 30)])
        if i % 50_000 == 77:
            text += f" {RARE}"
        if i % 5_000 == 99:
            text += f" {PHRASE}"
        peer = rng.randrange(200)
        yield NewMessage(
            direction="in" if i % 2 else "out",
            counterparty=f"{peer:032x}",
            counterparty_name=f"Agent {peer}",
            thread_id=f"thread-{rng.randrange(threads)}",
            text=text,
            id=f"m-{i}",
            timestamp=iso_instant(BEGIN_MS + i * EVERY_MS),
        )


def build(folder: Path, keyring: Keyring, count: int) -> float:
    """Write the corpus through the funnel; returns bytes a text on average."""
    log = MessageLog(folder, keyring, SystemClock(), agent="echo", disk=Unsynced())
    batch: list[NewMessage] = []
    size = 0
    for message in corpus(count):
        size += len(message.text)
        batch.append(message)
        if len(batch) == BATCH:
            log.record(batch)
            batch = []
    if batch:
        log.record(batch)
    log.close()
    return size / count


def timed(runs: int, question: Callable[[int], object]) -> list[float]:
    """Milliseconds of each run."""
    found = []
    for i in range(runs):
        begun = time.perf_counter()
        question(i)
        found.append((time.perf_counter() - begun) * 1000)
    return sorted(found)


def full_scan(folder: Path, keep: Callable[[dict[str, str]], bool]) -> int:
    """The original's way: every record of both files, parsed and looked at."""
    hits = 0
    for path in sorted((folder / "threadline").glob("*box.jsonl.*")):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            hits += keep(record)
    return hits


def questions(
    folder: Path, keyring: Keyring, count: int, runs: int
) -> list[tuple[str, float, float]]:
    """(what, p50, p99) in milliseconds."""
    readers = Readers(folder)
    files = StateFiles(str(folder / "threadline"))
    views, search = Views(readers, files, keyring), Search(readers, files, time.perf_counter)
    rng = random.Random(SEED)
    threads = max(1, count // MESSAGES_A_THREAD)
    cursor = views.threads(limit=1000).next_cursor
    common = [word for word in next(corpus(1)).text.split() if len(word) >= 4][:1] or ["atth"]

    def thread(_: int) -> object:
        return views.thread(f"thread-{rng.randrange(threads)}")

    def find(text: str, **filters: str) -> Callable[[int], object]:
        return lambda _: search.messages(text, limit=50, **filters)  # type: ignore[arg-type]

    asked: list[tuple[str, Callable[[int], object]]] = [
        ("list, first page of 200", lambda _: views.threads()),
        ("list, page after 1000", lambda _: views.threads(cursor=cursor)),
        ("list, one agent", lambda i: views.threads(remote_agent=f"Agent {i % 200}")),
        ("a thread of about 100", thread),
        ("figures over everything", lambda _: views.stats()),
        (f"search, common ({common[0]})", find(common[0])),
        ("search, rare", find(RARE)),
        ("search, phrase", find(PHRASE)),
        ("search, absent", find(ABSENT)),
        ("search, absent, common letters", find("rattleseed")),
        ("search, three characters", find("the")),
        ("search, common, one agent", find(common[0], remote_agent="Agent 17")),
    ]
    found = []
    for name, question in asked:
        times = timed(runs, question)
        found.append((name, at_share(times, 0.5), at_share(times, 0.99)))
    readers.close()
    return found


def append(folder: Path, keyring: Keyring) -> tuple[float, float, float]:
    """(p50 of an append, p50 of its two syncs alone, p50 of the difference in turns), ms."""
    readers = Readers(folder)
    log = MessageLog(folder, keyring, SystemClock(), agent="echo", known=readers)
    log.record([NewMessage(direction="in", counterparty="a" * 32, thread_id="bench", text="warm")])
    ours, bare = [], []
    descriptors = [
        os.open(folder / f"bare-{i}", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600) for i in (0, 1)
    ]
    for i in range(APPENDS):
        begun = time.perf_counter()
        log.record(
            [NewMessage(direction="in", counterparty="a" * 32, thread_id="bench", text=f"m {i}")]
        )
        ours.append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        for descriptor in descriptors:
            os.write(descriptor, b"x" * 350)
            os.fdatasync(descriptor)
        bare.append((time.perf_counter() - begun) * 1000)
    for descriptor in descriptors:
        os.close(descriptor)
    log.close()
    readers.close()
    beside = sorted(a - b for a, b in zip(ours, bare, strict=True))
    return at_share(sorted(ours), 0.5), at_share(sorted(bare), 0.5), at_share(beside, 0.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; exit 1 when one misses its goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="keep the corpus here, and use it again")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        keyring = open_keyring(str(folder / "threadline"), "benchmark")
        if not (folder / "threadline" / "inbox.head").exists():
            mean = build(folder, keyring, given.messages)
            print(f"{given.messages} messages of {mean:.0f} characters on average")
        for path in (folder / "server-data").glob("*"):
            path.unlink()
        return report(folder, keyring, given.messages, given.runs)


def report(folder: Path, keyring: Keyring, count: int, runs: int) -> int:
    """All the measurements, in turn."""
    missed = 0
    index = Index(folder, keyring, lambda: 0)
    wall, cpu = time.perf_counter(), time.process_time()
    index.catch_up()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    index.close()
    missed += count / wall < GOAL_CATCH_UP
    print(f"catch-up: {count / wall:,.0f} messages/s (CPU {cpu / count * 1e6:.0f} us each)")
    for name, half, most in questions(folder, keyring, count, runs):
        missed += most > GOAL_MS
        print(f"{name:<34} p50 {half:8.2f} ms   p99 {most:8.2f} ms")
    scan = timed(3, lambda _: full_scan(folder, lambda record: RARE in record["text"].lower()))
    print(f"{'the original: one full scan':<34} p50 {at_share(scan, 0.5):8.0f} ms")
    ours, bare, beside = append(folder, keyring)
    missed += beside > GOAL_APPEND_MS
    print(
        f"append: p50 {ours:.2f} ms, its two syncs alone {bare:.2f} ms, beside them {beside:.2f} ms"
    )
    print(f"{missed} of the goals missed" if missed else "every goal met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
