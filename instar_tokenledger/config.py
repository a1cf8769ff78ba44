"""The settings of the token ledger: the section `tokenLedger` of `config.json`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from instar_host.settings import Settings

SECTION = "tokenLedger"
DAY_MS = 24 * 60 * 60 * 1000


class LedgerSettings(Settings, frozen=True, kw_only=True):
    """How the ledger reads, and what it keeps."""

    claude_dirs: Annotated[
        tuple[str, ...],
        Meta(
            description="Claude Code's configuration folders, those that hold `projects/`; none:"
            " `CLAUDE_CONFIG_DIR` (a comma list), else `~/.claude` and `~/.config/claude`"
        ),
    ] = ()
    hermes_home: Annotated[
        str,
        Meta(
            description="Hermes Agent's home, whose usage is read from outside; empty: inside"
            " Hermes its own, elsewhere none"
        ),
    ] = ""
    bub_home: Annotated[
        str,
        Meta(description="Bub's home, whose tapes are read; empty: inside Bub its own, else none"),
    ] = ""
    max_file_age_ms: Annotated[
        int,
        Meta(
            ge=0,
            description="files not written to for longer wait, until they are asked for; 0: none",
            extra={"unit": "ms"},
        ),
    ] = 30 * DAY_MS
    max_files_per_scan: Annotated[
        int, Meta(ge=1, description="changed files read in one tick", extra={"unit": "files"})
    ] = 500
    max_bytes_per_scan: Annotated[
        int, Meta(ge=1, description="bytes read in one tick", extra={"unit": "bytes"})
    ] = 256 * 1024 * 1024
    max_rows_per_scan: Annotated[
        int, Meta(ge=1, description="usage rows taken in one tick", extra={"unit": "rows"})
    ] = 50_000
    max_scan_ms: Annotated[
        int, Meta(ge=1, description="time spent reading in one tick", extra={"unit": "ms"})
    ] = 2_000
    idle_interval_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            description="time between two looks while nothing changes",
            extra={"unit": "ms"},
        ),
    ] = 60_000
    watch: Annotated[
        bool,
        Meta(
            description="be told of changes by the system instead of looking for them, where the"
            " `watch` extra is installed"
        ),
    ] = True
    detail_days: Annotated[
        int,
        Meta(
            ge=0,
            description="requests older than this are replaced by what they add up to, by quarter"
            " of an hour; totals stay; 0: all detail is kept",
            extra={"unit": "days"},
        ),
    ] = 0
    daily_backups: Annotated[
        int, Meta(ge=0, le=30, description="verified daily backups kept; 0: none are made")
    ] = 3
