"""A person's home with transcripts, the ledger kept of it, and lines to put into it.

`LedgerHome` goes through what a host goes through: the settings, the service, a reader for each
question. The right answers come from `benchmarks.corpus`, which shares nothing with the ledger.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.corpus import (
    START_MS,
    Counters,
    Row,
    Truth,
    emit_line,
    models,
    projects,
    series,
    sessions,
    summary,
    truth_of_tree,
)
from instar_host.config import Config
from instar_host.testing import FakeClock, MakeHost
from instar_tokenledger import answers
from instar_tokenledger.ingest import Budget, Progress
from instar_tokenledger.opening import ledger_path
from instar_tokenledger.plugin import TokenLedgerPlugin, sources_of
from instar_tokenledger.series import BUCKETS
from instar_tokenledger.service import LedgerService, Reading
from instar_tokenledger.windows import END_OF_TIME, Window
from instar_tokenledger.zones import zone_of

Json = dict[str, Any]

EVER = Window(0, END_OF_TIME)
MANY = 100_000
ZONES = ("UTC", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe")
SESSION = "projects/-home-dev-app/session-1.jsonl"
"""The transcript that most tests write."""


class LedgerHome:
    """Transcripts below `claude` and the ledger of them in `state_dir`."""

    def __init__(self, folder: Path, state_dir: Path, make_host: MakeHost) -> None:
        self.claude = folder / "claude"
        self.state_dir = state_dir
        self.claude.mkdir()
        settings = {"claudeDirs": [str(self.claude)], "dailyBackups": 0}
        self.host = make_host([TokenLedgerPlugin()], {"tokenLedger": settings})
        self.service = self._service()

    @property
    def database(self) -> str:
        """Where the ledger lies."""
        return ledger_path(self.state_dir)

    def write(self, relative: str | bytes, *lines: bytes, end: bytes = b"\n") -> Path:
        """Write a transcript anew; without `end` the last line is unfinished."""
        path = self._path(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(lines) + end)
        return path

    def append(self, relative: str | bytes, *lines: bytes, end: bytes = b"\n") -> Path:
        """Append to a transcript as its agent would."""
        path = self._path(relative)
        with path.open("ab") as file:
            file.write(b"\n".join(lines) + end)
        return path

    def scan(self, budget: Budget | None = None) -> Progress:
        """Look for changes and read them, once."""
        return list(self.service.step(budget or Budget(), lambda: False))[-1]

    def scan_all(self, budget: Callable[[], Budget]) -> int:
        """Scan in steps until caught up; returns how many it took."""
        steps = 1
        while not self.scan(budget()).caught_up:
            steps += 1
            assert steps < MANY
        return steps

    def restart(self) -> None:
        """End the host and begin another on the same state."""
        self.service.close()
        self.service = self._service()

    def close(self) -> None:
        self.service.close()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Questions to the ledger as it stands."""
        with self.service.reading() as reading:
            yield reading

    def summary(self, window: Window = EVER) -> Json:
        """Totals of a window."""
        with self.reading() as reading:
            return reading.totals.summary(window)

    def tokens(self) -> tuple[int, int]:
        """(input, output) of everything that is billed."""
        found = self.summary()
        return found["totalInput"], found["totalOutput"]

    def requests(self, session: str = "session-1") -> list[Json]:
        """The requests of one session."""
        with self.reading() as reading:
            return reading.sessions.requests(session, MANY)

    def status(self) -> Json:
        """How far reading has come."""
        with self.reading() as reading:
            return answers.status(reading, self.service.health, 0, {})

    def skips(self) -> dict[str, int]:
        """Lines passed over, by reason."""
        found: dict[str, int] = self.status()["skips"]
        return found

    def answers(self, window: Window = EVER, zones: Sequence[str] = ("UTC",)) -> Json:
        """Every view of the ledger."""
        with self.reading() as reading:
            return answers_of(reading, window, zones)

    def truth(self, window: Window = EVER) -> Truth:
        """The right answer for what lies on the disk now."""
        return truth_of_tree(self.claude, since_ms=window.since, until_ms=window.until)

    def assert_true(self, window: Window = EVER, zones: Sequence[str] = ("UTC",)) -> None:
        """Every view of the ledger is the truth of the disk, and the totals are their rows'."""
        whole = self.truth()
        assert self.answers(window, zones) == true_answers(whole, window, zones)
        assert self.skips() == dict(whole.skips)

    def _path(self, relative: str | bytes) -> Path:
        return self.claude / os.fsdecode(relative)

    def _service(self) -> LedgerService:
        return LedgerService(self.host, lambda: sources_of(self.host))


