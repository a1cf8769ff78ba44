"""A Bot API client that is just large enough, over httpx (extra `telegram`).

Promises one request per call, no retry, no redirect, no proxy from the environment, and a typed
error for every answer. The token stands in every address, so it goes straight to the transport:
httpx's client, which logs addresses, is not used, and no error, log line or `repr` of ours
holds an address. Never polls for updates.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import Struct

from instar_threadline.bridge.answers import Unmodified, classify
from instar_threadline.bridge.port import (
    MAX_RETRY_AFTER_S,
    Ambiguous,
    ChatError,
    NotSent,
    Rejected,
    RetryAfter,
    Sent,
    Topic,
    TopicGone,
)
from instar_threadline.bridge.render import Document, Part

PUBLIC_API = "https://api.telegram.org"
TOPIC_COLOR = 9367192
"""The reference's colour for bridge topics; one of the seven that Telegram allows."""
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
"""Telegram waits out short floods by itself before it answers."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
DEFAULT_RETRY_AFTER_S = 30.0

T = TypeVar("T")

_TOKEN = re.compile(r"\d{3,20}:[A-Za-z0-9_-]{10,100}")
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class BadConnection(ValueError):  # noqa: N818 - it says what is wrong
    """A token, chat id or address that cannot be right; the text never shows the token."""


class _Parameters(Struct):
    retry_after: float | None = None
    migrate_to_chat_id: int | None = None


class _Answer(Struct):
    ok: bool
    result: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    error_code: int = 0
    description: str = ""
    parameters: _Parameters | None = None


class _SentMessage(Struct):
    message_id: int
    message_thread_id: int | None = None
    is_topic_message: bool = False


class _ForumTopic(Struct):
    message_thread_id: int
    name: str


class _Outcome(Struct):
    """One exchange as values: an exception raised elsewhere cannot drag the address along."""

    status: int = 0
    body: bytes = b""
    retry_after: str = ""
    failure: str = ""
    left: bool = False
    """True when the request may have reached the server."""


def open_transport(base_url: str = PUBLIC_API) -> httpx.HTTPTransport:
    """A transport without retries, proxies or long-lived idle connections. The certificates of
    the machine are read only where they are needed.
    """
    secure = urlsplit(base_url).scheme != "http"
    return httpx.HTTPTransport(
        verify=ssl.create_default_context() if secure else False,
        trust_env=False,
        retries=0,
        limits=httpx.Limits(max_connections=1, keepalive_expiry=5.0),
    )


class TelegramClient:
    """One bot in one chat; implements `ChatPort`. Not for use by two threads at once."""

    def __init__(
        self,
        *,
        token: str,
        chat_id: int,
        transport: httpx.BaseTransport,
        base_url: str = PUBLIC_API,
        protect_content: bool = False,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        """Raises `BadConnection` for what cannot be a token or an address; opens nothing."""
        if not _TOKEN.fullmatch(token):
            raise BadConnection(
                "this is no bot token: one is a number, a colon and some 35 letters"
            )
        self._prefix = checked_base_url(base_url) + "/bot" + token + "/"
        self._secret = token
        self._chat_id = chat_id
        self._transport = transport
        self._protect = protect_content
        self._timeout = {
            "connect": CONNECT_TIMEOUT_S,
            "read": read_timeout_s,
            "write": read_timeout_s,
            "pool": CONNECT_TIMEOUT_S,
        }

    def __repr__(self) -> str:
        return f"TelegramClient(chat_id={self._chat_id})"

    def close(self) -> None:
        """Close the connection; an open call ends as ambiguous."""
        self._transport.close()

    def capabilities(self) -> frozenset[str]:
        return frozenset(
            {"topics", "entities", "documents", "edit", "probe"}
            | {"failure-reasons", "message-ids", "verbatim", "silent"}
        )

    def move_to(self, chat_id: int) -> None:
        self._chat_id = chat_id

    def create_topic(self, name: str) -> Topic:
        fields = {"chat_id": self._chat_id, "name": name, "icon_color": TOPIC_COLOR}
        made = _convert(self._call("createForumTopic", fields), _ForumTopic)
        return Topic(id=made.message_thread_id, name=made.name)

    def has_topic(self, topic_id: int, name: str) -> bool:
        """Asks for the very name it should have: "not modified" is a yes, anything else a no."""
        fields = {"chat_id": self._chat_id, "message_thread_id": topic_id, "name": name}
        try:
            self._call("editForumTopic", fields)
        except Unmodified:
            return True
        except (TopicGone, Rejected):
            return False
        return False

    def reopen_topic(self, topic_id: int) -> None:
        fields = {"chat_id": self._chat_id, "message_thread_id": topic_id}
        try:
            self._call("reopenForumTopic", fields)
        except Unmodified:
            return

    def send(self, topic_id: int | None, part: Part, *, silent: bool) -> Sent:
        fields: dict[str, Any] = {
            "text": part.text,
            "link_preview_options": {"is_disabled": True},
            **self._placed(topic_id, silent=silent),
        }
        if part.entities:
            fields["entities"] = msgspec.to_builtins(part.entities)
        return _sent(self._call("sendMessage", fields))

    def send_document(self, topic_id: int | None, document: Document, *, silent: bool) -> Sent:
        fields = {"caption": document.caption, **self._placed(topic_id, silent=silent)}
        file = (document.filename, document.content.encode(), "text/markdown; charset=utf-8")
        return _sent(self._call("sendDocument", fields, file=file))

    def edit(self, message_id: int, part: Part) -> None:
        fields: dict[str, Any] = {
            "chat_id": self._chat_id,
            "message_id": message_id,
            "text": part.text,
            "link_preview_options": {"is_disabled": True},
        }
        if part.entities:
            fields["entities"] = msgspec.to_builtins(part.entities)
        try:
            self._call("editMessageText", fields)
        except Unmodified:
            return

    def ask(self, method: str, **fields: Any) -> Any:
        """A read-only question (`getMe`, `getChat`, `getChatMember`), decoded. Raises
        `ChatError`.
        """
        return msgspec.json.decode(self._call(method, fields))

    @property
    def chat_id(self) -> int:
        """Where this client sends."""
        return self._chat_id

    def _placed(self, topic_id: int | None, *, silent: bool) -> dict[str, Any]:
        """General has no thread id: Telegram refuses 1 there."""
        fields: dict[str, Any] = {"chat_id": self._chat_id, "disable_notification": silent}
        if topic_id is not None and topic_id > 1:
            fields["message_thread_id"] = topic_id
        if self._protect:
            fields["protect_content"] = True
        return fields

    def _call(
        self, method: str, fields: Mapping[str, Any], file: tuple[str, bytes, str] | None = None
    ) -> bytes:
        outcome = self._exchange(method, fields, file)
        answer = _read(outcome)
        if answer is not None and answer.ok and bytes(answer.result):
            return bytes(answer.result)
        raise self._error(outcome, answer)

    def _exchange(
        self, method: str, fields: Mapping[str, Any], file: tuple[str, bytes, str] | None
    ) -> _Outcome:
        """Make the request; never raises, so that no traceback ever holds the address."""
        try:
            request = _request(self._prefix + method, fields, file)
            request.extensions = {"timeout": self._timeout}
            response = self._transport.handle_request(request)
            try:
                body = _bounded(response).replace(self._secret.encode(), b"***")
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return _Outcome(failure=f"no connection ({type(error).__name__})")
        except httpx.HTTPError as error:
            return _Outcome(failure=f"no answer ({type(error).__name__})", left=True)
        except Exception as error:  # noqa: BLE001 - whatever the transport does, the outcome is unknown
            return _Outcome(failure=f"no answer ({type(error).__name__})", left=True)
        retry_after = response.headers.get("retry-after", "")
        return _Outcome(status=response.status_code, body=body, retry_after=retry_after, left=True)

    def _error(self, outcome: _Outcome, answer: _Answer | None) -> ChatError:
        if outcome.failure:
            return (Ambiguous if outcome.left else NotSent)(outcome.failure)
        if outcome.status == 429 or (answer is not None and answer.error_code == 429):
            return RetryAfter(_pause_s(outcome, answer))
        if outcome.status == 413:
            return Rejected("it is too large for the server (HTTP 413)")
        if answer is None or answer.ok:
            return Ambiguous(f"an answer that is no answer (HTTP {outcome.status})")
        moved = answer.parameters.migrate_to_chat_id if answer.parameters else None
        return classify(answer.error_code or outcome.status, answer.description, moved)


def checked_base_url(base_url: str) -> str:
    """The address without a trailing slash. Raises `BadConnection` unless https, or http on
    this machine.
    """
    parts = urlsplit(base_url)
    local = parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS
    if not (parts.scheme == "https" or local) or not parts.hostname:
        raise BadConnection("INSTAR_TELEGRAM_BASE_URL has to be https (http only for this machine)")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadConnection("INSTAR_TELEGRAM_BASE_URL has to be an address and nothing else")
    return base_url.rstrip("/")


def _request(
    address: str, fields: Mapping[str, Any], file: tuple[str, bytes, str] | None
) -> httpx.Request:
    if file is None:
        return httpx.Request("POST", address, json=dict(fields))
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in fields.items()}
    return httpx.Request("POST", address, data=texts, files={"document": file})


def _bounded(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_raw():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ValueError("too large")
        parts.append(part)
    return b"".join(parts)


def _read(outcome: _Outcome) -> _Answer | None:
    try:
        return msgspec.json.decode(outcome.body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _convert(result: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(result, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    raise Ambiguous("an answer without the expected members")


def _sent(result: bytes) -> Sent:
    message = _convert(result, _SentMessage)
    topic = message.message_thread_id if message.is_topic_message else None
    return Sent(message_id=message.message_id, topic_id=topic)


def _pause_s(outcome: _Outcome, answer: _Answer | None) -> float:
    said = answer.parameters.retry_after if answer is not None and answer.parameters else None
    if said is None and outcome.retry_after.isascii() and outcome.retry_after.isdigit():
        said = float(outcome.retry_after)
    return min(max(DEFAULT_RETRY_AFTER_S if said is None else said, 1.0), MAX_RETRY_AFTER_S)
