"""A home of Hermes with agent-to-agent conversations in it, as its platform `a2a` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

T0_S = 1_767_225_600.25
"""2026-01-01T00:00:00.250Z"""


class HermesHome:
    """The files of one home; every call appends, as Hermes does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "a2a_conversations"
        self.folder.mkdir(parents=True)

    def file(self, context: str) -> Path:
        return self.folder / f"{context}.jsonl"

    def append(self, context: str, *lines: bytes) -> None:
        """Bytes as they are, a newline after each."""
        with self.file(context).open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    def persist(
        self, context: str, role: str, text: str, task: str = "", at_s: float = T0_S
    ) -> None:
        """One line of a conversation."""
        self.append(context, said(role, text, task, at_s))

    def audit(self, direction: str, peer: str, task: str) -> None:
        """One line of the audit."""
        record = {"ts": T0_S, "direction": direction, "peer": peer, "task_id": task, "summary": ""}
        with (self.path / "a2a_audit.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def asked(self, context: str, peer: str, task: str, question: str, answer: str) -> None:
        """A peer asked Hermes, and got an answer."""
        self.audit("inbound", peer, task)
        self.persist(context, "user", question, task)
        self.audit("outbound", peer, task)
        self.persist(context, "agent", answer, task, T0_S + 1)

    def asks(self, context: str, peer: str, task: str, question: str, answer: str) -> None:
        """Hermes asked a peer, and got an answer."""
        self.audit("outbound", peer, task)
        self.persist(context, "user", question, task)
        self.persist(context, "agent", answer, task, T0_S + 1)


def said(role: str, text: str, task: str = "", at_s: Any = T0_S) -> bytes:
    """A line as Hermes writes it."""
    record = {"ts": at_s, "role": role, "text": text, "task_id": task}
    return json.dumps(record, ensure_ascii=False).encode()
