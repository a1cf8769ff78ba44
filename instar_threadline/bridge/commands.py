"""`instar bridge ...`: look after the bridge from a terminal.

Promises that reading needs nothing but the files; that acting goes through the process that
sends when there is one, and otherwise takes its place for the time of the command; that a flag
that is not known is an error and that nothing is sent before it was said how much, and how long
it takes. Exit codes: 0 done, 1 a negative answer, 2 wrong usage, 3 another process holds the
lease and does not answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import apsw

from instar_host.errors import InstarError, UsageError, reason
from instar_host.records import Terminal
from instar_host.remote import RemoteHost
from instar_threadline.bridge import backfill_command, mutes, routes
from instar_threadline.bridge.assembly import NOT_CONFIGURED, Bridge
from instar_threadline.bridge.call import POLL_S, Call, present, require_bot
from instar_threadline.bridge.check import check
from instar_threadline.bridge.connection import PUBLIC_API, find_connection
from instar_threadline.bridge.outbox import FORGOTTEN
from instar_threadline.bridge.settings import KEYS
from instar_threadline.bridge.status import BridgeStatus, TargetStatus, TopicCounts
from instar_threadline.bridge.worker import ChatWorker
from instar_threadline.terminal import ago, clean

TEST_WAIT_S = 90.0


def run(arguments: argparse.Namespace, bridge: Bridge, terminal: Terminal) -> int:
    """The command, over a bridge of its own, which is closed afterwards."""
    try:
        return int(arguments.run_bridge(Call(arguments, bridge, terminal)))
    except apsw.Error as error:  # a full disk, say: no defect, and nothing was half done
        raise InstarError(f"The bridge's database cannot be used: {reason(error)}") from error
    finally:
        bridge.close()


def _status(call: Call) -> int:
    status = call.bridge.status()
    if call.arguments.json:
        call.say_json(status)
    else:
        for line in _status_lines(status, call.bridge.host.clock.now_ms()):
            call.say(line)
    stuck = any(target.paused for target in status.targets)
    return 1 if status.problems or stuck or status.dead_letters else 0


def _status_lines(status: BridgeStatus, now_ms: int) -> Iterator[str]:
    yield f"bridge: {'on' if status.enabled else 'off'}; bot from: {status.connection or 'nowhere'}"
    if not status.connection:
        yield "next: docs/telegram.md leads from @BotFather to the first topic"
    elif not status.enabled:
        yield "next: instar bridge config enabled=on autoCreateTopics=on"
    for problem in status.problems:
        yield f"problem: {clean(problem)}"
    for words in status.lost:
        yield f"lost: {words}"
    for target in status.targets:
        yield from _target_lines(target, now_ms)
    yield from _topic_lines(status.topics)
    if status.muted:
        yield "muted: " + ", ".join(clean(name) for name in status.muted)
    yield from _dead_lines(status, now_ms)


def _target_lines(target: TargetStatus, now_ms: int) -> Iterator[str]:
    history = f" ({target.queued_history} of them history)" if target.queued_history else ""
    lanes = f" in {_many(target.lanes, 'thread')}" if target.lanes else ""
    sent = target.counters.get("sent", 0) + target.counters.get("repeat", 0)
    figures = [f"{target.queued} waiting{history}{lanes}", f"{sent} sent"]
    for counter, words in (("repeats-marked", "marked as possible repeats"),
                           ("skipped", "skipped"), ("dropped", "dropped"),
                           (FORGOTTEN, "old dead letters let go of")):  # fmt: skip
        if number := target.counters.get(counter, 0):
            figures.append(f"{number} {words}")
    yield f"{target.name}: {', '.join(figures)}"
    if target.blocked_until is not None and target.blocked_until > now_ms:
        seconds = (target.blocked_until - now_ms) // 1000
        yield f"  silent for {seconds} s more, as Telegram asked or after failures"
    if target.paused:
        yield f"  paused: {clean(target.paused)}"
        yield "  next: instar bridge check says what to mend, then instar bridge resume"
    if target.topics_blocked:
        yield f"  no new topics: {clean(target.topics_blocked)}"
    if target.last_success is not None:
        yield f"  last success: {ago(now_ms - target.last_success)}"
    if target.last_error_at is not None:
        yield f"  last error: {clean(target.last_error)} ({ago(now_ms - target.last_error_at)})"


def _topic_lines(topics: TopicCounts) -> Iterator[str]:
    yield (
        f"topics: {topics.open} open, {topics.reserved} to be opened, {topics.in_hub} in the hub,"
        f" {topics.muted} muted"
    )
    if topics.possibly_orphaned:
        yield (
            f"  {_many(topics.possibly_orphaned, 'topic')} may lie around empty: this program"
            " ended while making one; delete what is empty by hand"
        )


def _dead_lines(status: BridgeStatus, now_ms: int) -> Iterator[str]:
    yield f"dead letters: {status.dead_letters}"
    for letter in status.dead:
        at = ago(now_ms - letter.at)
        yield f"  {letter.id}  {clean(letter.thread_id)}, {at}: {clean(letter.reason)}"
        yield f"     {clean(letter.preview)[:80]}"
    if status.dead_letters > len(status.dead):
        yield f"  and {status.dead_letters - len(status.dead)} older ones"
    if status.dead_letters:
        yield "  next: instar bridge retry ID, or drop ID; --all for all of them"


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _check(call: Call) -> int:
    connection = find_connection(call.bridge.host.config)
    if connection is None:
        lender = call.bridge.lent_by()
        lent = f"messages go through the Telegram of {lender}; only a bot of yours can be checked"
        raise InstarError(lent if lender else NOT_CONFIGURED)
    client = call.bridge.client(connection)
    findings = check(client)
    client.close()
    if call.arguments.json:
        call.say_json({"origin": connection.origin, "findings": findings})
    else:
        other = connection.base_url != PUBLIC_API
        server = f"; server {clean(connection.base_url)}" if other else ""
        call.say(f"bot and chat {connection.chat_id} from {connection.origin}{server}")
        for finding in findings:
            call.say(f"{'ok ' if finding.ok else 'NO '} {finding.name}: {clean(finding.says)}")
            if finding.cure:
                call.say(f"    cure: {finding.cure}")
    return 0 if all(finding.ok for finding in findings) else 1


def _send_test(call: Call) -> int:
    with call.sender() as sender:
        if sender is not None:
            require_bot(present(call, sender))
            key = str(sender.post(routes.SEND_TEST, {})["key"])
            arrived = _until(call, lambda: bool(_asked(sender, key)), lambda: POLL_S)
        else:
            chat = _chat(call)
            mine = call.control.send_test()
            arrived = _until(call, lambda: call.control.has_arrived(mine), chat.step)
    if arrived:
        call.say("The test message has arrived; look into the group.")
        return 0
    status = call.bridge.status()
    errors = [target.last_error for target in status.targets if target.last_error]
    words = "; ".join([*status.problems, *errors]) or "no answer yet"
    call.terminal.err.write(
        f"It has not arrived: {clean(words)}.\nIt stays queued. What to mend: instar bridge check\n"
    )
    return 1


def _chat(call: Call) -> ChatWorker:
    chat = call.bridge.chat()
    if chat is None:
        raise InstarError("; ".join(call.bridge.status().problems) or NOT_CONFIGURED)
    return chat


def _asked(sender: RemoteHost, key: str) -> object:
    return sender.post(routes.SEND_TEST, {"key": key})["arrived"]


def _until(call: Call, done: Callable[[], bool], step: Callable[[], float]) -> bool:
    """Work or wait until it is done, at most as long as a test may take."""
    until = call.now_s() + TEST_WAIT_S
    while not done():
        wait_s = step()
        if call.now_s() + wait_s > until:
            return False
        call.wait(wait_s)
    return True


def _letters(call: Call) -> int:
    arguments = call.arguments
    if bool(arguments.ids) == arguments.all:
        raise UsageError("name dead letters by their numbers, or say --all")
    ids = None if arguments.all else arguments.ids
    retries = arguments.action == "retry"
    with call.sender() as sender:
        if sender is not None:
            path = routes.RETRY if retries else routes.DROP
            which = {"all": True} if ids is None else {"ids": ids}
            number = int(next(iter(sender.post(path, which).values())))
        else:
            number = (call.control.retry if retries else call.control.drop)(ids)
    done = "queued again" if retries else "dropped"
    call.say(f"{_many(number, 'dead letter')} {done}" if number else "there is no such dead letter")
    return 0 if number else 1


def _drop_queue(call: Call) -> int:
    history_only = not call.arguments.live_too
    with call.sender() as sender:
        if sender is not None:
            waiting = "history" if history_only else "all"
            number = int(sender.post(routes.DROP, {"waiting": waiting})["dropped"])
        else:
            number = call.control.drop_waiting(history_only=history_only)
    call.say(f"{_many(number, 'waiting message')} dropped")
    return 0


def _mute(call: Call) -> int:
    arguments = call.arguments
    kind: mutes.MuteKind = "agent" if arguments.thread is None else "thread"
    name: str = arguments.agent if arguments.thread is None else arguments.thread
    muted = arguments.action == "mute"
    with call.sender() as sender:
        if sender is not None:
            sender.post(routes.MUTE, {"kind": kind, "name": name, "muted": muted})
        else:
            call.control.mute(kind, name, muted=muted)
    call.say(f"{kind} {clean(name)} is {'muted' if muted else 'no longer muted'}")
    return 0


def _resume(call: Call) -> int:
    with call.sender() as sender:
        if sender is not None:
            require_bot(present(call, sender))
            sender.post(routes.RESUME, {})
            call.say("The bridge looks again at once.")
        else:
            _chat(call)
            call.control.resume()
            call.say("No host runs now; the bridge looks again when one does.")
    return 0


def _config(call: Call) -> int:
    store = call.bridge.settings
    changes: dict[str, Any] = {}
    for pair in call.arguments.pairs:
        key, equals, text = pair.partition("=")
        if not equals or key not in KEYS:
            raise UsageError(f"{clean(pair)}: say KEY=VALUE; keys are {', '.join(KEYS)}")
        changes[key] = _value(key, text)
    settings = store.update(changes, by="command") if changes else store.get()
    call.say_json(settings)
    return 0


def _value(key: str, text: str) -> bool | list[str]:
    if key.endswith("List"):
        return [part.strip() for part in text.split(",") if part.strip()]
    words = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
    if text.lower() not in words:
        raise UsageError(f"{key} is on or off")
    return words[text.lower()]


def configure(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their flags."""
    parts = parser.add_subparsers(required=True, metavar="COMMAND", dest="action")

    def add(name: str, run: Callable[[Call], int], summary: str) -> argparse.ArgumentParser:
        child = parts.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        child.set_defaults(run_bridge=run)
        return child

    for name, run, summary in (
        ("status", _status, "queue, pauses, topics, dead letters and problems"),
        ("check", _check, "ask Telegram about token, chat, topics and rights, with cures"),
    ):
        add(name, run, summary).add_argument("--json", action="store_true", help="for scripts")
    add("send-test", _send_test, "send a test message through the queue, and wait for it")
    add("resume", _resume, "look again at once at what paused the chat")
    backfill_command.configure(add("backfill", backfill_command.run, "post the history of threads"))
    for name, summary in (("retry", "queue dead letters again"), ("drop", "forget dead letters")):
        child = add(name, _letters, summary)
        child.add_argument("ids", nargs="*", type=int, metavar="ID", help="as status shows them")
        child.add_argument("--all", action="store_true", help="all of them")
    queue = add("drop-queue", _drop_queue, "give up the history that waits")
    queue.add_argument("--live-too", action="store_true", help="live messages as well")
    for name, summary in (("mute", "mirror nothing more of it"), ("unmute", "mirror it again")):
        which = add(name, _mute, summary).add_mutually_exclusive_group(required=True)
        which.add_argument("--thread", metavar="ID", help="a thread")
        which.add_argument("--agent", metavar="FINGERPRINT", help="an agent")
    config = add("config", _config, "show the five settings, or change some: KEY=VALUE ...")
    config.add_argument("pairs", nargs="*", metavar="KEY=VALUE", help="all or nothing")
