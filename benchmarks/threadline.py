"""`python -m benchmarks.threadline`: a million messages, indexed, listed, read, searched, appended.

Beside each question stands the way of the original: read both files whole and look at every record,
answering the same question. Texts are made of words whose frequency falls off as in a natural
language, from a fixed seed. Append is timed beside the two bare syncs that it has to wait for, in
turns, on the same disk. The goals are of wall time, on a quiet machine; CPU time stands beside it,
because a busy one adds to it far less. `--cold` drops the index from the page cache before each
question that is asked.
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
from functools import partial
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
SCAN_RUNS = 3
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


class Times:
    """Milliseconds of the runs of one question."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def take(self, question: Callable[[], object]) -> None:
        """One run more."""
        wall, cpu = time.perf_counter(), time.thread_time()
        question()
        self.wall.append((time.perf_counter() - wall) * 1000)
        self.cpu.append((time.thread_time() - cpu) * 1000)

    def __str__(self) -> str:
        half, most = at_share(self.wall, 0.5), at_share(self.wall, 0.99)
        cpu = f"{at_share(self.cpu, 0.5):.1f} / {at_share(self.cpu, 0.99):.1f}"
        return f"p50 {half:8.2f} ms  p99 {most:8.2f} ms  (CPU {cpu})"


def records(folder: Path) -> Iterator[dict[str, str]]:
    """The original's way: every record of both files, parsed."""
    for path in sorted((folder / "threadline").glob("*box.jsonl.*")):
        for line in path.read_bytes().splitlines():
            yield json.loads(line)


def scan_threads(folder: Path) -> object:
    """The original's list: every thread with its count and its last instant."""
    threads: dict[str, tuple[int, str]] = {}
    for record in records(folder):
        count, last = threads.get(record["threadId"], (0, ""))
        threads[record["threadId"]] = (count + 1, max(last, record["timestamp"]))
    return sorted(threads.items(), key=lambda item: item[1][1], reverse=True)[:200]


def scan_thread(folder: Path) -> object:
    """The original's conversation."""
    return [record for record in records(folder) if record["threadId"] == "thread-1"]


def scan_search(folder: Path) -> object:
    """The original's search."""
    return [record for record in records(folder) if RARE in record["text"].lower()]


SCANS = (
    ("the original: list", scan_threads),
    ("the original: a thread", scan_thread),
    ("the original: search", scan_search),
)


def drop_from_cache(folder: Path) -> None:
    """Let the disk be asked again for the index."""
    for path in (folder / "server-data").glob("*.db"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def questions(
    folder: Path, keyring: Keyring, count: int, runs: int, *, cold: bool
) -> list[tuple[str, Times]]:
    """(what, times); `cold`: nothing of the index is in memory when a question is asked."""
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
        times = Times()
        for i in range(runs):
            if cold:
                readers.close()
                drop_from_cache(folder)
            times.take(partial(question, i))
        found.append((name, times))
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
    parser.add_argument("--cold", action="store_true", help="the index not in memory")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        keyring = open_keyring(str(folder / "threadline"), "benchmark")
        if not (folder / "threadline" / "inbox.head").exists():
            mean = build(folder, keyring, given.messages)
            print(f"{given.messages} messages of {mean:.0f} characters on average")
        for path in (folder / "server-data").glob("*"):
            path.unlink()
        return report(folder, keyring, given)


def catch_up(folder: Path, keyring: Keyring, count: int) -> bool:
    """Fill the index; true when that was as fast as it should be."""
    index = Index(folder, keyring, lambda: 0)
    wall, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
    index.catch_up()
    wall, cpu = time.perf_counter() - wall, (time.process_time() - cpu) / count * 1e6
    own = (time.thread_time() - own) / count * 1e6
    index.close()
    print(
        f"catch-up: {count / wall:,.0f} messages/s; CPU {cpu:.1f} us each:"
        f" {own:.1f} reading, checking and indexing, {cpu - own:.1f} text, side by side"
    )
    return count / wall >= GOAL_CATCH_UP


def report(folder: Path, keyring: Keyring, given: argparse.Namespace) -> int:
    """All the measurements, in turn."""
    missed = int(not catch_up(folder, keyring, given.messages))
    for name, times in questions(folder, keyring, given.messages, given.runs, cold=given.cold):
        missed += at_share(times.wall, 0.99) > GOAL_MS
        print(f"{name:<34} {times}")
    for name, scan in SCANS:
        times = Times()
        for _ in range(SCAN_RUNS):
            times.take(partial(scan, folder))
        print(f"{name:<34} {times}")
    ours, bare, beside = append(folder, keyring)
    missed += beside > GOAL_APPEND_MS
    print(
        f"append: p50 {ours:.2f} ms, its two syncs alone {bare:.2f} ms, beside them {beside:.2f} ms"
    )
    print(f"{missed} of the goals missed" if missed else "every goal met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
