"""`instar tokens ...`: the ledger in a terminal, for people and, with `--json`, for scripts.

`scan` and `rebuild` write: they take the lease, or ask the process that holds it and show its
progress. The others only read. Exit codes: 0 done, 1 a negative answer, 2 wrong usage, 3 the
process that holds the lease does not answer.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import msgspec

from instar_host.calls import Call
from instar_host.errors import InstarError, LeaseHeld, reason
from instar_host.lease import Lease
from instar_host.records import Terminal
from instar_host.store.errors import StoreError, shown
from instar_tokenledger import answers, display, options, pace
from instar_tokenledger.answers import IDLE_MS
from instar_tokenledger.errors import BadQuery, LedgerError, NothingFound
from instar_tokenledger.opening import ledger_path, unreadable
from instar_tokenledger.queries import Json
from instar_tokenledger.service import TROUBLE, LedgerService, Reading, file_bytes
from instar_tokenledger.spans import instant_ms, span_ms
from instar_tokenledger.windows import END_OF_TIME, Window
from instar_tokenledger.zones import Zone, local_zone, zone_of

if TYPE_CHECKING:
    from instar_tokenledger.ingest import Progress

PROGRESS_EVERY_S = 0.2
YEAR_MS = 365 * 86_400_000
FEWEST_MS = 3 * YEAR_MS
"""A smaller number is meant as a year, a day (20260131) or seconds."""
NOTHING_HERE = "Nothing in this span."
EMPTY = "The ledger is empty: `instar tokens scan` fills it."


def configure(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their flags."""
    kinds = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, run_it, summary, takes in _COMMANDS:
        sub = kinds.add_parser(name, help=summary, description=summary)
        for take in takes:
            take(sub)
        sub.set_defaults(run_tokens=run_it)


def run(arguments: argparse.Namespace, service: LedgerService, terminal: Terminal) -> int:
    """The command over one service."""
    return int(arguments.run_tokens(_Call(arguments, service.host, terminal, service)))


class _Call(Call[LedgerService]):
    """One call over the ledger."""

    @property
    def zone(self) -> Zone:
        said = getattr(self.arguments, "tz", None)
        return zone_of(said) if said else local_zone(self.host.config.environ)

    @property
    def zone_info(self) -> tzinfo:
        return self.zone.info

    def window(self) -> Window:
        since, until = self.arguments.since, self.arguments.until
        window = Window(
            0 if since is None else self.instant(since),
            END_OF_TIME if until is None else self.instant(until),
        )
        if since and until and window.since >= window.until:
            raise BadQuery(f"--since {since} is not before --until {until}.")
        return window

    def instant(self, said: str) -> int:
        """What a person wrote, in epoch milliseconds. Raises BadQuery, for a year alone too."""
        at_ms = instant_ms(said, self.host.clock.now_ms(), self.zone_info)
        if said.isdigit() and 0 < at_ms < FEWEST_MS:
            raise BadQuery(
                f"{said!r} would be epoch milliseconds, in {1970 + at_ms // YEAR_MS}: write a date"
                " such as 2026-01-31, or a span such as 7d."
            )
        return at_ms

    @property
    def width(self) -> int | None:
        """Columns that a table may take; None where nobody looks on and nothing is cut."""
        return self.terminal.width if self.terminal.is_tty else None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reading]:
        try:
            with self.service.reading() as reading:
                yield reading
        except (apsw.Error, OSError, StoreError) as error:
            raise LedgerError(unreadable(self.host.state_dir, error)) from error

    def give(self, answer: Json, text: str) -> int:
        """Print the answer as JSON where it was asked for, else as text."""
        if self.arguments.json:
            self.say_json(answer)
        else:
            self.say(text)
        return 0


def _scan(call: _Call) -> int:
    """Read everything, whatever its age, until caught up; then the totals."""
    return _scanned(call, anew=False)


def _rebuild(call: _Call) -> int:
    """Read every transcript again from its beginning; rows are only ever added to."""
    return _scanned(call, anew=True)


