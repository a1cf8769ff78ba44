"""A stateful Bot API on the loopback: chats, topics, rights, limits, and faults on demand.

Its rules and words are those of the public server program; every request it takes and every answer
it gives is checked against the public description. Message ids count up per chat, topics included.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.threadline.bridge.bot_api_spec import check_answer, check_request

TOKEN = "123456789:CANARY-token-that-must-show-up-nowhere"
GROUP = -1001234567890
BOT = {"id": 123456789, "is_bot": True, "first_name": "bridge", "username": "bridge_bot"}
COLORS = {7322096, 16766590, 13338331, 9367192, 16749490, 16478047}

Fault = Literal[
    "reset-before", "reset-after", "half-answer", "502-before", "502-after", "hang-before",
    "hang-after", "late", "garbage", "slow", "500-restart",
]  # fmt: skip


class RefusedError(Exception):
    """An answer with `ok: false`."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


@dataclass
class FakeTopic:
    id: int
    name: str
    color: int
    closed: bool = False
    by_bot: bool = True


@dataclass
class FakeMessage:
    id: int
    topic_id: int | None
    text: str
    entities: list[dict[str, Any]] = field(default_factory=list)
    silent: bool = False
    document: bytes | None = None
    filename: str = ""
    edits: list[str] = field(default_factory=list)


@dataclass
class FakeChat:
    id: int
    forum: bool = True
    status: str = "administrator"
    can_manage_topics: bool = True
    general_closed: bool = False
    """Then only administrators write outside of topics."""
    migrated_to: int | None = None
    topics: dict[int, FakeTopic] = field(default_factory=dict)
    messages: list[FakeMessage] = field(default_factory=list)
    last_id: int = 1
    instants: list[float] = field(default_factory=list)

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id


