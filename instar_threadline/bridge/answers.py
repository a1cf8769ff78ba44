"""What the words of the Bot API mean. Pure.

Promises one type for every answer; matched on words and in any case, because codes and capitals
differ by layer and by library.
"""

# The names say what happened; "Error" on each would say nothing more.
# ruff: noqa: N818

from __future__ import annotations

from instar_threadline.bridge.port import (
    Ambiguous,
    AuthFailed,
    ChatError,
    Migrated,
    Rejected,
    TargetUnavailable,
    TopicClosed,
    TopicGone,
    TopicsImpossible,
)


class Unmodified(ChatError):
    """What was asked for is so already."""


def classify(code: int, description: str, migrated_to: int | None = None) -> ChatError:
    """The error that an answer of the Bot API means; matched on words, as codes differ by
    layer.
    """
    words = description.lower()
    if migrated_to is not None:
        return Migrated(migrated_to)
    if code in (401, 404) or "logged out" in words or code == 421:
        return AuthFailed(description)
    for needles, kind in _BY_WORDS:
        if any(needle in words for needle in needles):
            return kind(description)
    if code == 403 or "chat not found" in words:
        return TargetUnavailable(description)
    if code >= 500:
        return Ambiguous(description)
    return Rejected(description)


_BY_WORDS: tuple[tuple[tuple[str, ...], type[ChatError]], ...] = (
    (("not_modified", "is not modified"), Unmodified),
    (("thread not found", "topic_deleted", "topic_id_invalid"), TopicGone),
    (("topic_closed",), TopicClosed),
    (
        ("not enough rights to create a topic", "is not a forum", "forum_required"),
        TopicsImpossible,
    ),
    (
        (
            "not enough rights to send",
            "have no rights to send",
            "need administrator rights",
            "no write access",
            "chat_write_forbidden",
            "chat_send_",
            "chat_restricted",
            "upgraded to a supergroup",
            "peer_id_invalid",
            "channel_private",
            "user_banned_in_channel",
            "user_is_blocked",
            "input_user_deactivated",
        ),
        TargetUnavailable,  # whatever the words are: no message of the queue is at fault
    ),
)
