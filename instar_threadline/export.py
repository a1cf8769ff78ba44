"""A conversation as a file: JSON lines for machines, Markdown for people. Pure.

Promises that every message is in it once, oldest first, and that in Markdown a message's text is
only ever text: it stands in a fenced block whose fence is longer than any in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from instar_threadline.record.shapes import MessageView, ThreadSummary
from instar_threadline.terminal import clean

_TICKS = re.compile("`+")
_MARKS = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


def jsonl(thread: ThreadSummary, messages: Iterable[MessageView]) -> Iterator[str]:
    """One message a line, with the keys of the detail view."""
    del thread
    for message in messages:
        yield msgspec.json.encode(message).decode() + "\n"


def markdown(thread: ThreadSummary, messages: Iterable[MessageView]) -> Iterator[str]:
    """A heading, a few facts, and the messages as blocks."""
    yield f"# {_escaped(thread.thread_id)}\n\n"
    yield f"- Agent: {_escaped(thread.remote_agent_name)} ({_escaped(thread.remote_agent)})\n"
    yield f"- Messages: {thread.inbound_count} in, {thread.outbound_count} out\n"
    yield f"- From {thread.first_seen} to {thread.last_seen}\n"
    integrity = thread.integrity
    yield f"- Integrity: {integrity.state}; completeness: {integrity.completeness}\n"
    for message in messages:
        arrow = "from" if message.direction == "in" else "to"
        when = message.at or _escaped(message.timestamp)
        doubt = "" if message.verified else " (unverified)"
        yield f"\n## {when} {arrow} {_escaped(message.remote_agent_name)}{doubt}\n\n"
        yield _fenced(message.text)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(clean(line) for line in text.split("\n"))
    return f"{fence}text\n{lines}\n{fence}\n"


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", clean(text))