def _scanned(call: _Call, *, anew: bool) -> int:
    try:
        with _lease(call):
            if anew:
                _tried(call.service.forget_marks)
            _gather(call)
            progress = _shown(call, _steps(call))
    except LeaseHeld:
        progress = _shown(call, _asked(call, anew=anew))
    for plugin in call.host.plugins.statuses():
        if plugin.errors:
            call.note(f"plugin {plugin.name}: {plugin.error}")
    with call.reading() as reading:
        window = Window(0, END_OF_TIME)
        answer = answers.summary(reading, window)
        status = answers.status(reading, call.service.health, 0, {})
    answer = {"scan": msgspec.to_builtins(progress), **answer, "skips": status["skips"]}
    if not progress.files_seen and not answer["summary"]["eventCount"]:
        call.give(answer, _nothing_to_read(call))
        return 0
    text = display.summary_text(answer["summary"], call.zone_info)
    notes = display.scan_notes(progress, status)
    for named in call.service.settings.claude_dirs:
        if not Path(named).expanduser().joinpath("projects").is_dir():
            call.note(f"There is no folder projects/ in {shown(named)}; nothing was read there.")
    call.give(answer, "\n".join([text, *notes]))
    return 0


def _summary(call: _Call) -> int:
    with call.reading() as reading:
        answer = answers.summary(reading, call.window())
        empty = not reading.totals.contents()["requests"]
    text = display.summary_text(answer["summary"], call.zone_info)
    return call.give(answer, f"{text} {EMPTY}" if empty else text)


def _sessions(call: _Call) -> int:
    return _listed(
        call,
        "sessions",
        lambda reading: answers.sessions(reading, call.window(), call.arguments.limit, 0),
        lambda rows: display.sessions_text(rows, call.zone_info, call.width),
    )


def _by_project(call: _Call) -> int:
    return _listed(
        call,
        "projects",
        lambda reading: answers.projects(reading, call.window(), call.arguments.limit, 0),
        lambda rows: display.projects_text(rows, call.width),
    )


def _by_model(call: _Call) -> int:
    return _listed(
        call,
        "models",
        lambda reading: answers.models(reading, call.window(), call.arguments.limit, 0),
        display.models_text,
    )


def _orphans(call: _Call) -> int:
    now_ms = call.host.clock.now_ms()
    idle = call.arguments.idle
    idle_ms = IDLE_MS if idle is None else span_ms(idle)
    since = call.arguments.since
    since_ms = 0 if since is None else call.instant(since)
    limit = call.arguments.limit
    return _listed(
        call,
        "orphans",
        lambda reading: answers.orphans(reading, idle_ms, now_ms, since_ms, limit, 0),
        lambda rows: display.orphans_text(rows, call.zone_info, call.width),
        "No session has gone quiet.",
    )


def _series(call: _Call) -> int:
    bucket = call.arguments.bucket
    return _listed(
        call,
        "series",
        lambda reading: answers.series(reading, call.window(), bucket, call.zone),
        lambda rows: display.series_text(rows, bucket, call.zone_info),
    )


def _listed(
    call: _Call,
    key: str,
    ask: Callable[[Reading], Json],
    show: Callable[[Sequence[Json]], str],
    nothing: str = NOTHING_HERE,
) -> int:
    """Give a list of rows, or say that there are none and why."""
    with call.reading() as reading:
        answer = ask(reading)
        empty = not answer[key] and not reading.totals.contents()["requests"]
    rows = answer[key]
    call.give(answer, show(rows) if rows else f"{nothing} {EMPTY}" if empty else nothing)
    if answer.get("total", 0) > len(rows) and not call.arguments.json:
        call.note(f"{len(rows):,} of {answer['total']:,} {key}; --limit shows more.")
    return 0


def _status(call: _Call) -> int:
    holder = Lease(call.host.state_dir).holder()
    more: Json = {"lease": {"held": False, "pid": holder.pid if holder else None}, "tick": None}
    with call.reading() as reading:
        size = file_bytes(ledger_path(call.host.state_dir))
        answer = answers.status(reading, call.service.health, size, more)
    return call.give(answer, display.status_text(answer))


def _trace(call: _Call) -> int:
    """Every line that made the number of one request."""
    from instar_tokenledger import tracing

    with call.reading() as reading:
        found = tracing.known(reading.connection, call.arguments.request)
    if not found:
        raise NothingFound(
            f"Nothing in the ledger bears the id {display.clean(call.arguments.request)!r}."
        )
    traced = [tracing.trace(request, source, call.service.sources()) for request, source in found]
    answer = {"requests": [tracing.as_json(one) for one in traced]}
    return call.give(answer, "\n\n".join(tracing.as_text(one) for one in traced))


