"""A whole bridge in one process, without sockets, threads or real time.

The client is the real one; its transport hands each request to the fake Bot API and can fail
before or after the effect, as a network does. Time is a clock that only `run` moves.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace

from instar_host.testing import FakeClock
from instar_threadline.bridge.feed import FeedBatch
from instar_threadline.bridge.intake import Audience, Intake
from instar_threadline.bridge.outbox import Limits, Outbox
from instar_threadline.bridge.policy import Decision, Rules
from instar_threadline.bridge.rows import Row, key_of
from instar_threadline.bridge.schema import open_bridge_database
from instar_threadline.bridge.target import GROUP_PACE, Pace
from instar_threadline.bridge.telegram import TelegramClient
from instar_threadline.bridge.topics import Budget, Topics
from instar_threadline.bridge.watch import Chat, ChatOptions
from instar_threadline.bridge.worker import IDLE_S, ChatWorker
from instar_threadline.messages import Message, Thread
from tests.threadline.bridge.fake_bot_api import GROUP, TOKEN, BotApi, Fault, RefusedError

TARGET = "telegram"
OPEN = Rules(enabled=True, auto_create_topics=True)
DAWN = "a1b2c3d4e5f60718"


class ApiTransport(httpx.BaseTransport):
    """Requests to the fake, in process. `faults` are spent on writing calls."""

    def __init__(self, api: BotApi) -> None:
        self.api = api
        self.faults: list[Fault | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        method = request.url.path.rpartition("/")[2]
        fields = _fields(request)
        fault = self.faults.pop(0) if self.faults and not method.startswith("get") else None
        if fault in ("reset-before", "hang-before"):
            raise httpx.ReadError("reset", request=request)
        if fault in ("502-before", "500-restart"):
            return _answer(502, b"<html>")
        try:
            answer: dict[str, Any] = {"ok": True, "result": self.api.call(method, fields)}
            status = 200
        except RefusedError as refused:
            status = refused.code
            answer = {"ok": False, "error_code": status, "description": refused.description}
            if refused.parameters:
                answer["parameters"] = refused.parameters
        if fault in ("reset-after", "hang-after", "half-answer"):
            raise httpx.ReadTimeout("gone", request=request)
        if fault in ("502-after", "garbage"):
            return _answer(502, b"<html>")
        return _answer(status, json.dumps(answer).encode())


def _answer(status: int, body: bytes) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(body))


def _fields(request: httpx.Request) -> dict[str, Any]:
    from tests.threadline.bridge.fake_bot_server import parse_fields

    request.read()
    return parse_fields(request.headers.get("content-type", ""), request.content)


class Log:
    """A log in memory, as the intake reads it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def read(self, mark: bytes | None) -> FeedBatch:
        start = int(mark or b"0")
        batch = self.messages[start : start + 100]
        end = start + len(batch)
        more = end < len(self.messages)
        return FeedBatch(messages=tuple(batch), mark=str(end).encode(), more=more)

    def end(self) -> bytes:
        return str(len(self.messages)).encode()


