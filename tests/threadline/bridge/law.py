"""The law of delivery, as the chat shows it: messages carry `[thread:number]`."""

from __future__ import annotations

import re
from collections import Counter

from instar_threadline.bridge.render import REPEAT_MARK
from tests.threadline.bridge.fake_bot_api import BotApi

TOKEN = re.compile(r"\[(\w+):(\d+)\]")


def arrived(api: BotApi) -> int:
    """How many different messages are in the chat."""
    return len({token for m in api.group.messages for token in TOKEN.findall(m.text)})


def check_everything_arrived(api: BotApi, said: dict[str, int]) -> int:
    """0 lost, 0 out of order within a thread, at most one unmarked copy of any; marked copies."""
    first: dict[str, list[int]] = {thread: [] for thread in said}
    unmarked: Counter[tuple[str, str]] = Counter()
    marked = 0
    for message in api.group.messages:
        for thread, number in TOKEN.findall(message.text):
            if int(number) not in first[thread]:
                first[thread].append(int(number))
            if REPEAT_MARK in message.text:
                marked += 1
            else:
                unmarked[thread, number] += 1
    assert first == {thread: list(range(count)) for thread, count in said.items()}
    assert [key for key, copies in unmarked.items() if copies > 1] == []
    return marked
