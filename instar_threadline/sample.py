"""A few made-up conversations, for `instar serve --sample`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from instar_threadline.messages import NewMessage
from instar_threadline.record.lines import iso_instant

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAWN = "3f7ac1d09b5e24868e1f0c7d52ab9934"
_ADA = "b19e44c7d8f2603a5c7e91d0aa34f6e2"

_TALKS: tuple[tuple[str, str, str, int, tuple[tuple[str, str], ...]], ...] = (
    (
        "ledger-migration",
        _DAWN,
        "Dawn",
        2 * _HOUR_MS,
        (
            ("in", "Could you look at the ledger migration before noon?"),
            ("in", "The interesting part is the horizon of pruned rows."),
            ("out", "Reading it now."),
            ("out", "One question: what happens to a late row that is older than the horizon?"),
            ("in", "It is sealed: counted, and left out of the totals."),
            ("out", "Then it is fine. Merged."),
        ),
    ),
    (
        "nightly-build",
        _ADA,
        "Ada",
        26 * _HOUR_MS,
        (
            ("in", "The nightly build is red: the same flake as on Tuesday."),
            ("out", "I can take it. Do you have the log?"),
            ("in", "It is in the archive, under today's date."),
        ),
    ),
)


def conversations(now_ms: int) -> Iterator[NewMessage]:
    """The messages, oldest first within a thread, as if they had been exchanged lately."""
    for thread_id, peer, name, began_ms, lines in _TALKS:
        for i, (direction, text) in enumerate(lines):
            at = now_ms - began_ms + i * 7 * _MINUTE_MS
            yield NewMessage(
                direction="in" if direction == "in" else "out",
                counterparty=peer,
                counterparty_name=name,
                thread_id=thread_id,
                text=text,
                id=f"{thread_id}-{i}",
                timestamp=iso_instant(at),
                trust_level="trusted" if direction == "in" else "",
                outcome=None if direction == "in" else "relay-sent",
            )