class World:
    """The bridge, its chat and its clock. Also its own `Watch` and `Voices`."""

    def __init__(
        self,
        state_dir: Path,
        *,
        api: BotApi | None = None,
        rules: Rules = OPEN,
        budget: Budget | None = None,
        limits: Limits | None = None,
        pace: Pace = GROUP_PACE,
        on_deleted: str = "recreate",
        clock: FakeClock | None = None,
        log: Log | None = None,
        greeted: bool = True,
    ) -> None:
        """`greeted`: the group has been told what the bot is for, as at any time but the first."""
        self.state_dir = state_dir
        self.clock = clock or FakeClock()
        self.api = api or BotApi(now=self.clock.monotonic_s)
        self.log = log or Log()
        self.rules = rules
        self.on = True
        self.leader = True
        self.quiet = False
        self.vetoes: Callable[[Message], bool] = lambda _message: False
        self.chain: list[tuple[str, Callable[[str], str]]] = []
        self.titles: Callable[[Thread], str | None] = lambda _thread: None
        self.settlements: list[tuple[tuple[Row, ...], str, int | None, str]] = []
        self.transport = ApiTransport(self.api)
        self._config = (budget or Budget(), limits or Limits(), pace, on_deleted)
        self._ids = itertools.count(1)
        self.start()
        if greeted:
            known = (key_of("greeting", GROUP), "before")
            self.outbox.connection.execute(
                "INSERT OR IGNORE INTO delivered VALUES (?, ?, ?, 0, NULL, 0)", (TARGET, *known)
            )

    def start(self) -> None:
        """What a new process does."""
        budget, limits, pace, on_deleted = self._config
        self.outbox = Outbox(open_bridge_database(self.state_dir), self.clock, limits)
        self.topics = Topics(self.outbox, budget, on_deleted)
        self.outbox.add_target(TARGET)
        self.client = TelegramClient(token=TOKEN, chat_id=GROUP, transport=self.transport)
        self.worker = ChatWorker(
            Chat(
                outbox=self.outbox,
                topics=self.topics,
                port=self.client,
                watch=self,
                options=ChatOptions(target=TARGET, chat_id=GROUP, local_name="echo", pace=pace),
                clock=self.clock,
                random=random.Random(7).random,
            )
        )
        self.intake = Intake(
            self.outbox,
            self.topics,
            self,
            audiences=[Audience(name=TARGET, kind="chat")],
            rules=lambda: replace(self.rules, enabled=self.on and self.rules.enabled),
            local_name="echo",
            clock=self.clock,
            human_names=("human",),
        )
        self.pull()

    def restart(self) -> None:
        """End without any goodbye, and begin again."""
        self.outbox.connection.close()
        self.start()

    def close(self) -> None:
        self.outbox.close()

    def say(self, text: str = "hello", thread: str = "t1", **changes: Any) -> Message:
        """Append a message to the log."""
        number = next(self._ids)
        fields: dict[str, Any] = {
            "direction": "in",
            "id": f"m-{number}",
            "thread_id": thread,
            "counterparty": DAWN,
            "counterparty_name": "Dawn",
            "text": text,
            "timestamp": "",
            "timestamp_ms": self.clock.now_ms(),
            "sender": DAWN,
            "verified": True,
            **changes,
        }
        message = Message(**fields)
        self.log.messages.append(message)
        return message

    def pull(self) -> None:
        """Take in everything that the log has."""
        while self.intake.pull(self.log):
            pass

    def run(self, limit_s: float = 7 * 24 * 3600.0, *, steps: int = 100_000) -> float:
        """Take in and work until nothing is left to do; how much time that took."""
        self.pull()
        began = self.clock.monotonic_s()
        idle = 0
        for _ in range(steps):
            wait_s = self.worker.step()
            if self.waiting() == 0 and not self.under_way() and not self.corrections():
                break
            left_s = began + limit_s - self.clock.monotonic_s()
            self.clock.advance(min(wait_s, left_s))
            if wait_s >= left_s:
                break
            idle = idle + 1 if wait_s == IDLE_S else 0
            if idle == 3:
                break
        return self.clock.monotonic_s() - began

    def waiting(self) -> int:
        return self.outbox.waiting(TARGET)[0]

    def under_way(self) -> bool:
        return bool(self.outbox.connection.execute("SELECT count(*) FROM flight").get)

    def corrections(self) -> bool:
        return bool(self.outbox.connection.execute("SELECT count(*) FROM correction").get)

    def counter(self, name: str) -> int:
        value = self.outbox.connection.execute(
            "SELECT value FROM counter WHERE target = ? AND name = ?", (TARGET, name)
        ).get
        return msgspec.convert(value or 0, int)

    def shown(self, chat: int = GROUP) -> str:
        """Everything in the chat, in order."""
        return "\n".join(message.text for message in self.api.chats[chat].messages)

    def may_send(self) -> bool:
        return self.leader

    def is_on(self) -> bool:
        return self.on

    def is_quiet(self) -> bool:
        return self.quiet

    def recheck(self, row: Row) -> Decision:
        return self.intake.decide_again(row)

    def settled(self, rows: Sequence[Row], status: str, topic_id: int | None, reason: str) -> None:
        self.settlements.append((tuple(rows), status, topic_id, reason))

    def may_mirror(self, message: Message, thread: Thread) -> bool:
        return not self.vetoes(message)

    def title(self, thread: Thread) -> str | None:
        return self.titles(thread)

    def redactors(self) -> Sequence[tuple[str, Callable[[str], str]]]:
        return self.chain
