"""What the worker asks of a chat, and the exact set of answers that it understands.

Promises that every way a call can end is one of the types below, so that "certainly not sent",
"certainly refused" and "nobody knows" are never confused. Knows no protocol, no library and no
token.
"""

# The names say what happened; "Error" on each would say nothing more.
# ruff: noqa: N818

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from instar_threadline.bridge.render import Document, Part

MAX_RETRY_AFTER_S = 7 * 24 * 3600.0
"""No pause is longer, whoever asks for it."""

Capability = Literal[
    "topics",
    "entities",
    "documents",
    "edit",
    "probe",
    "failure-reasons",
    "message-ids",
    "verbatim",
    "silent",
]


class Topic(Struct, frozen=True, kw_only=True):
    """A topic as the chat made it: the name may have been cleaned."""

    id: int
    name: str


class Sent(Struct, frozen=True, kw_only=True):
    """A message that the chat has accepted."""

    message_id: int
    """0 when the port does not learn it."""
    topic_id: int | None
    """Where it landed; None is the general topic, or a chat that has no topics."""


class ChatError(Exception):
    """Anything but success. The text is safe to show and to store: never a token, never an
    address.
    """


class RetryAfter(ChatError):
    """Not sent: the chat wants silence for `seconds`, for everything."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Telegram asks for a pause of {seconds:g} s")
        self.seconds = seconds


class NotSent(ChatError):
    """The request provably never left, or was refused before anything happened."""


class Ambiguous(ChatError):
    """The request may or may not have taken effect."""


class TopicGone(ChatError):
    """Not sent: the topic was deleted."""


class TopicClosed(ChatError):
    """Not sent: the topic is closed and we may not write into it."""


class TopicsImpossible(ChatError):
    """No topic can be made here: the chat is no forum, or the bot lacks the right."""


class Migrated(ChatError):
    """Not sent: the group has become a supergroup with another id."""

    def __init__(self, chat_id: int) -> None:
        super().__init__("the group was upgraded to a supergroup")
        self.chat_id = chat_id


class Rejected(ChatError):
    """Not sent, and this very message never will be."""


class TargetUnavailable(ChatError):
    """Not sent: the chat is gone, or the bot was put out of it. A person has to act."""


class AuthFailed(ChatError):
    """Not sent: the token is not accepted. A person has to act."""


class ChatPort(Protocol):
    """A chat with topics. Calls block; each makes at most one request and raises `ChatError`
    only.
    """

    def capabilities(self) -> frozenset[str]:
        """What this port can do; what is missing is listed in the status as lost."""
        ...

    def create_topic(self, name: str) -> Topic:
        """Open a topic."""
        ...

    def has_topic(self, topic_id: int, name: str) -> bool:
        """True when `topic_id` is a topic with exactly this name. Only for ids nobody else
        knows yet.
        """
        ...

    def reopen_topic(self, topic_id: int) -> None:
        """Open a closed topic again."""
        ...

    def send(self, topic_id: int | None, part: Part, *, silent: bool) -> Sent:
        """Send a text into a topic; None is the general one."""
        ...

    def send_document(self, topic_id: int | None, document: Document, *, silent: bool) -> Sent:
        """Send a file into a topic."""
        ...

    def edit(self, message_id: int, part: Part) -> None:
        """Replace the text of a message of ours; saying what it says already is success."""
        ...

    def move_to(self, chat_id: int) -> None:
        """Use another chat id from now on."""
        ...
