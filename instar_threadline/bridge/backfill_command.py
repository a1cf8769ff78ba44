"""`instar bridge backfill`: say what would be posted, ask, queue it, show how it goes.

Promises that nothing is queued before it was said how much it is and how long it takes; that a
seed file with a wrong row is refused as a whole; and that an interrupted backfill loses
nothing: what is queued goes out while the host runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from instar_host.errors import InstarError, UsageError
from instar_host.remote import RemoteHost
from instar_threadline.bridge import backfill, routes
from instar_threadline.bridge.assembly import CHAT_TARGET, NOT_CONFIGURED
from instar_threadline.bridge.call import POLL_S, Call, present
from instar_threadline.bridge.control import BackfillAnswer, BackfillRequest
from instar_threadline.bridge.status import BridgeStatus
from instar_threadline.terminal import clean

MAX_WAIT_STEP_S = 5.0
BAR_COLUMNS = 24
PLANNED_WITHIN_S = 900.0
"""Planning reads the whole log, and draws every message of it: minutes for a million."""


def configure(child: argparse.ArgumentParser) -> None:
    """The flags."""
    child.add_argument("--threads", metavar="A,B", help="only these threads")
    child.add_argument(
        "--thread", metavar="ID", action="append", default=[], help="one thread; repeatable"
    )
    child.add_argument("--seed", metavar="FILE", help="also the messages of this JSON file")
    child.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    child.add_argument("--no-create", action="store_true", help="only threads that have a topic")
    child.add_argument("--since", metavar="INSTANT", help="only messages from this instant on")
    child.add_argument("--yes", action="store_true", help="do not ask")


def run(call: Call) -> int:
    """The command."""
    asked = _backfill_request(call.arguments)
    with call.sender(PLANNED_WITHIN_S) as sender:
        if sender is None:
            call.bridge.open()
        plan = _ask_backfill(call, sender, msgspec.structs.replace(asked, dry_run=True))
        waiting = _history(present(call, sender))
        _say_plan(call, plan, waiting)
        if asked.dry_run or not (plan.messages or waiting):
            return 0
        if plan.messages:
            if not call.arguments.yes and not _confirmed(call):
                return 1
            answer = _ask_backfill(call, sender, asked)
            call.say(f"{answer.queued} messages are queued.")
            if answer.left:
                call.say(
                    f"{answer.left} more find no room in the queue now: give this command again"
                    " when these are posted."
                )
        return _follow(call, sender)


def _backfill_request(arguments: argparse.Namespace) -> BackfillRequest:
    seed = backfill.read_seed(Path(arguments.seed)) if arguments.seed else None
    listed = [part.strip() for part in (arguments.threads or "").split(",") if part.strip()]
    return BackfillRequest(
        threads=tuple(dict.fromkeys([*listed, *arguments.thread])),
        seed=seed,
        dry_run=arguments.dry_run,
        create=not arguments.no_create,
        since=arguments.since or "",
    )


def _ask_backfill(call: Call, sender: RemoteHost | None, asked: BackfillRequest) -> BackfillAnswer:
    if sender is None:
        return call.control.fill(asked)
    body = msgspec.to_builtins(asked)
    return msgspec.convert(sender.post(routes.BACKFILL, body), BackfillAnswer)


def _say_plan(call: Call, plan: BackfillAnswer, waiting: int) -> None:
    for thread in plan.threads:
        topic = ", opens a topic" if thread.opens_topic else ""
        name = clean(thread.agent_name) or clean(thread.agent)[:8]
        known = f", {thread.known} posted or left out" if thread.known else ""
        call.say(f"{clean(thread.thread_id)} with {name}: {thread.messages} to post{known}{topic}")
    for missing in plan.missing:
        call.say(f"{clean(missing)}: no messages")
    if plan.skipped_unbound:
        call.say(f"{plan.skipped_unbound} threads have no topic and are left out (--no-create)")
    if waiting:
        call.say(f"{waiting} messages of an earlier backfill wait; they go out first.")
    if not plan.messages:
        call.say("Nothing else is to be posted: there are no messages, or all of them are known.")
        return
    call.say(
        f"{plan.messages} messages in {plan.operations} operations, {plan.topics} new topics:"
        f" about {_span(plan.seconds)} at the pace that Telegram allows."
    )


def _confirmed(call: Call) -> bool:
    if not call.terminal.is_tty:
        raise UsageError("say --yes to post this, or --dry-run to look only")
    call.terminal.out.write("Post it? [y/N] ")
    call.terminal.out.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _follow(call: Call, sender: RemoteHost | None) -> int:
    """Show how the queue empties; in this process, empty it."""
    chat = None if sender is not None else call.bridge.chat()
    if sender is None and chat is None:
        raise InstarError("it is queued, but " + "; ".join(call.bridge.status().problems))
    now = present(call, sender)
    if not now.connection:
        raise InstarError("it is queued, but " + ("; ".join(now.problems) or NOT_CONFIGURED))
    total = left = _history(now)
    try:
        while left > 0:
            wait_s = POLL_S if chat is None else chat.step()
            status = present(call, sender)
            left = _history(status)
            total = max(total, left)
            _bar(call, total, left, status)
            if left:
                call.wait(min(wait_s, MAX_WAIT_STEP_S))
    except KeyboardInterrupt:
        call.say(
            f"\n{left} messages stay queued. They go out while a host runs, or when this command"
            " is given again."
        )
        raise
    call.say("\nEverything is posted.")
    return 0


def _history(status: BridgeStatus) -> int:
    """How many messages of backfills wait for the chat, banners included. A plugin's sink takes
    its own in its own time, while a host runs.
    """
    return sum(t.queued_history for t in status.targets if t.name == CHAT_TARGET)


def _bar(call: Call, total: int, left: int, status: BridgeStatus) -> None:
    if not call.terminal.is_tty:
        return
    done = total - left
    filled = BAR_COLUMNS * done // max(total, 1)
    errors = [target.paused or target.last_error for target in status.targets if target.paused]
    note = f"  {clean(errors[0])}" if errors else ""
    bar = "#" * filled + "-" * (BAR_COLUMNS - filled)
    call.terminal.out.write(f"\r[{bar}] {done}/{total}{note}")
    call.terminal.out.flush()


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
