"""The bridge's bars: enqueue beside its fsync, drain beside the allowed pace, memory with
100,000 queued.

    python -m benchmarks.bridge [--queued 100000]

Nothing here needs a network: the chat answers at once, in process, so that what is measured is
our own cost. CPU time holds on a busy machine, too; wall times want a quiet one.
"""

# The fakes take what the protocols pass, whether or not they use it.
# ruff: noqa: ARG002

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from instar_host.clock import SystemClock
from instar_threadline.bridge.feed import FeedBatch
from instar_threadline.bridge.intake import Audience, Intake
from instar_threadline.bridge.outbox import Limits, Outbox
from instar_threadline.bridge.policy import Decision, Rules
from instar_threadline.bridge.port import Sent, Topic
from instar_threadline.bridge.render import Document, Part
from instar_threadline.bridge.rows import Row
from instar_threadline.bridge.schema import open_bridge_database
from instar_threadline.bridge.target import GROUP_PACE, Pace
from instar_threadline.bridge.topics import Budget, Topics
from instar_threadline.bridge.watch import Chat, ChatOptions
from instar_threadline.bridge.worker import ChatWorker
from instar_threadline.messages import Message, Thread

TARGET = "telegram"
UNLIMITED = Pace(per_window=1_000_000, gap_ms=0, for_history=1_000_000)


class Echo:
    """A chat that takes everything at once."""

    def __init__(self) -> None:
        self.last = 1

    def capabilities(self) -> frozenset[str]:
        return frozenset({"topics", "entities", "documents", "edit", "message-ids"})

    def create_topic(self, name: str) -> Topic:
        self.last += 1
        return Topic(id=self.last, name=name)

    def has_topic(self, topic_id: int, name: str) -> bool:
        return False

    def reopen_topic(self, topic_id: int) -> None: ...

    def send(self, topic_id: int | None, part: Part, *, silent: bool) -> Sent:
        self.last += 1
        return Sent(message_id=self.last, topic_id=topic_id)

    def send_document(self, topic_id: int | None, document: Document, *, silent: bool) -> Sent:
        return self.send(topic_id, Part(text=document.caption), silent=silent)

    def edit(self, message_id: int, part: Part) -> None: ...

    def move_to(self, chat_id: int) -> None: ...


class Surroundings:
    """Says yes to everything: `Watch`, `Voices` and the log."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.recheck: Callable[[Row], Decision] = lambda _row: Decision(post=True, reason="queued")

    def may_send(self) -> bool:
        return True

    def is_on(self) -> bool:
        return True

    def is_quiet(self) -> bool:
        return False

    def settled(self, *_: object) -> None: ...

    def may_mirror(self, message: Message, thread: Thread) -> bool:
        return True

    def title(self, thread: Thread) -> str | None:
        return None

    def redactors(self) -> Sequence[tuple[str, Callable[[str], str]]]:
        return ()

    def read(self, mark: bytes | None) -> FeedBatch:
        batch, self.messages = tuple(self.messages), []
        return FeedBatch(messages=batch, mark=str(time.monotonic_ns()).encode())

    def end(self) -> bytes:
        return b"0"


def message(number: int, threads: int) -> Message:
    peer = f"{number % threads:016x}"
    return Message(
        direction="in",
        id=str(number),
        thread_id=f"thread-{number % threads}",
        counterparty=peer,
        counterparty_name="Dawn",
        text=f"message {number}: the index is built and the tests of the parser pass, all but two",
        timestamp="",
        timestamp_ms=1_777_629_600_000 + number,
        sender=peer,
        verified=True,
    )


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Timing(NamedTuple):
    """Milliseconds of one turn."""

    wall_ms: float
    cpu_ms: float


def timed(act: Callable[[], object]) -> Timing:
    """Do it once."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return Timing((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000)


def median(times: Sequence[Timing]) -> Timing:
    """Of each by itself."""
    return Timing(
        statistics.median(t.wall_ms for t in times), statistics.median(t.cpu_ms for t in times)
    )


