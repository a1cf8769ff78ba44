"""Lines of the log that are read a second time: the same words, from rotated files too."""

from __future__ import annotations

from pathlib import Path

from instar_host.testing import FakeClock
from instar_threadline.bridge.feed import LogFeed, LogLines
from instar_threadline.messages import Message, NewMessage
from instar_threadline.record.keyring import open_keyring
from instar_threadline.record.layout import layout
from instar_threadline.record.log import MessageLog

pytest_plugins = ["instar_host.testing"]


def written(state_dir: Path, clock: FakeClock, count: int) -> list[Message]:
    """A log of several files, and what a feed finds in it."""
    keyring = open_keyring(str(state_dir / "threadline"), "token")
    log = MessageLog(state_dir, keyring, clock, agent="echo", rotate_bytes=2000)
    for number in range(count):
        new = NewMessage(
            direction="in" if number % 3 else "out",
            counterparty="fp-dawn",
            thread_id="t1",
            text=f"message {number}",
        )
        log.record([new])
    log.close()
    feed = LogFeed(state_dir, lambda: keyring)
    batch = feed.read(None)
    found = list(batch.messages)
    while batch.more:
        batch = feed.read(batch.mark)
        found += batch.messages
    return found


def test_a_line_read_again_is_the_message_that_it_was(state_dir: Path, clock: FakeClock) -> None:
    """Words, sender, credibility and place, from every file of the log."""
    found = written(state_dir, clock, 60)
    assert len(found) == 60
    assert layout(state_dir, "in").rotated()
    with LogLines(state_dir) as lines:
        for message in reversed(found):
            assert message.position is not None
            assert lines.at(message.position, message.integrity) == message


def test_a_place_that_is_gone_holds_no_message(state_dir: Path, clock: FakeClock) -> None:
    """A log that was rewritten or taken away is no crash."""
    message = written(state_dir, clock, 3)[0]
    assert message.position is not None
    files = layout(state_dir, message.direction)
    with LogLines(state_dir) as lines:
        Path(files.log()).write_text("{}")
        assert lines.at(message.position, "ok") is None
    Path(files.log()).unlink()
    with LogLines(state_dir) as lines:
        assert lines.at(message.position, "ok") is None