class BotApi:
    """The rules, without a network. Thread-safe: one call at a time takes effect."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.chats = {GROUP: FakeChat(id=GROUP)}
        self.token = TOKEN
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusals: list[RefusedError] = []
        """Handed out, first in first out, instead of doing what was asked."""
        self.per_minute: int | None = None
        """Operations a chat may see in 60 s; beyond it 429 with a growing pause."""
        self.poison: Callable[[str], bool] = lambda _text: False
        self.violations: list[AssertionError] = []
        self._blocked_until: dict[int, float] = {}
        self._now = now
        self._lock = threading.RLock()

    @property
    def group(self) -> FakeChat:
        return self.chats[GROUP]

    def texts(self, topic_id: int | None = None, *, chat: int = GROUP) -> list[str]:
        """Texts of a topic in order of arrival; None is the general one."""
        return [m.text for m in self.chats[chat].messages if m.topic_id == topic_id]

    def call(self, method: str, fields: dict[str, Any]) -> Any:
        """Do it; raises `RefusedError`. A breach of the description is kept in `violations`."""
        with self._lock:
            self.calls.append((method, fields))
            try:
                check_request(method, fields)
            except AssertionError as error:
                self.violations.append(error)
                raise RefusedError(400, f"Bad Request: {error}") from None
            if self.refusals:
                raise self.refusals.pop(0)
            result = getattr(self, "_" + re.sub("([A-Z])", r"_\1", method).lower())(fields)
            try:
                check_answer(method, result)
            except AssertionError as error:
                self.violations.append(error)
            return result

    def _get_me(self, _fields: dict[str, Any]) -> dict[str, Any]:
        return dict(BOT)

    def _get_chat(self, fields: dict[str, Any]) -> dict[str, Any]:
        chat = self._chat(fields)
        gifts = dict.fromkeys(
            ["unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription"], False
        ) | {"gifts_from_channels": False}
        kind = "supergroup" if chat.id < 0 else "private"
        full = {"id": chat.id, "type": kind, "accent_color_id": 0, "max_reaction_count": 11}
        full["accepted_gift_types"] = gifts
        return full | ({"title": "agents", "is_forum": True} if chat.forum else {"title": "agents"})

    def _get_chat_member(self, fields: dict[str, Any]) -> dict[str, Any]:
        chat = self._chat(fields)
        if chat.status == "left":
            return {"status": "left", "user": dict(BOT)}
        if chat.status == "member":
            return {"status": "member", "user": dict(BOT)}
        rights = dict.fromkeys(
            [
                "can_be_edited", "is_anonymous", "can_manage_chat", "can_delete_messages",
                "can_manage_video_chats", "can_restrict_members", "can_promote_members",
                "can_change_info", "can_invite_users", "can_post_stories", "can_edit_stories",
                "can_delete_stories",
            ],
            True,
        )  # fmt: skip
        rights["can_manage_topics"] = chat.can_manage_topics
        return {"status": "administrator", "user": dict(BOT), **rights}

    def _create_forum_topic(self, fields: dict[str, Any]) -> dict[str, Any]:
        chat = self._chat(fields)
        self._throttle(chat)
        if not chat.forum:
            raise RefusedError(400, "Bad Request: the chat is not a forum")
        if not chat.can_manage_topics:
            raise RefusedError(400, "Bad Request: not enough rights to create a topic")
        name = clean_topic_name(fields["name"])
        if not name:
            raise RefusedError(400, "Bad Request: topic name must be non-empty")
        color = fields.get("icon_color", 9367192)
        if color not in COLORS:
            raise RefusedError(400, "Bad Request: invalid icon color specified")
        topic = FakeTopic(id=chat.next_id(), name=name, color=color)
        chat.topics[topic.id] = topic
        return {"message_thread_id": topic.id, "name": name, "icon_color": color}

    def _edit_forum_topic(self, fields: dict[str, Any]) -> bool:
        chat = self._chat(fields)
        self._throttle(chat)
        topic = self._topic(chat, fields)
        name = clean_topic_name(fields.get("name", topic.name)) or topic.name
        if name == topic.name:
            raise RefusedError(400, "Bad Request: TOPIC_NOT_MODIFIED")
        topic.name = name
        return True

    def _reopen_forum_topic(self, fields: dict[str, Any]) -> bool:
        topic = self._topic(self._chat(fields), fields)
        if not topic.closed:
            raise RefusedError(400, "Bad Request: TOPIC_NOT_MODIFIED")
        topic.closed = False
        return True

    def _close_forum_topic(self, fields: dict[str, Any]) -> bool:
        self._topic(self._chat(fields), fields).closed = True
        return True

    def _delete_forum_topic(self, fields: dict[str, Any]) -> bool:
        chat = self._chat(fields)
        del chat.topics[self._topic(chat, fields).id]
        return True

    def _send_message(self, fields: dict[str, Any]) -> dict[str, Any]:
        chat = self._chat(fields)
        self._throttle(chat)
        text = clean_text(fields["text"], 4096)
        if self.poison(text):
            raise RefusedError(400, "Bad Request: can't parse entities: poison")
        check_entities(text, fields.get("entities", []))
        message = FakeMessage(
            id=0,
            topic_id=self._place(chat, fields),
            text=text,
            entities=fields.get("entities", []),
            silent=fields.get("disable_notification", False),
        )
        return self._post(chat, message)

    def _send_document(self, fields: dict[str, Any]) -> dict[str, Any]:
        chat = self._chat(fields)
        self._throttle(chat)
        filename, content = fields["document"]
        message = FakeMessage(
            id=0,
            topic_id=self._place(chat, fields),
            text=clean_text(fields.get("caption", "file"), 1024),
            silent=fields.get("disable_notification", False),
            document=content,
            filename=filename,
        )
        return self._post(chat, message)

    def _edit_message_text(self, fields: dict[str, Any]) -> dict[str, Any]:
        chat = self._chat(fields)
        self._throttle(chat)
        wanted = fields["message_id"]
        message = next((m for m in chat.messages if m.id == wanted), None)
        if message is None:
            raise RefusedError(400, "Bad Request: message to edit not found")
        text = clean_text(fields["text"], 4096)
        if text == message.text:
            raise RefusedError(
                400,
                "Bad Request: message is not modified: specified new message content and reply"
                " markup are exactly the same as a current content and reply markup of the message",
            )
        message.edits.append(message.text)
        message.text = text
        return self._as_message(chat, message)

    def _chat(self, fields: dict[str, Any]) -> FakeChat:
        chat = self.chats.get(fields["chat_id"])
        if chat is None:
            raise RefusedError(400, "Bad Request: chat not found")
        if chat.migrated_to is not None:
            raise RefusedError(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                migrate_to_chat_id=chat.migrated_to,
            )
        if chat.status == "left":
            raise RefusedError(403, "Forbidden: bot was kicked from the supergroup chat")
        return chat

    def _topic(self, chat: FakeChat, fields: dict[str, Any]) -> FakeTopic:
        topic = chat.topics.get(fields["message_thread_id"])
        if topic is None:
            raise RefusedError(400, "Bad Request: message thread not found")
        return topic

    def _place(self, chat: FakeChat, fields: dict[str, Any]) -> int | None:
        wanted = fields.get("message_thread_id")
        if wanted is None or not chat.forum:
            if chat.general_closed and chat.status == "member":
                raise RefusedError(400, "Bad Request: TOPIC_CLOSED")
            return None
        topic = self._topic(chat, fields)
        if topic.closed and not topic.by_bot:
            raise RefusedError(400, "Bad Request: TOPIC_CLOSED")
        return topic.id

    def _post(self, chat: FakeChat, message: FakeMessage) -> dict[str, Any]:
        message.id = chat.next_id()
        chat.messages.append(message)
        return self._as_message(chat, message)

    def _as_message(self, chat: FakeChat, message: FakeMessage) -> dict[str, Any]:
        kind = "supergroup" if chat.id < 0 else "private"
        answer: dict[str, Any] = {
            "message_id": message.id,
            "date": 1_777_629_600,
            "chat": {"id": chat.id, "type": kind, "title": "agents"},
            "from": dict(BOT),
        }
        if message.topic_id is not None:
            answer |= {"message_thread_id": message.topic_id, "is_topic_message": True}
        if message.document is None:
            answer["text"] = message.text
        else:
            answer["document"] = {"file_id": "f", "file_unique_id": "u"}
            answer["caption"] = message.text
        return answer

    def _throttle(self, chat: FakeChat) -> None:
        """20 a minute, say; a call inside the pause makes the pause longer, as the real one
        does.
        """
        if self.per_minute is None:
            return
        now = self._now()
        until = self._blocked_until.get(chat.id, 0.0)
        chat.instants = [at for at in chat.instants if now - at < 60]
        if now < until or len(chat.instants) >= self.per_minute:
            until = max(until, now) + 30
            self._blocked_until[chat.id] = until
            pause = int(until - now) + 1
            raise RefusedError(429, f"Too Many Requests: retry after {pause}", retry_after=pause)
        chat.instants.append(now)


def clean_text(text: str, limit: int) -> str:
    """What the server makes of a text; raises for one that is empty or too long."""
    text = re.sub("[\x00-\x09\x0b\x0c\x0e-\x1f]", " ", text.replace("\r", ""))
    text = re.sub("[\u2028-\u202e]", "", text).strip()
    if not text:
        raise RefusedError(400, "Bad Request: message text is empty")
    if len(text) > limit:
        raise RefusedError(400, "Bad Request: message is too long")
    return text


def clean_topic_name(name: str) -> str:
    """The server's way: controls to spaces, directions gone, 128 code points, runs collapsed."""
    name = re.sub("[\u2028-\u202e]", "", re.sub("[\x00-\x1f]", " ", name))[:128]
    name = " ".join(name.split())
    return "" if not name.strip("\u200b\u200c\u200d\u200e\u200f\ufeff ") else name


def check_entities(text: str, entities: list[dict[str, Any]]) -> None:
    """Stricter than the server, which drops what does not fit: here it is an error."""
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    for entity in entities:
        if not 0 < entity["length"] <= entity["offset"] + entity["length"] <= units:
            raise RefusedError(400, "Bad Request: can't parse entities: out of range")
    if len(entities) > 100:
        raise RefusedError(400, "Bad Request: can't parse entities: too many")