def answers_of(reading: Reading, window: Window, zones: Sequence[str] = ("UTC",)) -> Json:
    """Every view of a ledger."""
    zoned = [(bucket, zone_of(tz)) for bucket in BUCKETS for tz in zones]
    page = reading.sessions.page(window, MANY)
    return {
        "summary": reading.totals.summary(window),
        "sessions": page.sessions,
        "sessionCount": page.total,
        "projects": reading.totals.by_project(window, MANY),
        "models": reading.totals.by_model(window, MANY),
        "series": {
            f"{bucket}/{zone.name}": answers.series(reading, window, bucket, zone)["series"]
            for bucket, zone in zoned
        },
    }


def true_answers(whole: Truth, window: Window, zones: Sequence[str] = ("UTC",)) -> Json:
    """What `answers_of` has to be, from the truth of all time.

    A session's project is that of its earliest request, whatever the window.
    """
    inside = [r for r in whole.requests if window.since <= r.ts < window.until]
    truth = Truth(requests=tuple(inside))
    project = {row["sessionId"]: row["projectPath"] for row in sessions(whole)}
    rows = [{**row, "projectPath": project[row["sessionId"]]} for row in sessions(truth)]
    return {
        "summary": summary(truth),
        "sessions": rows,
        "sessionCount": len(rows),
        "projects": projects(truth),
        "models": models(truth),
        "series": {
            f"{bucket}/{tz}": series(truth, bucket, tz) for bucket in BUCKETS for tz in zones
        },
    }


def said(
    message_id: str | None = "msg_1",
    request_id: str | None = "req_1",
    *,
    input: int = 10,  # noqa: A002 - the counter's name
    output: int = 900,
    session: str = "session-1",
    ts: int = START_MS,
    cwd: str | None = "/home/dev/app",
    model: str | None = "claude-opus-4-5",
    **more: Any,
) -> bytes:
    """One usage line; `more` are further fields of the corpus's `Row`."""
    counters = more.pop("counters", Counters(input=input, output=output))
    return emit_line(
        Row(
            message_id=message_id,
            request_id=request_id,
            session=session,
            ts=ts,
            cwd=cwd,
            model=model,
            counters=counters,
            **more,
        )
    )


def with_changes(line: bytes, **members: Any) -> bytes:
    """The line with some of its top-level members replaced; None as value takes one away."""
    return _dumps(_merged(json.loads(line), members))


def with_message(line: bytes, **members: Any) -> bytes:
    """The line with some members of its message replaced; None as value takes one away."""
    found = json.loads(line)
    return _dumps({**found, "message": _merged(found["message"], members)})


def with_usage(line: bytes, **members: Any) -> bytes:
    """The line with some members of its usage replaced; None is written as null."""
    found = json.loads(line)
    found["message"]["usage"] |= members
    return _dumps(found)


def clock_of(home: LedgerHome) -> FakeClock:
    """The clock that the home's host goes by."""
    clock = home.host.clock
    assert isinstance(clock, FakeClock)
    return clock


def _merged(found: Json, members: Json) -> Json:
    merged = {**found, **members}
    return {name: value for name, value in merged.items() if value is not None}


def _dumps(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def written(home: LedgerHome) -> None:
    """Two requests in a closed ledger."""
    home.write(SESSION, said("m1", "r1"), said("m2", "r2"))
    home.scan()
    home.service.close()


def with_backups(home: LedgerHome) -> LedgerHome:
    """The same home with the setting as it comes."""
    settings = {"tokenLedger": {"claudeDirs": [str(home.claude)]}}
    (home.state_dir / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = Config.load(home.state_dir, {})
    home.host = msgspec.structs.replace(home.host, config=config)
    home.restart()
    return home
