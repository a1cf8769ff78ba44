"""The bridge's bars: enqueue beside its fsync, drain beside the allowed pace, memory with
100,000 queued.

    python benchmarks/bridge.py [--queued 100000]

Nothing here needs a network: the chat answers at once, in process, so that what is measured is
our own cost.
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


def fsync_ms(folder: Path) -> float:
    """The median of one small write and fsync: the floor of any durable enqueue."""
    times = []
    with (folder / "floor").open("wb", buffering=0) as file:
        for _ in range(100):
            began = time.perf_counter()
            file.write(b"x" * 400)
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def measure(folder: Path, queued: int) -> None:
    clock = SystemClock()
    around = Surroundings()
    outbox = Outbox(open_bridge_database(folder), clock, Limits(rows=10 * queued))
    outbox.add_target(TARGET)
    topics = Topics(outbox, Budget(per_agent=100, total=100))
    intake = Intake(
        outbox,
        topics,
        around,
        audiences=[Audience(name=TARGET, kind="chat")],
        rules=lambda: Rules(enabled=True, auto_create_topics=True),
        local_name="echo",
        clock=clock,
    )
    intake.pull(around)
    floor = fsync_ms(folder)
    times = []
    for number in range(300):
        around.messages = [message(number, 20)]
        began = time.perf_counter()
        intake.pull(around)
        times.append((time.perf_counter() - began) * 1000)
    median = statistics.median(times)
    print(f"fsync floor                {floor:8.3f} ms")
    print(
        f"enqueue, one message       {median:8.3f} ms  ({median - floor:+.3f} ms beside the fsync)"
    )
    before = peak_mib()
    began = time.perf_counter()
    for start in range(300, queued, 500):
        around.messages = [message(n, 20) for n in range(start, min(start + 500, queued))]
        intake.pull(around)
    took = time.perf_counter() - began
    print(f"enqueue, batches of 500    {took / (queued - 300) * 1000:8.3f} ms a message")
    print(f"memory, {queued} queued     {peak_mib():8.1f} MiB peak ({peak_mib() - before:+.1f})")
    options = ChatOptions(target=TARGET, chat_id=-1, local_name="echo", pace=UNLIMITED)
    worker = ChatWorker(
        Chat(
            outbox=outbox,
            topics=topics,
            port=Echo(),
            watch=around,
            options=options,
            clock=clock,
            random=lambda: 0.0,
        )
    )
    began = time.perf_counter()
    steps = 0
    while steps < 400 and outbox.waiting(TARGET)[0]:
        worker.step()
        steps += 1
    took = time.perf_counter() - began
    sent = queued - outbox.waiting(TARGET)[0]
    allowed = 60_000 / GROUP_PACE.per_window
    per_step = took / steps * 1000
    print(f"drain, one operation       {per_step:8.3f} ms  (allowed: one per {allowed:.0f} ms)")
    print(f"drain, messages/operation  {sent / steps:8.1f}")
    print(f"memory after draining      {peak_mib():8.1f} MiB peak")
    outbox.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.queued)


if __name__ == "__main__":
    main()
