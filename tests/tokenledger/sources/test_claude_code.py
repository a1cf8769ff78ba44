"""Where Claude Code's transcripts lie: which folders, and which files in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from instar_tokenledger.sources.claude_code import (
    claude_code,
    config_dirs,
    is_transcript,
    may_hold_transcripts,
    project_roots,
)

HOME = Path("/home/dev")


def test_without_a_word_both_usual_folders_are_read() -> None:
    """C-36: `~/.claude` and `~/.config/claude`."""
    assert config_dirs((), {}, HOME) == (HOME / ".claude", HOME / ".config" / "claude")


@pytest.mark.parametrize(
    ("value", "dirs"),
    [
        ("/a", ["/a"]),
        ("/a,/b", ["/a", "/b"]),
        (" /a , /b ,", ["/a", "/b"]),
        ("~/x,/a,/a", ["/home/dev/x", "/a"]),
        ("~", ["/home/dev"]),
        (" , ", ["/home/dev/.claude", "/home/dev/.config/claude"]),
    ],
)
def test_the_variable_is_a_comma_list(value: str, dirs: list[str]) -> None:
    """C-36: `CLAUDE_CONFIG_DIR` names one folder or several, each once."""
    found = config_dirs((), {"CLAUDE_CONFIG_DIR": value}, HOME)
    assert [str(path) for path in found] == dirs


def test_what_was_chosen_goes_before_the_variable() -> None:
    """`--claude-dir` overrides the environment and the defaults."""
    assert config_dirs(("/c",), {"CLAUDE_CONFIG_DIR": "/a"}, HOME) == (Path("/c"),)


def test_two_names_of_one_folder_are_one_root(tmp_path: Path) -> None:
    """T21: a link to a configuration folder does not make its transcripts two."""
    (tmp_path / "real" / "projects").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(project_roots([tmp_path / "real", tmp_path / "link"])) == 1


@pytest.mark.parametrize("nonsense", ["/a\0b", "/a\ud800b"])
def test_a_text_that_can_be_no_path_costs_the_others_nothing(tmp_path: Path, nonsense: str) -> None:
    """T21: it is handed on, for the look to count."""
    dirs = [Path(nonsense), tmp_path]
    assert project_roots(dirs) == [folder / "projects" for folder in dirs]


@pytest.mark.parametrize(
    ("relative", "selected"),
    [
        (b"-home/s.jsonl", True),
        (b"-home/agent-1.jsonl", True),
        (b"-home/s/subagents/agent-1.jsonl", True),
        (b"-home/s/subagents/workflows/w/agent-1.jsonl", True),
        (b"-home/\xff\n.jsonl", True),
        (b"s.jsonl", False),
        (b"-home/journal.jsonl", False),
        (b"-home/s/agent-1.jsonl", False),
        (b"-home/s/subagents/workflows/w/journal.jsonl", False),
        (b"-home/s/subagents/agent-1.meta.json", False),
        (b"-home/subagents/agent-1.jsonl", False),
        (b"-home/s.jsonl.bak", False),
    ],
)
def test_which_files_are_transcripts(relative: bytes, selected: bool) -> None:
    """C-16: sessions, and subagents at any depth; nothing else."""
    assert is_transcript(relative) is selected
    assert claude_code(list).selects(relative) is selected


def test_folders_of_tools_are_not_entered() -> None:
    """Results and notes may be many and hold no transcript."""
    assert not may_hold_transcripts(b"-home/s/tool-results")
    assert not may_hold_transcripts(b"-home/memory")
    assert may_hold_transcripts(b"-home/s/subagents/workflows")
