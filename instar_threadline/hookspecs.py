"""The hooks of threadline: what another plugin may bring to it, or learn from it.

They come with `instar_addhooks`, so a plugin that implements one waits politely when threadline
is disabled. Registration hooks are called once, off any event loop; votes and titles once per
message or topic.
"""

from __future__ import annotations

from collections.abc import Iterable

from instar_host.hookspecs import hookspec
from instar_host.records import HostContext
from instar_threadline.messages import Message, Thread
from instar_threadline.records import BridgeSink, MessageSource, Mirrored, Redactor


@hookspec
def threadline_sources(host: HostContext) -> Iterable[MessageSource]:  # type: ignore[empty-body]
    """Places to pull messages from, with their history."""


@hookspec
def threadline_sinks(host: HostContext) -> Iterable[BridgeSink]:  # type: ignore[empty-body]
    """Places to mirror messages to, besides Telegram."""


@hookspec
def threadline_redactors(host: HostContext) -> Iterable[Redactor]:  # type: ignore[empty-body]
    """What to take out of a text before it leaves, chained by `order`. An error blocks the
    message."""


@hookspec
def threadline_may_mirror(message: Message, thread: Thread) -> bool | None:
    """A vote on one message. Any False, or an error, is a no; None abstains.

    Asked when the message comes into the log, and again, with the redacted text, right before it
    is sent.
    """


@hookspec(firstresult=True)
def threadline_topic_title(thread: Thread) -> str | None:
    """A title for the topic of a thread. The first answer that is not None is used."""


@hookspec
def threadline_mirrored(event: Mirrored) -> None:
    """A message was delivered to Telegram or a sink, or given up. Observers only, after the
    fact.
    """
