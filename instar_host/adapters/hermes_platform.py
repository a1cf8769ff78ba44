"""Ours inside Hermes's gateway: a platform that only listens, and the way to Hermes's Telegram.

Promises that nothing runs before `connect`, that nothing is left after `disconnect`, and that the
gateway's loop is never blocked. Imported by the gateway only. Never sends a message of its own into
a conversation of Hermes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from gateway.config import Platform  # type: ignore[import-not-found]
from gateway.platforms.base import (  # type: ignore[import-not-found]
    BasePlatformAdapter,
    SendResult,
)

from instar_host.adapters.entry import Entry
from instar_host.adapters.resident import Resident
from instar_host.errors import ConfigError
from instar_host.hookspecs import hookimpl
from instar_host.records import HostContext, TelegramPort, TopicSent

CALL_S = 60.0
"""How long a call to Hermes's Telegram may take before nobody knows what became of it."""
CHAT_KEY = "telegramChatId"
USAGE_TICK = "hermes-usage"


class InstarPlatform(BasePlatformAdapter):  # type: ignore[misc]
    """What the gateway holds of us."""

    supports_async_delivery = False

    def __init__(self, config: Any, entry: Entry) -> None:
        super().__init__(config=config, platform=Platform("instar"))
        self._entry = entry
        self._loop: asyncio.AbstractEventLoop | None = None
        self.resident = Resident(
            self._make_host, listen_on=entry.listen, allow_hosts=entry.allow_hosts
        )

    async def connect(self, *, is_reconnect: bool = False) -> bool:  # noqa: ARG002 - Hermes's
        """Begin; plugins load and the port opens on a thread of ours."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.resident.start)
        self._mark_connected()
        return True

    async def disconnect(self) -> None:
        """End everything of ours."""
        await asyncio.to_thread(self.resident.stop)
        self._mark_disconnected()

    async def send(
        self,
        chat_id: str,  # noqa: ARG002 - Hermes's signature
        content: str,  # noqa: ARG002
        reply_to: str | None = None,  # noqa: ARG002
        metadata: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        """Always refused: nobody reads here."""
        return SendResult(success=False, error="instar only observes; nobody reads here")

    async def get_chat_info(self, chat_id: str) -> dict[str, Any]:
        """There is one chat, and it is none."""
        return {"name": f"instar {chat_id}", "type": "channel"}

    def wake(self) -> None:
        """Hermes has used tokens: look soon. From any thread, at once."""
        host = self.resident.runtime.host
        if host is not None:
            host.wake(USAGE_TICK)

    def telegram(self) -> tuple[Any, str] | None:
        """Hermes's Telegram adapter and the chat to use; None where there is none yet."""
        adapters = getattr(getattr(self, "gateway_runner", None), "adapters", None) or {}
        adapter = adapters.get(Platform("telegram"))
        if adapter is None or not hasattr(adapter, "create_handoff_thread"):
            return None
        home = getattr(adapter.config, "home_channel", None)
        chat = self._entry.values.get(CHAT_KEY) or getattr(home, "chat_id", None)
        return (adapter, str(chat)) if chat else None

    def wait_for(self, work: Any) -> Any:
        """Await something of Hermes on its loop, from a thread of ours. Raises TimeoutError."""
        if self._loop is None:
            work.close()
            raise TimeoutError("the gateway is not connected")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(CALL_S)
        except FutureTimeout:
            future.cancel()
            raise TimeoutError("Hermes's Telegram did not answer in time") from None

    def _make_host(self) -> HostContext:
        if not isinstance(self._entry.values.get(CHAT_KEY, ""), str | int):
            raise ConfigError(f"plugins.entries.instar.{CHAT_KEY} has to be a number or text")
        capabilities = ["http", "commands"]
        if self.telegram() is not None:
            capabilities.append("telegram")
        return self._entry.open_host(
            capabilities=capabilities, given={"hermes": _HermesPlugin(self)}
        )


class _HermesPlugin:
    """What Hermes itself brings to the plugins."""

    def __init__(self, inside: InstarPlatform) -> None:
        self._inside = inside

    @hookimpl
    def instar_telegram(self, host: HostContext) -> TelegramPort | None:  # noqa: ARG002
        """Asked again until Hermes's Telegram has connected."""
        return None if self._inside.telegram() is None else HermesTelegram(self._inside)


class HermesTelegram:
    """Hermes's Telegram adapter as a port: text goes through its own markup, failures are terse."""

    def __init__(self, inside: InstarPlatform) -> None:
        self._inside = inside

    def capabilities(self) -> frozenset[str]:
        """Nothing: Hermes rewrites the text, decides about sounds, and explains few failures."""
        return frozenset()

    def create_topic(self, name: str) -> int | None:
        """A forum topic; None when Hermes could not make one, and its log says why."""
        found = self._inside.telegram()
        if found is None:
            return None
        adapter, chat = found
        made = self._inside.wait_for(adapter.create_handoff_thread(chat, name))
        return int(made) if made else None

    def send(self, topic_id: int | None, text: str, *, silent: bool) -> TopicSent:
        """One message through Hermes's adapter."""
        found = self._inside.telegram()
        if found is None:
            return TopicSent(ok=False, retry_after_s=CALL_S, reason="Telegram is not connected")
        adapter, chat = found
        metadata: dict[str, Any] = {} if topic_id is None else {"thread_id": str(topic_id)}
        if not silent:
            metadata["notify"] = True
        said = self._inside.wait_for(adapter.send(chat, text, metadata=metadata))
        number = str(said.message_id or "")
        return TopicSent(
            ok=bool(said.success),
            message_id=int(number) if number.isdigit() else None,
            retry_after_s=said.retry_after,
            reason=str(said.error or ""),
        )
