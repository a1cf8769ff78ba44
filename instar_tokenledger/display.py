"""The ledger's answers as a person reads them in a terminal: tables, totals, a line of progress.

Pure text from answers; control characters from transcripts are shown, never sent to the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instar_tokenledger.ingest import Progress

Json = Mapping[str, Any]
Row = Sequence[str]
STEP = 1000
"""From one unit of bytes to the next, as on the page: kB and MB, not KiB and MiB."""
NARROWEST = 12
"""Characters that the last column of a table keeps, however narrow the terminal."""
SKIPPED = {
    "bad-number": "a counter that is no whole number",
    "bad-timestamp": "a time that is none",
    "bad-row": "a row that its source got wrong",
    "malformed": "not valid JSON, or cut off",
    "no-identity": "no id of any kind",
    "no-session-id": "no session",
    "no-timestamp": "no time",
    "no-usage": "an answer without usage",
    "not-object": "JSON, but no object",
    "source-error": "a source that failed",
    "synthetic": "made by the agent itself, not a request",
    "too-deep": "nested too deep",
    "too-long": "longer than a line may be",
}
"""Why a line was not counted, in words; the page says the same."""


def summary_text(summary: Json, zone: tzinfo | None) -> str:
    """The totals of a span, with what the transcripts left out said plainly."""
    if not summary["eventCount"]:
        return "No requests in this span."
    tokens = counted(summary["totalTokens"], "token")
    requests = counted(summary["eventCount"], "request")
    span = f"{moment(summary['oldestEventTs'], zone)} to {moment(summary['newestEventTs'], zone)}"
    sessions = counted(summary["sessionsActive"], "session")
    lines = [f"{tokens} in {requests}, {sessions} ({span})", ""]
    kinds = [
        (kind, sums)
        for kind, sums in summary["kinds"].items()
        if sums["requests"] or kind == "message"
    ]
    rows = [
        [
            kind,
            *(
                grouped(sums[k])
                for k in ("requests", "input", "output", "cacheCreate", "cacheRead")
            ),
        ]
        for kind, sums in kinds
    ]
    lines.append(
        table(["KIND", "REQUESTS", "INPUT", "OUTPUT", "CACHE WRITE", "CACHE READ"], rows, left=1)
    )
    if any(kind == "fallback" for kind, _ in kinds):
        lines.append("fallback: attempts that another model took over; not part of the total.")
    return "\n".join([*lines, *_partial_lines(summary["partial"])])


def scan_notes(progress: Progress, status: Json) -> list[str]:
    """What a scan read, and what it could not."""
    lines = ["", f"Read {counted(progress.files_read, 'file')}, {size(progress.bytes_read)}."]
    lines += _skip_lines(status["skips"])
    lines += [f"Could not read {counted(n, 'file')}: {why}" for why, n in progress.errors.items()]
    return lines


def sessions_text(rows: Sequence[Json], zone: tzinfo | None, width: int | None = None) -> str:
    return table(
        ["SESSION", "TOKENS", "REQUESTS", "LAST", "PROJECT"],
        [
            [
                clean(row["sessionId"]),
                grouped(row["totalTokens"]),
                grouped(row["eventCount"]),
                moment(row["lastTs"], zone),
                clean(row["projectPath"] or "-"),
            ]
            for row in rows
        ],
        right=(1, 2),
        width=width,
    )


def projects_text(rows: Sequence[Json], width: int | None = None) -> str:
    return table(
        ["TOKENS", "REQUESTS", "SESSIONS", "PROJECT"],
        [
            [
                grouped(row["totalTokens"]),
                grouped(row["eventCount"]),
                grouped(row["sessionCount"]),
                clean(row["projectPath"] or "-"),
            ]
            for row in rows
        ],
        right=(0, 1, 2),
        width=width,
    )


def models_text(rows: Sequence[Json]) -> str:
    keys = ("totalTokens", "eventCount", "input", "output", "cacheCreate", "cacheRead")
    return table(
        ["MODEL", "TOKENS", "REQUESTS", "INPUT", "OUTPUT", "CACHE WRITE", "CACHE READ"],
        [[clean(row["model"] or "-"), *(grouped(row[k]) for k in keys)] for row in rows],
        left=1,
    )


def orphans_text(rows: Sequence[Json], zone: tzinfo | None, width: int | None = None) -> str:
    return table(
        ["SESSION", "LAST", "TOKENS", "PROJECT"],
        [
            [
                clean(row["sessionId"]),
                moment(row["lastTs"], zone),
                grouped(row["totalTokens"]),
                clean(row["projectPath"] or "-"),
            ]
            for row in rows
        ],
        right=(2,),
        width=width,
    )


def series_text(rows: Sequence[Json], bucket: str, zone: tzinfo) -> str:
    """Buckets with a bar each, as long as their share of the largest."""
    shape = "%Y-%m-%d %H:%M" if bucket == "hour" else "%Y-%m-%d"
    totals = [row["input"] + row["output"] + row["cacheCreate"] + row["cacheRead"] for row in rows]
    top = max(totals, default=0) or 1
    return table(
        [bucket.upper(), "TOKENS", "OUTPUT", "REQUESTS", ""],
        [
            [
                moment(row["start"], zone, shape),
                grouped(total),
                grouped(row["output"]),
                grouped(row["eventCount"]),
                "▇" * max(1, round(24 * total / top)) if total else "",
            ]
            for row, total in zip(rows, totals, strict=True)
        ],
        right=(1, 2, 3),
    )


def status_text(status: Json) -> str:
    """How far reading has come, in a few lines."""
    held = f"{counted(status['requests'], 'request')} of {counted(status['sessions'], 'session')}"
    read = f"{counted(status['files']['read'], 'file')} ({size(status['bytes']['read'])})"
    lines = [f"{held}, read from {read}; the ledger takes {size(status['ledgerBytes'])}."]
    if status["trouble"]:
        lines.append(f"Not writable at the moment: {status['trouble']}")
    lines += status["notes"]
    lines += _too_old_lines(status)
    own = status["agentsOwnTotals"]
    if own["sessions"]:
        theirs = f"{grouped(own['tokens'])} tokens, ${own['costUSD']:,.2f}"
        lines.append(
            f"The agents' own totals of {grouped(own['sessions'])} sessions: {theirs};"
            f" this ledger has {grouped(own['ledgerTokens'])} tokens for them."
        )
    lines += _skip_lines(status["skips"])
    lines += [f"Could not read {counted(n, 'file')}: {why}" for why, n in status["errors"].items()]
    return "\n".join([*lines, *_partial_lines(status["partial"])])


def progress_text(progress: Progress, elapsed_s: float) -> str:
    """One line: files, bytes, time left, rate. What matters most stands first: the end may be cut
    off.
    """
    rate = progress.bytes_read / elapsed_s if elapsed_s > 0 else 0
    files = grouped(progress.files_read + progress.files_waiting)
    total = size(progress.bytes_read + progress.bytes_waiting)
    left = f", {duration(progress.bytes_waiting / rate)} left" if rate else ""
    return (
        f"Reading: {grouped(progress.files_read)} of {files} files,"
        f" {size(progress.bytes_read)} of {total}{left} ({size(rate)}/s)"
    )


def table(
    heads: Row,
    rows: Sequence[Row],
    *,
    left: int | None = None,
    right: Sequence[int] = (),
    width: int | None = None,
) -> str:
    """Aligned columns; the first `left` to the left and the others to the right, or just those
    named. With a `width` in characters the last column loses its beginning where it has to."""
    if width is not None:
        taken = [max(len(row[i]) for row in [heads, *rows]) + 2 for i in range(len(heads) - 1)]
        room = max(NARROWEST, width - sum(taken))
        rows = [[*row[:-1], _ending(row[-1], room)] for row in rows]
    to_right = set(range(left, len(heads))) if left is not None else set(right)
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in to_right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *rows]
    )


def _ending(text: str, room: int) -> str:
    """The end of a path says more than its beginning."""
    return text if len(text) <= room else f"…{text[1 - room :]}"


def grouped(number: int) -> str:
    return f"{number:,}"


def counted(number: int, what: str) -> str:
    """So many of them: `1 session`, `1,204 sessions`."""
    return f"{grouped(number)} {what}{'' if number == 1 else 's'}"


def size(count: float) -> str:
    """Bytes for people: decimal units, one decimal."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < STEP:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= STEP
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """A time span for people, rounded up to seconds."""
    whole = int(seconds) + 1
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s"
        if whole < 3600
        else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def moment(at_ms: int | None, zone: tzinfo | None, shape: str = "%Y-%m-%d %H:%M") -> str:
    """An instant in the zone given (None: the local one), to the minute unless said otherwise."""
    if at_ms is None:
        return "-"
    try:
        return datetime.fromtimestamp(at_ms / 1000, zone).strftime(shape)
    except (ValueError, OverflowError, OSError):  # a transcript may name any instant
        return "after 9999"


def clean(text: str) -> str:
    """Text from a transcript with everything unprintable escaped: it never drives the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _skip_lines(skips: Mapping[str, int]) -> list[str]:
    return [
        f"Skipped {counted(n, 'line')}: {reason}"
        + (f" ({SKIPPED[reason]})" if reason in SKIPPED else "")
        for reason, n in skips.items()
    ]


def _too_old_lines(status: Json) -> list[str]:
    files, days = status["files"]["tooOld"], status["maxFileAgeMs"] / 86_400_000
    if not files:
        return []
    sentence = (
        f"{grouped(files)} files ({size(status['bytes']['tooOld'])}) were last written more than"
        f" {days:.4g} days ago and wait. `instar tokens scan` reads them; so does a larger"
        " tokenLedger.maxFileAgeMs (0: no limit)."
    )
    return [sentence]


def _partial_lines(partial: Json) -> list[str]:
    if not partial["requests"]:
        return []
    missing = f"about {grouped(partial['estimatedOutput'])}"
    placeholders = f"{counted(partial['requests'], 'request')} ({partial['share']:.1%})"
    return [
        "",
        f"{placeholders} logged no real output: their transcripts hold a placeholder only.",
        f"By the length of what they wrote, {missing} output tokens are missing here.",
    ]
