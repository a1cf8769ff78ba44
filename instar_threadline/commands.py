"""`instar threads ...`: conversations in a terminal, for people and, with `--json`, for scripts.

All of them only read the log. `verify` needs no index; the others bring it up to date first when
nobody else keeps it and the state directory may be written to. What a peer wrote is shown with its
control and direction characters escaped, so that no message can drive a terminal. Exit codes: 0
done, 1 a negative answer, 2 wrong usage.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import msgspec

from instar_host.calls import Call
from instar_host.characters import json_for
from instar_host.errors import InstarError, ReadOnlyStateDir, UsageError
from instar_host.lease import Lease
from instar_host.records import Terminal
from instar_threadline import export
from instar_threadline.errors import IndexUnavailable
from instar_threadline.record.lines import instant_ms
from instar_threadline.record.problems import problem_of
from instar_threadline.record.search import MAX_QUERY_CHARS, Hit
from instar_threadline.record.shapes import MessageView, ThreadSummary
from instar_threadline.record.verify import StreamVerdict, Verdict, verify
from instar_threadline.record.views import ThreadDetail, Views
from instar_threadline.service import ThreadlineService
from instar_threadline.terminal import ago, clean, fitted

SHOW_MESSAGES = 50
MOST = 10_000
"""Threads or messages of one answer."""
VERIFY_PROBLEMS = 10
"""Of each direction."""
SEARCH_BUDGET_S = 2.0


def run(arguments: argparse.Namespace, service: ThreadlineService, terminal: Terminal) -> int:
    """The command over one service."""
    return int(arguments.run_threads(_Call(arguments, service.host, terminal, service)))


class _Call(Call[ThreadlineService]):
    """One call over the threadline."""

    def views(self) -> Views:
        """The views of an index that is as fresh as it can be. Where it cannot be written now, a
        full disk say, what is indexed already is shown, and why it is not more."""
        lease = Lease(self.host.state_dir)
        try:
            try:
                if lease.try_acquire():
                    while not self.service.index(lambda: False):
                        pass
            finally:  # also of one that could be taken and not be written
                lease.release()
        except (InstarError, OSError) as error:
            if not self.service.readers.exist():
                raise IndexUnavailable(f"There is no index of messages yet: {error}") from error
            if not isinstance(error, ReadOnlyStateDir):
                self.terminal.err.write(f"{clean(str(error))}\n")
        return self.service.views()

    def fitted(self, line: str) -> str:
        """Cut where somebody looks on, whole for a program."""
        return fitted(line, self.terminal.width) if self.terminal.is_tty else line


def _list(call: _Call) -> int:
    arguments = call.arguments
    page = call.views().threads(
        remote_agent=arguments.agent,
        since_ms=_instant(arguments.since, "--since"),
        until_ms=_instant(arguments.until, "--until"),
        limit=arguments.limit,
    )
    if arguments.json:
        call.say_json({"threads": page.threads, "count": len(page.threads), "total": page.total})
        return 0
    now_ms = call.host.clock.now_ms()
    for thread in page.threads:
        call.say(call.fitted(_thread_line(thread, now_ms)))
    if not page.threads:
        call.say("No threads yet.")
    elif page.total > len(page.threads):
        call.say(f"{len(page.threads)} of {page.total} threads; --limit shows more.")
    return 0


def _show(call: _Call) -> int:
    detail = call.views().thread(call.arguments.thread, limit=call.arguments.limit)
    if detail is None:
        call.terminal.err.write(f"There is no thread {clean(call.arguments.thread)}.\n")
        return 1
    if call.arguments.json:
        summary = msgspec.to_builtins(detail.summary)
        call.say_json({**summary, "messages": detail.messages})
        return 0
    for line in _conversation(detail):
        call.say(line)
    return 0


def _search(call: _Call) -> int:
    arguments = call.arguments
    if len(arguments.text) > MAX_QUERY_CHARS:
        raise UsageError(f"the text may have at most {MAX_QUERY_CHARS} characters")
    call.views()
    hits, scope = _hits(call)
    if arguments.json:
        call.say_json({"hits": hits, "count": len(hits), "scope": scope})
    else:
        for hit in hits:
            message = hit.message
            call.say(f"{message.at or clean(message.timestamp)}  {clean(message.thread_id)}")
            call.say(f"  {_who(message)}: {clean(hit.snippet)}")
        if scope == "recent":
            call.say("Fewer than three characters: only the most recent messages were searched.")
        if not hits:
            call.say("No matches.")
    return 0 if hits else 1


def _hits(call: _Call) -> tuple[list[Hit], str]:
    """(as many hits as are wanted, what was searched): a search that stops to breathe goes on."""
    arguments, hits = call.arguments, list[Hit]()
    cursor: int | None = None
    while True:
        page = call.service.search().messages(
            arguments.text,
            limit=arguments.limit - len(hits),
            cursor=cursor,
            remote_agent=arguments.agent,
            since_ms=_instant(arguments.since, "--since"),
            until_ms=_instant(arguments.until, "--until"),
            budget_s=SEARCH_BUDGET_S,
        )
        hits += page.hits
        done = page.next_cursor is None or page.scope == "recent"
        if done or len(hits) >= arguments.limit:
            return hits, page.scope
        cursor = int(page.next_cursor or 0)


def _verify(call: _Call) -> int:
    service = call.service
    verdict = verify(call.host.state_dir, service.keyring(), service.readers.remembered())
    if call.arguments.json:
        call.say_json(verdict)
    else:
        for line in _verdict_lines(verdict, call):
            call.say(line)
        why = service.health().keyring_error
        if why:
            call.say(why)
    return 0 if verdict.ok else 1


def _export(call: _Call) -> int:
    views, out = call.views(), call.terminal.out
    wanted = call.arguments.thread
    threads = [wanted] if wanted else views.thread_ids()
    as_text = call.arguments.format == "markdown"
    write = export.markdown if as_text else export.jsonl
    for thread_id in threads:
        detail = views.thread(thread_id, limit=1)
        if detail is None:
            call.terminal.err.write(f"There is no thread {clean(thread_id)}.\n")
            return 1
        for chunk in write(detail.summary, views.messages(thread_id)):
            out.write(chunk if as_text else json_for(out, chunk))
    return 0


def _thread_line(thread: ThreadSummary, now_ms: int) -> str:
    last = instant_ms(thread.last_seen) or 0
    mark = "!" if thread.integrity.state == "broken" else " "
    counts = f"{thread.inbound_count}↓ {thread.outbound_count}↑"
    who = f"{clean(thread.remote_agent_name)} ({clean(thread.remote_agent)[:16]})"
    return f"{mark} {ago(now_ms - last):>8}  {counts:>11}  {clean(thread.thread_id)}  {who}"


def _conversation(detail: ThreadDetail) -> Iterator[str]:
    thread = detail.summary
    yield f"{clean(thread.thread_id)}: {clean(thread.remote_agent_name)}"
    yield f"  {clean(thread.remote_agent)}"
    integrity = thread.integrity
    yield f"  integrity {integrity.state}, completeness {integrity.completeness}"
    if detail.older_cursor is not None:
        yield f"  the last {len(detail.messages)} of {thread.message_count} messages"
    for message in detail.messages:
        yield ""
        flags = _flags(message)
        yield f"{message.at or clean(message.timestamp)}  {_who(message)}{flags}"
        for line in message.text.split("\n"):
            yield f"  {clean(line)}"


def _who(message: MessageView) -> str:
    name = clean(message.remote_agent_name)
    return f"{name} →" if message.direction == "in" else f"→ {name}"


def _flags(message: MessageView) -> str:
    flags = [] if message.verified else ["unverified"]
    if message.integrity != "ok":
        flags.append(message.integrity)
    if message.status in ("outside", "altered"):
        flags.append(message.status)
    if message.conflict:
        flags.append("conflict")
    return f"  [{', '.join(flags)}]" if flags else ""


def _verdict_lines(verdict: Verdict, call: _Call) -> Iterator[str]:
    for stream in verdict.streams:
        yield from _stream_lines(stream, call)
    yield f"integrity: {verdict.integrity}   completeness: {verdict.completeness}"


def _stream_lines(stream: StreamVerdict, call: _Call) -> Iterator[str]:
    name = "inbox" if stream.direction == "in" else "outbox"
    yield (
        f"{name}: {stream.lines} lines, {stream.chained} chained, {stream.unchained} unchained,"
        f" {stream.outside} outside the chain, {stream.bad} bad, {stream.missing} missing"
    )
    shown = stream.findings[: call.arguments.limit]
    for finding in shown:
        problem = problem_of(call.host.state_dir, finding)
        yield (
            f"  {problem.kind} at entry {problem.entry}, {problem.file} byte {problem.offset}:"
            f" {problem.words}"
        )
        if problem.excerpt:
            yield call.fitted(f"    {clean(problem.excerpt)}")
    left = stream.finding_count - len(shown)
    if left:
        yield f"  and {left} more; --limit shows more, --json all that are kept"


def _instant(said: str | None, flag: str) -> int | None:
    if said is None:
        return None
    at = instant_ms(said)
    if at is None:
        raise UsageError(f"{flag} has to be an instant, such as 2026-05-01T10:00:00Z")
    return at


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {MOST}")
    return int(text)


def configure(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their flags."""
    kinds = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[_Call], int], summary: str) -> argparse.ArgumentParser:
        sub = kinds.add_parser(name, help=summary, description=summary)
        sub.set_defaults(run_threads=run)
        return sub

    for name, run, limit, summary in (
        ("list", _list, 50, "threads, the latest first"),
        ("search", _search, 20, "messages that contain a text, newest first"),
    ):
        sub = add(name, run, summary)
        if name == "search":
            sub.add_argument("text", help="what they contain, in any case")
        sub.add_argument("--agent", default="", help="a part of the peer's fingerprint or name")
        sub.add_argument("--since", metavar="INSTANT", help="from this instant on (ISO 8601)")
        sub.add_argument("--until", metavar="INSTANT", help="up to this instant (ISO 8601)")
        _add_limit(sub, limit, "how many")
        _add_json(sub)
    show = add("show", _show, "one conversation")
    show.add_argument("thread", help="its id, as list shows it")
    _add_limit(show, SHOW_MESSAGES, "how many messages, the latest ones")
    _add_json(show)
    checks = add(
        "verify", _verify, "check every line and the chain; exit 1 when something is wrong"
    )
    _add_limit(checks, VERIFY_PROBLEMS, "how many problems of each direction")
    _add_json(checks)
    out = add("export", _export, "messages as JSON lines or Markdown")
    out.add_argument("thread", nargs="?", help="one thread; all of them without it")
    out.add_argument(
        "--format", choices=("jsonl", "markdown"), default="jsonl", help="default: jsonl"
    )


def _add_limit(parser: argparse.ArgumentParser, count: int, what: str) -> None:
    parser.add_argument(
        "--limit", type=_count, default=count, metavar="N", help=f"{what}; default: {count}"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
