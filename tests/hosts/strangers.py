"""What other people bring into a host: a session of Codex, a plugin that is broken, a webhook."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROKEN = "import a_package_that_is_not_there"
SESSION = "0199a213-81a0-7800-8aa1-bbab2a035a53"
ROLLOUT = "2026/01/01/rollout-2026-01-01T10-00-00-" + SESSION + ".jsonl"


def write_rollout(codex: Path) -> None:
    """One session of Codex: 40 of 100 tokens cached, 10 written, 7.5 % of the limit used."""

    def line(minute: int, kind: str, payload: Mapping[str, Any]) -> str:
        at = f"2026-01-01T10:{minute:02}:00.000Z"
        return json.dumps({"timestamp": at, "type": kind, "payload": payload}) + "\n"

    total = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 10}
    info = {"total_token_usage": total}
    limits = {"primary": {"used_percent": 7.5, "window_minutes": 299}}
    said = {"type": "token_count", "info": info, "rate_limits": limits}
    text = line(0, "session_meta", {"id": SESSION, "cwd": "/app"}) + line(1, "event_msg", said)
    rollout = codex / "sessions" / ROLLOUT
    rollout.parent.mkdir(parents=True)
    rollout.write_text(text.replace('": {', '":{'), encoding="utf-8")  # as Codex writes it


@contextmanager
def broken_plugin(site_packages: Path) -> Iterator[None]:
    """An installed distribution whose plugin cannot be imported, for the block."""
    info = site_packages / "broken_plugin-1.0.dist-info"
    info.mkdir(exist_ok=True)
    files = {
        info / "METADATA": "Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n",
        info / "entry_points.txt": "[instar.plugins]\nbroken = broken_plugin\n",
        site_packages / "broken_plugin.py": BROKEN,
    }
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        for path in files:
            path.unlink()
        info.rmdir()
