"""What other plugins say about mirroring: votes, titles, redactors, sinks.

Promises that an error, or an answer of the wrong kind, is the safe answer: a no to mirroring,
no title, a blocked text, no sink; and that what a redactor or a sink does wrong later on stands in
its plugin's status.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from instar_host.plugins import Outcome
from instar_host.records import HostContext
from instar_threadline.bridge.blame import told
from instar_threadline.messages import Message, Thread
from instar_threadline.records import BridgeSink, Redactor, SinkResult

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class PluginVoices:
    """The hooks of threadline, asked through the host's plugins."""

    def __init__(self, host: HostContext) -> None:
        self._host = host
        self._redactors: tuple[tuple[str, Callable[[str], str]], ...] | None = None
        self._found: tuple[BridgeSink, ...] | None = None

    def may_mirror(self, message: Message, thread: Thread) -> bool:
        """False when any plugin says no, fails, or answers something else than a yes or
        nothing.
        """
        votes = self._host.plugins.each("threadline_may_mirror", message=message, thread=thread)
        return all(vote.error is None and vote.value in (None, True) for vote in votes)

    def title(self, thread: Thread) -> str | None:
        """The first title that a plugin gives."""
        found = self._host.plugins.first("threadline_topic_title", thread=thread)
        return found.value if found is not None and isinstance(found.value, str) else None

    def redactors(self) -> Sequence[tuple[str, Callable[[str], str]]]:
        """Every redactor by its order, named after its plugin too. A plugin that fails to give its
        redactors is itself one that fails: every message is then blocked, not let through.
        """
        if self._redactors is None:
            found: list[tuple[int, str, Callable[[str], str]]] = []
            for outcome in self._host.plugins.each("threadline_redactors", host=self._host):
                given = _drained(outcome)
                if given is None:
                    found.append((0, outcome.plugin, _refuses))
                else:
                    found += [
                        (r.order, f"{outcome.plugin}/{r.name}", self._redact(outcome.plugin, r))
                        for r in given
                    ]
            found.sort(key=lambda one: one[0])
            self._redactors = tuple((name, redact) for _order, name, redact in found)
        return self._redactors

    def sinks(self) -> Sequence[BridgeSink]:
        """Every sink with a name of its own; a second one of a name is reported and left out."""
        if self._found is None:
            sinks: dict[str, BridgeSink] = {}
            for given in self._host.plugins.collect("threadline_sinks", host=self._host):
                sink = given.value
                if not isinstance(sink.name, str) or not _NAME.fullmatch(sink.name):
                    self._host.plugins.report(given.plugin, "a sink needs a plain name")
                elif sink.name in sinks or sink.name == "jsonl":
                    words = f"the sink {sink.name} is there already"
                    self._host.plugins.report(given.plugin, words)
                else:
                    sinks[sink.name] = self._sink(given.plugin, sink)
            self._found = tuple(sinks.values())
        return self._found

    def _redact(self, plugin: str, redactor: Redactor) -> Callable[[str], str]:
        tell = partial(self._host.plugins.report, plugin)
        return told(f"its redactor {redactor.name}", (str,), tell, redactor.redact)

    def _sink(self, plugin: str, sink: BridgeSink) -> BridgeSink:
        tell = partial(self._host.plugins.report, plugin)
        deliver = told(f"its sink {sink.name}", (SinkResult,), tell, sink.deliver)
        return msgspec.structs.replace(sink, deliver=deliver)


def _drained(outcome: Outcome) -> list[Redactor] | None:
    """The redactors of one plugin; None when it gave anything else."""
    if outcome.error is not None:
        return None
    try:
        given = list(outcome.value or ())
    except Exception:  # noqa: BLE001 - a plugin's generator
        return None
    return given if all(_is_redactor(item) for item in given) else None


def _is_redactor(item: object) -> bool:
    """The members too: nobody has looked at them, and a bad one would stop everybody's messages."""
    if not isinstance(item, Redactor):
        return False
    said: dict[str, object] = msgspec.structs.asdict(item)
    kinds = isinstance(said["name"], str) and isinstance(said["order"], int)
    return kinds and callable(said["redact"])


def _refuses(_text: str) -> str:
    raise ValueError("the plugin did not give its redactors")