def fsync_floor(folder: Path) -> Timing:
    """One small write and fsync: the floor of any durable enqueue."""
    with (folder / "floor").open("wb", buffering=0) as file:

        def write() -> None:
            file.write(b"x" * 400)
            os.fsync(file.fileno())

        return median([timed(write) for _ in range(300)])


class Bench:
    """One database, filled and drained."""

    def __init__(self, folder: Path, queued: int) -> None:
        self.folder = folder
        self.queued = queued
        self.clock = SystemClock()
        self.around = Surroundings()
        self.outbox = Outbox(open_bridge_database(folder), self.clock, Limits(rows=10 * queued))
        self.outbox.add_target(TARGET)
        self.topics = Topics(self.outbox, Budget(per_agent=100, total=100))
        self.intake = Intake(
            self.outbox,
            self.topics,
            self.around,
            audiences=[Audience(name=TARGET, kind="chat")],
            rules=lambda: Rules(enabled=True, auto_create_topics=True),
            local_name="echo",
            clock=self.clock,
        )
        self.intake.pull(self.around)

    def enqueue(self, first: int, count: int) -> Timing:
        """One pull of so many messages."""
        self.around.messages = [message(n, 20) for n in range(first, first + count)]
        return timed(lambda: self.intake.pull(self.around))

    def enqueue_cost(self) -> None:
        """One message a pull, beside the fsync that it cannot do without."""
        floor = fsync_floor(self.folder)
        one = median([self.enqueue(number, 1) for number in range(300)])
        print(f"fsync floor               {floor.wall_ms:8.3f} ms wall {floor.cpu_ms:8.3f} ms CPU")
        print(f"enqueue, one message      {one.wall_ms:8.3f} ms wall {one.cpu_ms:8.3f} ms CPU")
        beside = Timing(one.wall_ms - floor.wall_ms, one.cpu_ms - floor.cpu_ms)
        print(
            f"  beside the fsync        {beside.wall_ms:+8.3f} ms wall {beside.cpu_ms:+8.3f} ms CPU"
            "  (allowed: 1 ms)"
        )

    def fill(self) -> None:
        """Queue the rest in batches, as a start behind a long log does."""
        before = peak_mib()
        starts = range(300, self.queued, 500)
        times = [self.enqueue(first, min(500, self.queued - first)) for first in starts]
        cpu_ms = sum(t.cpu_ms for t in times) / (self.queued - 300)
        print(f"enqueue, batches of 500   {cpu_ms:22.3f} ms CPU a message")
        more = f"{peak_mib() - before:+.1f} since it was empty"
        print(f"memory, {self.queued} queued    {peak_mib():8.1f} MiB peak, {more}")

    def drain(self, steps: int = 400) -> None:
        """The worker's own cost beside the time that Telegram's pace leaves for it."""
        worker = ChatWorker(
            Chat(
                outbox=self.outbox,
                topics=self.topics,
                port=Echo(),
                watch=self.around,
                options=ChatOptions(target=TARGET, chat_id=-1, local_name="echo", pace=UNLIMITED),
                clock=self.clock,
                random=lambda: 0.0,
            )
        )
        one = median([timed(worker.step) for _ in range(steps)])
        sent = self.queued - self.outbox.waiting(TARGET)[0]
        allowed = 60_000 / GROUP_PACE.per_window
        print(
            f"drain, one operation      {one.wall_ms:8.3f} ms wall {one.cpu_ms:8.3f} ms CPU"
            f"  (allowed: one per {allowed:.0f} ms, so {one.cpu_ms / allowed:.2%} of a core)"
        )
        print(f"drain, messages a call    {sent / steps:8.1f}")
        print(f"memory after draining     {peak_mib():8.1f} MiB peak")


def measure(folder: Path, queued: int) -> None:
    """All three bars."""
    bench = Bench(folder, queued)
    bench.enqueue_cost()
    bench.fill()
    bench.drain()
    bench.outbox.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.queued)


if __name__ == "__main__":
    main()
