"""A live check against the real Telegram, for a person with a bot and a group to spare.

    INSTAR_TELEGRAM_TOKEN=... INSTAR_TELEGRAM_CHAT_ID=-100... python examples/telegram_live.py

Opens one topic, writes into it, checks what only a real server can tell, and deletes the topic
again, also when something fails on the way. Prints one line a finding; exits with 1 when one of
them is not what the bridge relies on. Needs the right to manage topics and to delete messages.
"""

from __future__ import annotations

import os
import sys

from instar_threadline.bridge.check import check
from instar_threadline.bridge.connection import CHAT_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE
from instar_threadline.bridge.port import ChatError, Rejected, Topic, TopicGone
from instar_threadline.bridge.render import Document, Part
from instar_threadline.bridge.telegram import (
    PUBLIC_API,
    BadConnection,
    TelegramClient,
    open_transport,
)

FAR_AHEAD = 100_000
"""So many ids above the newest one there is no topic."""


def say(name: str, *, holds: bool, detail: object = "") -> bool:
    """One finding."""
    sys.stdout.write(f"{'ok ' if holds else 'NO '} {name} {detail}\n")
    return holds


def try_messages(client: TelegramClient, topic: Topic) -> list[bool]:
    """What the bridge does in a topic, and the ids that it goes by."""
    first = client.send(topic.id, Part(text="one"), silent=True)
    second = client.send(topic.id, Part(text="😀" * 4096), silent=True)
    file = Document(filename="check.md", content="three", caption="three")
    third = client.send_document(topic.id, file, silent=True)
    client.edit(first.message_id, Part(text="one, edited"))
    client.edit(first.message_id, Part(text="one, edited"))
    ids = [first.message_id, second.message_id, third.message_id]
    found = [
        say("messages land in the topic", holds=first.topic_id == topic.id, detail=first),
        say("4096 emoji are one message", holds=second.message_id > 0),
        say("ids are contiguous", holds=ids == [topic.id + n for n in (1, 2, 3)], detail=ids),
        say('the same words again are "not modified"', holds=True),
        say("a topic is recognised by its name", holds=client.has_topic(topic.id, topic.name)),
        say("an id without a topic is told", holds=not client.has_topic(ids[-1] + FAR_AHEAD, "x")),
    ]
    try:
        client.send(topic.id, Part(text="😀" * 4097), silent=True)
    except Rejected as error:
        return [*found, say("one more is too long", holds=True, detail=error)]
    return [*found, say("one more is too long", holds=False)]


def try_deleted(client: TelegramClient, topic: Topic) -> bool:
    """A topic that is gone has to say so."""
    try:
        client.send(topic.id, Part(text="gone"), silent=True)
    except TopicGone as error:
        return say("a deleted topic is told", holds=True, detail=error)
    return say("a deleted topic is told", holds=False)


def try_topic(client: TelegramClient) -> bool:
    """One topic from beginning to end."""
    topic = client.create_topic("bridge live check")
    try:
        found = try_messages(client, topic)
    finally:
        client.ask("deleteForumTopic", chat_id=client.chat_id, message_thread_id=topic.id)
    return all([*found, try_deleted(client, topic)])


def connected() -> TelegramClient:
    """The client that the environment describes. Raises SystemExit with what is missing."""
    token, chat = (os.environ.get(name, "") for name in (TOKEN_VARIABLE, CHAT_VARIABLE))
    try:
        return TelegramClient(
            token=token,
            chat_id=int(chat),
            transport=open_transport(),
            base_url=os.environ.get(URL_VARIABLE) or PUBLIC_API,
        )
    except BadConnection as error:
        raise SystemExit(f"{TOKEN_VARIABLE}, {CHAT_VARIABLE}: {error}") from None
    except ValueError:
        raise SystemExit(f"set {TOKEN_VARIABLE} and {CHAT_VARIABLE} (a number) first") from None


def main() -> int:
    """Ask, look, try."""
    client = connected()
    sys.stdout.write(
        "This opens a topic in the group, writes into it and deletes it. Go on? [y/N] "
    )
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() != "y":
        return 1
    ready = [say(f.name, holds=f.ok, detail=f.says) for f in check(client)]
    try:
        return 0 if all(ready) and try_topic(client) else 1
    except ChatError as error:
        say("an answer nobody expected", holds=False, detail=error)
        return 1
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(main())
