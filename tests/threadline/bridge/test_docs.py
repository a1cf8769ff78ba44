"""`docs/telegram.md` speaks of messages that exist, and names every command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/telegram.md").read_text(encoding="utf-8")
SOURCES = [
    *sorted((ROOT / "instar_threadline/bridge").glob("*.py")),
    ROOT / "instar_threadline/dashboard/delivery.js",
    ROOT / "instar_host/remote.py",
    ROOT / "tests/threadline/bridge/fake_bot_api.py",
    ROOT / "tests/threadline/bridge/test_telegram.py",
    ROOT / "tests/threadline/bridge/test_commands.py",
]
SAID = re.sub(r"\"\n\s*f?\"", "", "\n".join(p.read_text(encoding="utf-8") for p in SOURCES))
SAID += "bot is not a member of the supergroup chat"  # Telegram's own words
GAPS = re.compile(r"…|\bN\b|\bn\b|\(…\)|[()]|⚠")


def words_of_the_table() -> list[str]:
    """Every message in the first column of the table of faults, in pieces without gaps."""
    table = PAGE.partition("| It says | Cure |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    said = [words for cell in cells for words in re.findall(r"`([^`]+)`", cell)]
    return [part.strip() for words in said for part in GAPS.split(words) if len(part.strip()) > 7]


@pytest.mark.parametrize("words", words_of_the_table())
def test_every_message_with_a_cure_is_one_that_is_said(words: str) -> None:
    """A reworded message takes its line in the table along."""
    plain = words.lower().replace("messages are", "").strip()
    assert plain in SAID.lower()


def test_every_command_is_explained() -> None:
    """What `instar bridge --help` lists stands on the page."""
    source = (ROOT / "instar_threadline/bridge/commands.py").read_text(encoding="utf-8")
    names = set(re.findall(r"^\s+\(?(?:\w+ = )?(?:add\()?\"([a-z-]+)\", _", source, re.MULTILINE))
    names |= {"retry", "drop", "mute", "unmute", "backfill"}
    assert len(names) >= 11
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", PAGE)] == []
