"""The bridge of one host: opened where the lease is held, fed, worked and closed.

Promises that nothing is opened before a tick or a command needs it; that a part that cannot be
opened is reported and tried again, never given up; and that after `close` nothing is written.
Never reads settings but through their owners, so that a change takes effect with the next
message.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import TYPE_CHECKING

import apsw
from msgspec import Struct

from instar_host.errors import InstarError, reason
from instar_host.records import HostContext, TickControl
from instar_host.store.errors import MissingStore, StoreError
from instar_threadline.bridge import bindings, status
from instar_threadline.bridge.bindings import BindingsFile
from instar_threadline.bridge.connection import Connection, find_connection
from instar_threadline.bridge.feed import LogFeed
from instar_threadline.bridge.intake import Audience, Intake, message_of_row
from instar_threadline.bridge.jsonl import JsonlFile
from instar_threadline.bridge.options import SECTION, BridgeOptions
from instar_threadline.bridge.outbox import Outbox
from instar_threadline.bridge.policy import Decision, QuietHours, Rules, is_quiet
from instar_threadline.bridge.port import ChatPort
from instar_threadline.bridge.rows import Row
from instar_threadline.bridge.schema import open_bridge_database, open_bridge_reader
from instar_threadline.bridge.settings import BridgeSettingsStore
from instar_threadline.bridge.sinks import HostChat, SinkWorker, lost_at, target_of
from instar_threadline.bridge.status import BridgeStatus
from instar_threadline.bridge.target import GROUP_PACE, PRIVATE_PACE, Pace
from instar_threadline.bridge.topics import Topics
from instar_threadline.bridge.voices import PluginVoices
from instar_threadline.bridge.watch import Chat, ChatOptions, Settled
from instar_threadline.bridge.worker import ChatWorker
from instar_threadline.record.keyring import Keyring
from instar_threadline.records import BridgeSink, Mirrored

if TYPE_CHECKING:
    from instar_threadline.bridge.telegram import TelegramClient

CHAT_TARGET = "telegram"
FEED_TICK = "threadline-bridge-feed"
SEND_TICK = "threadline-bridge-send"
SINKS_TICK = "threadline-bridge-sinks"
NO_CHAT_RETRY_S = 60.0
NOT_CONFIGURED = (
    "no bot is configured: set INSTAR_TELEGRAM_TOKEN and INSTAR_TELEGRAM_CHAT_ID, or see"
    " docs/telegram.md"
)
TROUBLE = (apsw.Error, OSError, StoreError, InstarError)


class Surroundings(Struct, frozen=True, kw_only=True):
    """What the plugin gives the bridge."""

    host: HostContext
    settings: BridgeSettingsStore
    keyring: Callable[[], Keyring]
    agent: Callable[[], str]
    """This agent's name in headers and topics."""
    pace: Pace | None = None
    """Another pace than Telegram's, for a server of one's own."""


class _Parts(Struct, kw_only=True):
    """What is open."""

    outbox: Outbox
    topics: Topics
    intake: Intake
    feed: LogFeed
    sinks: list[SinkWorker]
    chat: ChatWorker | None = None


