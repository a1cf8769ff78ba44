"""Claude Code as a token source: where its transcripts lie and which files they are.

Sessions are `projects/<folder>/<session>.jsonl`; subagents write below `<session>/subagents/` at
any depth and, in older versions, `agent-*.jsonl` beside the session. Nothing here opens a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from instar_tokenledger.sources.claude_lines import decode
from instar_tokenledger.usage import TokenSource

NAME = "claude-code"
FOREIGN_FOLDERS = frozenset({b"tool-results", b"memory"})


def claude_code(roots: Callable[[], Sequence[Path]]) -> TokenSource:
    """The source over `roots()`, the `projects` folders of some configuration folders."""
    return TokenSource(
        name=NAME, roots=roots, selects=is_transcript, descends=may_hold_transcripts, decode=decode
    )


def config_dirs(chosen: Sequence[str], environ: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Configuration folders: those chosen, else `CLAUDE_CONFIG_DIR` (a comma list), else the two
    usual ones."""
    named = [d for d in chosen if d.strip()]
    if not named:
        named = [d.strip() for d in environ.get("CLAUDE_CONFIG_DIR", "").split(",") if d.strip()]
    if named:
        return tuple(_absolute(d, home) for d in dict.fromkeys(named))
    return (home / ".claude", home / ".config" / "claude")


def project_roots(dirs: Sequence[Path]) -> list[Path]:
    """The `projects` folder of each configuration folder, each real folder once."""
    return list({_real(d / "projects"): d / "projects" for d in dirs}.values())


def is_transcript(relative: bytes) -> bool:
    """True for a session or subagent transcript, by its path below `projects`."""
    if not relative.endswith(b".jsonl"):
        return False
    parts = relative.split(b"/")
    if len(parts) == 2:
        return parts[1] != b"journal.jsonl"
    return b"subagents" in parts[2:-1] and parts[-1].startswith(b"agent-")


def may_hold_transcripts(relative: bytes) -> bool:
    """False for the folders in which tools leave results and notes."""
    return relative.rpartition(b"/")[2] not in FOREIGN_FOLDERS


def _absolute(folder: str, home: Path) -> Path:
    if folder == "~" or folder.startswith("~/"):
        return home / folder[2:]
    return Path(os.path.abspath(folder))


def _real(folder: Path) -> str:
    try:
        return os.path.realpath(folder)
    except ValueError:  # a text that can be no path: whoever looks into it says so
        return str(folder)
