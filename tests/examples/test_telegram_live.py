"""The live check, against the stand-in: what it looks at holds there, and it cleans up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.threadline.bridge.fake_bot_api import GROUP, TOKEN, BotApi
from tests.threadline.bridge.fake_bot_server import serving

SCRIPT = Path(__file__).parents[2] / "examples" / "telegram_live.py"
GUARD_S = 60


def live(said: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=said,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=GUARD_S,
    )


def test_the_live_check_finds_what_the_bridge_relies_on_and_deletes_its_topic() -> None:
    """Every line is a yes, and the group is as it was."""
    api = BotApi()
    with serving(api) as server:
        ended = live(
            "y\n",
            INSTAR_TELEGRAM_TOKEN=TOKEN,
            INSTAR_TELEGRAM_CHAT_ID=str(GROUP),
            INSTAR_TELEGRAM_BASE_URL=server.url,
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "NO " not in ended.stdout
    assert ended.stdout.count("\nok ") >= 11
    assert api.group.topics == {}
    assert api.violations == []


def test_it_does_nothing_without_a_yes_or_a_bot() -> None:
    """Whoever does not say y, or has set nothing, has changed nothing."""
    ended = live("n\n", INSTAR_TELEGRAM_TOKEN=TOKEN, INSTAR_TELEGRAM_CHAT_ID=str(GROUP))
    assert ended.returncode == 1
    ended = live("y\n")
    assert ended.returncode == 1
    assert "INSTAR_TELEGRAM_TOKEN" in ended.stderr
    assert "Traceback" not in ended.stderr
