"""A live check against the real Telegram, for a person with a bot and a group to spare.

    INSTAR_TELEGRAM_TOKEN=... INSTAR_TELEGRAM_CHAT_ID=-100... python examples/telegram_live.py

Opens one topic, writes into it, checks what only a real server can tell, and deletes the topic
again. Prints one line a finding; exits with 1 when one of them is not what the bridge relies
on. Needs the right to manage topics and to delete messages.
"""

from __future__ import annotations

import os
import sys

from instar_threadline.bridge.check import check
from instar_threadline.bridge.port import ChatError, TopicGone
from instar_threadline.bridge.render import Document, Part
from instar_threadline.bridge.telegram import TelegramClient, open_transport


def say(name: str, *, holds: bool, detail: object = "") -> bool:
    """One finding."""
    sys.stdout.write(f"{'ok ' if holds else 'NO '} {name} {detail}\n")
    return holds


def try_topic(client: TelegramClient) -> bool:
    """Everything that the bridge does in a topic."""
    topic = client.create_topic("bridge live check")
    first = client.send(topic.id, Part(text="one"), silent=True)
    second = client.send(topic.id, Part(text="😀" * 4096), silent=True)
    file = Document(filename="check.md", content="three", caption="three")
    third = client.send_document(topic.id, file, silent=True)
    client.edit(first.message_id, Part(text="one, edited"))
    client.edit(first.message_id, Part(text="one, edited"))
    results = [
        say("messages land in the topic", holds=first.topic_id == topic.id, detail=first),
        say(
            "ids are contiguous",
            holds=[topic.id + 1, topic.id + 2, topic.id + 3]
            == [first.message_id, second.message_id, third.message_id],
        ),
        say("a topic is recognised by its name", holds=client.has_topic(topic.id, topic.name)),
    ]
    client.ask("deleteForumTopic", chat_id=client.chat_id, message_thread_id=topic.id)
    try:
        client.send(topic.id, Part(text="gone"), silent=True)
    except TopicGone as error:
        results.append(say("a deleted topic is told", holds=True, detail=error))
    else:
        results.append(say("a deleted topic is told", holds=False))
    return all(results)


def main() -> int:
    """Ask, look, try."""
    client = TelegramClient(
        token=os.environ["INSTAR_TELEGRAM_TOKEN"],
        chat_id=int(os.environ["INSTAR_TELEGRAM_CHAT_ID"]),
        transport=open_transport(),
    )
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
