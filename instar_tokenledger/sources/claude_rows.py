"""Successive lines of one request, gathered into one usage row.

Claude Code writes a line a content block, each with the usage so far. As long as a line only adds
to those before it, the request is told by the first (where and when) and the last (how much), so
the rest need not be merged one by one. A line that does anything else begins a row of its own,
which the accounting merges.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import ge

from instar_tokenledger.accounting import PARTIAL_OUTPUT, line_number
from instar_tokenledger.sources.claude_content import content_chars
from instar_tokenledger.sources.claude_salvage import Refused
from instar_tokenledger.sources.claude_shapes import IterationUsage, Line, Message, Usage
from instar_tokenledger.usage import Counters, Iteration, UsageRow

SYNTHETIC = "<synthetic>"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_new = tuple.__new__


class Run:
    """Successive lines of one request, each at least as much as the one before."""

    __slots__ = (
        "_contents",
        "_counters",
        "_first",
        "_message",
        "_offset",
        "_stop",
        "_usage",
        "_when",
    )

    def __init__(self, line: Line, offset: int) -> None:
        """Begin with a line. Raises `Refused` for one that cannot count."""
        message = line.message
        usage = message.usage if message is not None else None
        if message is None or usage is None:
            raise Refused("no-usage")
        if message.model == SYNTHETIC:
            raise Refused("synthetic")
        if not line.sessionId:
            raise Refused("no-session-id")
        self._when = instant(line.timestamp)
        self._counters = _counters(usage)
        if not (message.id or line.requestId or line.uuid):
            raise Refused("no-identity")
        self._first = line
        self._message = message
        self._offset = offset
        self._usage = usage
        self._stop = bool(message.stop_reason)
        self._contents = [(line.uuid, offset, message.content)]

    def takes(self, line: Line, offset: int) -> bool:
        """Add a line if it belongs here and only adds; false leaves the run as it was."""
        message = line.message
        if message is None or not self._is_same(line, message):
            return False
        try:
            if datetime.fromisoformat(line.timestamp or "") < self._when:
                return False
        except (ValueError, TypeError):  # no instant, or one without an offset
            return False
        stop = bool(message.stop_reason)
        if self._stop and not stop:
            return False
        usage = message.usage
        if usage != self._usage:
            if usage is None or not _only_adds(self._usage, usage):
                return False
            counters = _counters(usage)
            if not all(map(ge, counters, self._counters)):
                return False
            self._counters, self._usage = counters, usage
        self._stop = stop
        self._contents.append((line.uuid, offset, message.content))
        return True

    def row(self, before: UsageRow | None) -> UsageRow:
        """The run as one row. Texts equal to those of the row `before` are shared with it."""
        first, message, usage = self._first, self._message, self._usage
        rich = _is_rich(usage)
        partial = not self._stop and not rich and self._counters.output <= PARTIAL_OUTPUT
        session, project = first.sessionId or "", first.cwd or ""
        agent, branch, version = first.agentId or "", first.gitBranch or "", first.version or ""
        model, tier = message.model or "", usage.service_tier or ""
        if before is not None:  # equal texts become one object, which makes looking them up cheap
            session = before.session if session == before.session else session
            project = before.project if project == before.project else project
            agent = before.agent if agent == before.agent else agent
            branch = before.branch if branch == before.branch else branch
            version = before.version if version == before.version else version
            model = before.model if model == before.model else model
            tier = before.tier if tier == before.tier else tier
        iterations = usage.iterations
        # By position: naming twenty members costs ten times as much as the struct.
        return UsageRow(
            session, (self._when - EPOCH) // MILLISECOND, self._offset, self._counters,
            message.id or "", first.requestId or "", first.uuid or "", model, tier,
            usage.speed or "", project, agent, branch, version, bool(first.isSidechain),
            self._stop, bool(iterations), rich, _iterations(iterations) if iterations else (),
            self._measured() if partial else (),
        )  # fmt: skip

    def _is_same(self, line: Line, message: Message) -> bool:
        first, known = self._first, self._message
        return (
            message.id == known.id
            and line.requestId == first.requestId
            and bool(message.id)
            and line.sessionId == first.sessionId
            and message.model == known.model
            and line.cwd == first.cwd
            and line.isSidechain == first.isSidechain
            and line.agentId == first.agentId
            and line.gitBranch == first.gitBranch
            and line.version == first.version
        )

    def _measured(self) -> tuple[tuple[int, int], ...]:
        chars: dict[int, int] = {}
        for row_id, offset, content in self._contents:
            number = line_number(row_id or "", offset)
            chars[number] = max(content_chars(content), chars.get(number, 0))
        return tuple(chars.items())


def instant(text: str | None) -> datetime:
    """An ISO 8601 instant from 1970 on. A local time names no instant and is refused."""
    if not text:
        raise Refused("no-timestamp")
    try:
        when = datetime.fromisoformat(text)
        if when < EPOCH:
            raise Refused("bad-timestamp")
    except (ValueError, TypeError, OverflowError):
        raise Refused("bad-timestamp") from None
    return when


def _only_adds(old: Usage, new: Usage) -> bool:
    """True when nothing that describes `old` is lost or changed in `new`, counters aside."""
    return (
        old.service_tier == new.service_tier
        and (not old.iterations or old.iterations == new.iterations)
        and (not old.speed or old.speed == new.speed)
        and (not _is_rich(old) or _is_rich(new))
    )


def _is_rich(usage: Usage) -> bool:
    return bool(usage.iterations) or usage.speed is not None or usage.server_tool_use is not None


def _counters(usage: Usage) -> Counters:
    """The counters of a usage block; cache writes are at least the sum of their parts."""
    parts, tools, details = (
        usage.cache_creation,
        usage.server_tool_use,
        usage.output_tokens_details,
    )
    five_minutes = parts.ephemeral_5m_input_tokens if parts else 0
    an_hour = parts.ephemeral_1h_input_tokens if parts else 0
    create = usage.cache_creation_input_tokens
    # The tuple's own constructor: that of a NamedTuple is a call in Python, for each line read.
    return _new(Counters, (
        usage.input_tokens,
        usage.output_tokens,
        max(create, five_minutes + an_hour),
        usage.cache_read_input_tokens,
        five_minutes,
        an_hour,
        tools.web_search_requests if tools else 0,
        tools.web_fetch_requests if tools else 0,
        details.thinking_tokens if details else 0,
    ))  # fmt: skip


def _entry_counters(entry: IterationUsage) -> Counters:
    parts = entry.cache_creation
    five_minutes = parts.ephemeral_5m_input_tokens if parts else 0
    an_hour = parts.ephemeral_1h_input_tokens if parts else 0
    return Counters(
        entry.input_tokens,
        entry.output_tokens,
        max(entry.cache_creation_input_tokens, five_minutes + an_hour),
        entry.cache_read_input_tokens,
        five_minutes,
        an_hour,
    )


def _iterations(entries: list[IterationUsage] | None) -> tuple[Iteration, ...]:
    """What the top level leaves out: advisors, compactions, and every fallback attempt but the
    serving one."""
    if not entries:
        return ()
    last_fallback = max(
        (i for i, entry in enumerate(entries) if entry.type == "fallback_message"), default=-1
    )
    found: list[Iteration] = []
    for i, entry in enumerate(entries):
        if entry.type == "advisor_message":
            found.append(Iteration("advisor", i, entry.model or "", _entry_counters(entry)))
        elif entry.type == "compaction":
            found.append(Iteration("compaction", i, entry.model or "", _entry_counters(entry)))
        elif entry.type == "fallback_message" and i != last_fallback:
            found.append(Iteration("fallback", i, entry.model or "", _entry_counters(entry)))
    return tuple(found)