class Bridge:
    """Feed, workers and doors of one host. Callable from any thread."""

    def __init__(self, around: Surroundings) -> None:
        self.host = around.host
        self.settings = around.settings
        self.problems: dict[str, str] = {}
        self._options, self._quiet, self.zone = self._read_options()
        self.keyring = around.keyring
        self.agent = around.agent
        self._pace = around.pace
        self._voices = PluginVoices(around.host)
        self._opening = threading.RLock()
        self._parts: _Parts | None = None
        self._connection: Connection | None = None
        self._can: frozenset[str] = frozenset()
        self._closed = False
        self._close_client: Callable[[], None] = lambda: None
        self._bindings = BindingsFile(
            around.host.state_dir / bindings.FILE, CHAT_TARGET, around.host.clock
        )

    def feed(self, control: TickControl) -> float | None:
        """Take in what the log has; the tick of the feed."""
        parts = self.open()
        while not control.stopping():
            if not parts.intake.pull(parts.feed):
                break
        if parts.outbox.waiting(CHAT_TARGET)[0]:
            self.host.wake(SEND_TICK)
        if parts.sinks:
            self.host.wake(SINKS_TICK)
        return None

    def send(self, control: TickControl) -> float | None:
        """Work for the chat until it has to wait; the tick of the worker."""
        parts = self.open()
        self._bindings.bring_up_to_date(parts.topics)
        chat = self._chat(parts)
        if chat is None:
            return NO_CHAT_RETRY_S
        while not control.stopping() and not self._closed:
            wait_s = chat.step()
            if wait_s > 0:
                self._bindings.bring_up_to_date(parts.topics)
                return wait_s
        return None

    def serve_sinks(self, control: TickControl) -> float | None:
        """Work for plugins' sinks; their tick."""
        parts = self.open()
        waits = [NO_CHAT_RETRY_S]
        for sink in parts.sinks:
            wait_s = 0.0
            while wait_s <= 0 and not control.stopping() and not self._closed:
                wait_s = sink.step()
            waits.append(wait_s)
        return min(waits)

    def open(self) -> _Parts:
        """The parts, opened when they are not. Raises InstarError and the like; asked again
        later.
        """
        with self._opening:
            if self._closed:
                raise InstarError("the bridge is closed")
            if "options" in self.problems:
                raise InstarError(self.problems["options"])
            if self._parts is None:
                try:
                    self._parts = self._opened()
                except TROUBLE as error:
                    self.problems["database"] = reason(error)
                    raise
                self.problems.pop("database", None)
            return self._parts

    def status(self) -> BridgeStatus:
        """How the bridge fares; read from the file when another process keeps it."""
        settings, broken = self.settings.current()
        found = tuple(filter(None, (*self.problems.values(), self.damage))) or self._configured()
        problems = (*found, broken) if broken else found
        about = status.About(
            enabled=settings.enabled,
            sends=self._parts is not None and self.host.holds_lease(),
            connection=self._connection.origin if self._connection is not None else self.lent_by(),
            lost=lost_at(self._can),
            problems=tuple(problem for problem in problems if problem),
        )
        parts = self._parts
        if parts is not None:
            with parts.outbox.lock:
                return status.read(parts.outbox.connection, about)
        try:
            reader = open_bridge_reader(self.host.state_dir)
        except MissingStore:
            return status.empty(about)
        try:
            return status.read(reader, about)
        finally:
            reader.close()

    def lent_by(self) -> str:
        """Whose Telegram is used where no bot is configured; empty when there is none."""
        found = self.host.plugins.first("instar_telegram", host=self.host)
        return f"the host ({found.plugin})" if found is not None else ""

    def chat(self) -> ChatWorker | None:
        """The chat's worker; None when no bot is configured."""
        return self._chat(self.open())

    @property
    def damage(self) -> str:
        """Why topics that exist may be unknown; empty when they are not."""
        return self._bindings.problem

    def close(self) -> None:
        """Close what is open; a call that is under way ends as unclear and is resolved next
        time.
        """
        with self._opening:
            self._closed = True
            parts, self._parts = self._parts, None
        if parts is not None:
            try:
                self._bindings.bring_up_to_date(parts.topics, at_once=True)
            except TROUBLE as error:
                self.problems["database"] = reason(error)
            parts.outbox.close()
            self._close_client()

    # What the workers ask (`Watch`)

    def may_send(self) -> bool:
        return not self._closed and self.host.holds_lease()

    def is_on(self) -> bool:
        return self.settings.current()[0].enabled

    def is_quiet(self) -> bool:
        now = datetime.fromtimestamp(self.host.clock.now_ms() / 1000, self.zone)
        return is_quiet(self._quiet, now.hour * 60 + now.minute)

    def recheck(self, row: Row) -> Decision:
        return self.open().intake.decide_again(row)

    def settled(
        self, rows: Sequence[Row], status: Settled, topic_id: int | None, reason: str
    ) -> None:
        for row in rows:
            if row.kind in ("message", "repeat"):
                event = Mirrored(
                    message=message_of_row(row),
                    sink=row.target,
                    status=status,
                    topic_id=topic_id,
                    at_ms=self.host.clock.now_ms(),
                    reason=reason,
                )
                self.host.plugins.notify("threadline_mirrored", event=event)

    # Inside

    def _read_options(self) -> tuple[BridgeOptions, QuietHours | None, tzinfo]:
        """The section; one that cannot be read keeps the bridge shut, and nothing else."""
        try:
            options = self.host.config.section(SECTION, BridgeOptions)
            return options, options.quiet(), options.zone()
        except InstarError as error:
            self.problems["options"] = str(error)
            return BridgeOptions(), None, UTC

    def _opened(self) -> _Parts:
        clock = self.host.clock
        self._configured()  # finds the bot's token, which no message may carry
        outbox = Outbox(open_bridge_database(self.host.state_dir), clock, self._options.limits())
        topics = Topics(outbox, self._options.budget(), self._options.on_topic_deleted)
        outbox.add_target(CHAT_TARGET)
        sinks = [
            SinkWorker(outbox, sink, self, clock=clock, random=_spread) for sink in self._sinks()
        ]
        audiences = [Audience(name=CHAT_TARGET, kind="chat")]
        audiences += [Audience(name=target_of(sink), kind="sink") for sink in self._sinks()]
        intake = Intake(
            outbox,
            topics,
            self._voices,
            audiences=audiences,
            rules=self._rules,
            local_name=self.agent(),
            clock=clock,
            secrets=self._secrets,
            notify=self._options.notify,
            human_names=self._options.human_names,
        )
        self._bindings.take_over(topics)
        feed = LogFeed(self.host.state_dir, self.keyring)
        return _Parts(outbox=outbox, topics=topics, intake=intake, feed=feed, sinks=sinks)

    def _sinks(self) -> list[BridgeSink]:
        own = self._options.jsonl_file
        file = [JsonlFile(self.host.state_dir / own).sink()] if own else []
        return [*file, *self._voices.sinks()]

    def _rules(self) -> Rules:
        settings = self.settings.current()[0]
        return Rules(
            enabled=settings.enabled,
            auto_create_topics=settings.auto_create_topics,
            mirror_existing=settings.mirror_existing,
            allow_list=frozenset(settings.allow_list),
            deny_list=frozenset(settings.deny_list),
        )

    def _secrets(self) -> Iterable[str]:
        """What must never be shown, wherever it turns up."""
        yield self.host.config.token()
        if self._connection is not None:
            yield self._connection.token

    def _configured(self) -> tuple[str, ...]:
        """What is wrong with the connection, for a process that has not opened it."""
        try:
            self._connection = self._connection or find_connection(self.host.config)
        except InstarError as error:
            return (str(error),)
        if not self.is_on():
            return ()
        return () if self._connection is not None or self.lent_by() else (NOT_CONFIGURED,)

    def _chat(self, parts: _Parts) -> ChatWorker | None:
        with self._opening:
            if parts.chat is None:
                parts.chat = self._new_chat(parts)
            return parts.chat

    def _new_chat(self, parts: _Parts) -> ChatWorker | None:
        try:
            self._connection = find_connection(self.host.config)
            port, chat_id = self._port(self._connection)
        except TROUBLE as error:
            self.problems["telegram"] = reason(error)
            return None
        self.problems.pop("telegram", None)
        if port is None:
            if self.is_on():  # as long as it is off, no bot is no problem
                self.problems["telegram"] = NOT_CONFIGURED
            return None
        self._can = port.capabilities()
        options = ChatOptions(
            target=CHAT_TARGET,
            chat_id=chat_id,
            local_name=self.agent(),
            pace=self._pace or (PRIVATE_PACE if chat_id > 0 else GROUP_PACE),
            zone=self.zone,
        )
        return ChatWorker(
            Chat(
                outbox=parts.outbox,
                topics=parts.topics,
                port=port,
                watch=self,
                options=options,
                clock=self.host.clock,
                random=_spread,
            )
        )

    def _port(self, connection: Connection | None) -> tuple[ChatPort | None, int]:
        """Our client when a bot is configured, else the host's own Telegram."""
        if connection is not None:
            client = self.client(connection)
            self._close_client = client.close
            return client, connection.chat_id
        found = self.host.plugins.first("instar_telegram", host=self.host)
        if found is None:
            return None, 0
        return HostChat(found.value, partial(self.host.plugins.report, found.plugin)), 0

    def client(self, connection: Connection) -> TelegramClient:
        """Our own client. Raises InstarError when the extra is missing or the connection is
        wrong.
        """
        try:
            from instar_threadline.bridge import telegram
        except ModuleNotFoundError:
            raise InstarError(
                "sending to Telegram needs httpx: pip install 'instar-plugins[telegram]'"
            ) from None
        try:
            return telegram.TelegramClient(
                token=connection.token,
                chat_id=connection.chat_id,
                transport=telegram.open_transport(connection.base_url),
                base_url=connection.base_url,
                protect_content=self._options.protect_content,
            )
        except telegram.BadConnection as error:
            raise InstarError(f"{connection.origin}: {error}") from None


def _spread() -> float:
    return random.random()  # noqa: S311 - it only spreads waits