def _snapshot(call: _Call) -> int:
    """A verified copy of the ledger, for other programs to open."""
    from instar_tokenledger.snapshot import write_snapshot

    target = call.arguments.file
    with call.reading() as reading:
        if reading.connection.filename in ("", ":memory:"):
            raise NothingFound("There is no ledger yet; `instar tokens scan` makes one.")
    write_snapshot(call.service.open_reader(), call.host.state_dir, target)
    call.say(f"Wrote {shown(target)}, verified.")
    return 0


def _shown(call: _Call, steps: Iterator[Progress]) -> Progress:
    """Go through the steps, with a line of progress where a person looks on; the last one."""
    clock = call.host.clock
    began_s = shown_s = clock.monotonic_s()
    progress: Progress | None = None
    try:
        for progress in steps:
            now_s = clock.monotonic_s()
            if now_s - shown_s >= PROGRESS_EVERY_S:
                shown_s = now_s
                call.progress(display.progress_text(progress, now_s - began_s))
    finally:
        call.service.close()
        call.progress()
    for note in call.service.health.notes:
        call.note(note)
    if progress is None:
        raise LedgerError("The scan ended before it began.")
    return progress


def _asked(call: _Call, *, anew: bool) -> Iterator[Progress]:
    """Have the process read that holds the lease."""
    from instar_host.remote import RemoteHost  # brings HTTP and OpenSSL along
    from instar_tokenledger.remote_scan import RemoteScan

    holder = Lease(call.host.state_dir).holder()
    if holder is None:
        raise LedgerError("The process that held the lease has just ended; try again.")
    call.note(f"Process {holder.pid} reads the transcripts; asked it to.")
    remote = RemoteHost(holder, call.host.config.token())
    yield from RemoteScan(remote, call.host.clock).run(anew=anew)


def _gather(call: _Call) -> None:
    """Have copies renewed; what could not be copied does not keep the rest from being read."""
    try:
        call.service.gather()
    except (LedgerError, OSError) as error:
        call.note(reason(error))


def _steps(call: _Call) -> Iterator[Progress]:
    from instar_tokenledger.ingest import Budget

    try:
        with pace.alone():
            try:
                yield from call.service.step(Budget(), lambda: False)
            except apsw.CorruptError:  # it is checked when it is opened again, and mended
                yield from call.service.step(Budget(), lambda: False)
    except InstarError:
        raise
    except TROUBLE as error:
        raise LedgerError(f"The ledger cannot be written: {reason(error)}") from error


def _tried(action: Callable[[], object]) -> None:
    try:
        action()
    except InstarError:
        raise
    except TROUBLE as error:
        raise LedgerError(reason(error)) from error


@contextlib.contextmanager
def _lease(call: _Call) -> Iterator[None]:
    lease = Lease(call.host.state_dir)
    lease.acquire()
    try:
        yield
    finally:
        lease.release()


def _nothing_to_read(call: _Call) -> str:
    places = [str(root) for source in call.service.sources() for root in source.roots()]
    lines = ["No transcripts were found. Looked in:", *(f"  {display.clean(p)}" for p in places)]
    return "\n".join(
        [
            *lines,
            "Run an agent once, or name its configuration folder with --claude-dir DIR.",
        ]
    )


_COMMANDS: tuple[
    tuple[str, Callable[[_Call], int], str, tuple[Callable[[argparse.ArgumentParser], None], ...]],
    ...,
] = (
    ("scan", _scan, "read everything that is new, then show the totals", (options.as_json,)),
    ("summary", _summary, "totals by kind", (options.as_json, options.span)),
    ("sessions", _sessions, "sessions by tokens", (options.as_json, options.span, options.limit)),
    (
        "by-project",
        _by_project,
        "projects by tokens",
        (options.as_json, options.span, options.limit),
    ),
    ("by-model", _by_model, "models by tokens", (options.as_json, options.span, options.limit)),
    (
        "orphans",
        _orphans,
        "sessions that have gone quiet",
        (options.as_json, options.since, options.limit, options.idle),
    ),
    ("series", _series, "use by day or hour", (options.as_json, options.span, options.bucket)),
    ("status", _status, "how far reading has come, and what was skipped", (options.as_json,)),
    (
        "trace",
        _trace,
        "every line that made the number of one request",
        (options.as_json, options.request),
    ),
    (
        "rebuild",
        _rebuild,
        "read every transcript again; nothing is ever taken away",
        (options.as_json,),
    ),
    ("snapshot", _snapshot, "a verified copy, for Datasette, DuckDB or sqlite3", (options.file,)),
)
