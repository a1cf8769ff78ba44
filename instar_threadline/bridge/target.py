"""How one chat stands: until when it wants silence, how fast we may go, what id we saw last.

Promises that a pause Telegram asked for is kept in the database and obeyed after a restart,
that the allowed pace is counted over restarts too, and that waits after failures grow with full
jitter. Pure but for loading and saving.
"""

from __future__ import annotations

from collections.abc import Callable

import apsw
import msgspec
from msgspec import Struct

from instar_threadline.bridge.port import MAX_RETRY_AFTER_S, RetryAfter

WINDOW_MS = 60_000
BACK_OFF_FIRST_MS = 1_000
BACK_OFF_LIMIT_MS = 300_000
PAUSE_FIRST_MS = 300_000
PAUSE_LIMIT_MS = 3_600_000
TOPICS_BLOCKED_MS = 900_000
LONGEST_WAIT_MS = 8 * 24 * 3600 * 1000
"""No pause is longer: the longest is Telegram's, of a week."""
SUSPECT_MS = 120_000
"""How long after an unclear attempt a late copy of it is looked for."""


class Pace(Struct, frozen=True, kw_only=True):
    """How fast a chat may be used."""

    per_window: int
    """Operations within any 60 seconds."""
    gap_ms: int
    """Least time between two."""
    for_history: int
    """As many of them may be a backfill's, so that something live always finds room."""


GROUP_PACE = Pace(per_window=19, gap_ms=1_000, for_history=14)
"""Telegram allows a bot about 20 messages a minute in a group, topics and edits included."""
PRIVATE_PACE = Pace(per_window=55, gap_ms=1_050, for_history=45)
"""About one a second in a private chat."""


class TargetState(Struct, kw_only=True):
    """One row of the table `target`; changed in place, saved whole."""

    name: str
    chat_id: int = 0
    configured_chat_id: int = 0
    blocked_until_ms: int = 0
    paused: str = ""
    paused_until_ms: int = 0
    topics_blocked_until_ms: int = 0
    topics_blocked: str = ""
    failures: int = 0
    high_message_id: int = 0
    suspect_message_id: int = 0
    suspect_until_ms: int = 0
    suspect_piece: bytes = b""
    recent: bytes = b"[]"
    last_success_ms: int = 0
    last_error: str = ""
    last_error_ms: int = 0

    def wait_ms(self, now_ms: int, pace: Pace) -> int:
        """Milliseconds until the next operation is allowed; 0 is now."""
        until = max(
            _plausible(self.blocked_until_ms, now_ms), _plausible(self.paused_until_ms, now_ms)
        )
        recent = self.instants(now_ms)
        if recent:
            until = max(until, recent[-1] + pace.gap_ms)
        if len(recent) >= pace.per_window:
            until = max(until, recent[-pace.per_window] + WINDOW_MS)
        return max(until - now_ms, 0)

    def history_wait_ms(self, now_ms: int, pace: Pace) -> int:
        """Milliseconds until a backfill may take the next place; 0 is now."""
        recent = self.instants(now_ms)
        if len(recent) < pace.for_history:
            return 0
        return max(recent[-pace.for_history] + WINDOW_MS - now_ms, 1)

    def instants(self, now_ms: int) -> list[int]:
        """When the operations of the last minute began. A clock that was put back forgets them."""
        found = msgspec.json.decode(self.recent, type=list[int])
        return [at for at in found if now_ms - WINDOW_MS < at <= now_ms]

    def begins(self, now_ms: int) -> None:
        """An operation begins now."""
        self.recent = msgspec.json.encode([*self.instants(now_ms), now_ms])

    def succeeded(self, now_ms: int) -> None:
        """The chat answered with success: whatever stood in the way is over."""
        self.failures = 0
        self.blocked_until_ms = 0
        self.paused = ""
        self.paused_until_ms = 0
        self.last_success_ms = now_ms

    def failed(self, now_ms: int, error: Exception, random: Callable[[], float]) -> None:
        """Wait with full jitter, longer each time."""
        self.note(now_ms, error)
        self.failures += 1
        limit = min(BACK_OFF_LIMIT_MS, BACK_OFF_FIRST_MS << min(self.failures, 20))
        wait = BACK_OFF_FIRST_MS // 2 + round(random() * limit)
        self.blocked_until_ms = max(self.blocked_until_ms, now_ms + wait)

    def told_to_wait(self, now_ms: int, error: RetryAfter, random: Callable[[], float]) -> None:
        """Be silent for as long as Telegram says, and a little more."""
        self.note(now_ms, error)
        seconds = max(0.0, min(MAX_RETRY_AFTER_S, error.seconds))
        wait = round(seconds * 1000) + 250 + round(random() * 1000)
        self.blocked_until_ms = max(self.blocked_until_ms, now_ms + wait)

    def pause(self, now_ms: int, error: Exception, random: Callable[[], float]) -> None:
        """A person has to act; look again now and then."""
        self.note(now_ms, error)
        self.paused = str(error)
        self.failures += 1
        wait = min(PAUSE_LIMIT_MS, PAUSE_FIRST_MS << min(self.failures - 1, 8))
        self.paused_until_ms = now_ms + wait + round(random() * PAUSE_FIRST_MS / 5)

    def no_topics(self, now_ms: int, error: Exception) -> None:
        """No topic can be made for now; asked again later, never for good."""
        self.note(now_ms, error)
        self.topics_blocked = str(error)
        self.topics_blocked_until_ms = now_ms + TOPICS_BLOCKED_MS

    def note(self, now_ms: int, error: Exception) -> None:
        """Keep the words of an error for the status."""
        self.last_error = str(error)[:300]
        self.last_error_ms = now_ms

    def is_ahead(self, now_ms: int) -> bool:
        """True when the clock was put back: something was written down at an instant to come."""
        return self._written_ms() > now_ms

    def put_back(self, now_ms: int) -> None:
        """The clock was put back: what was to be waited for begins now, and takes as long."""
        ahead_ms = self._written_ms() - now_ms
        self.blocked_until_ms = max(self.blocked_until_ms - ahead_ms, 0)
        self.paused_until_ms = max(self.paused_until_ms - ahead_ms, 0)
        self.topics_blocked_until_ms = max(self.topics_blocked_until_ms - ahead_ms, 0)
        self.suspect_until_ms = max(self.suspect_until_ms - ahead_ms, 0)
        self.last_error_ms = min(self.last_error_ms, now_ms)
        self.last_success_ms = min(self.last_success_ms, now_ms)
        self.recent = msgspec.json.encode(self.instants(now_ms))

    def left_chat(self, chat_id: int) -> None:
        """Another chat: its ids are others."""
        self.chat_id = chat_id
        self.high_message_id = self.suspect_message_id = 0

    def saw(self, message_id: int) -> None:
        """An id of this chat."""
        self.high_message_id = max(self.high_message_id, message_id)

    def _written_ms(self) -> int:
        """The latest instant at which something was written down here."""
        began = msgspec.json.decode(self.recent, type=list[int])
        return max(self.last_error_ms, self.last_success_ms, *began, 0)


def _plausible(until_ms: int, now_ms: int) -> int:
    """0 for an instant that nothing can have asked for: the clock was far ahead, and was put
    back.
    """
    return until_ms if until_ms - now_ms <= LONGEST_WAIT_MS else 0


def load_now(db: apsw.Connection, name: str, now_ms: int) -> TargetState:
    """The state as it is to be obeyed now. A clock that was put back by days may not make days of
    a wait of seconds: then the wait begins anew, and that is stored. Joins a transaction.
    """
    state = load(db, name)
    if state.is_ahead(now_ms):
        state.put_back(now_ms)
        save(db, state)
    return state


_COLUMNS = tuple(TargetState.__struct_fields__)


def load(db: apsw.Connection, name: str) -> TargetState:
    """The state as saved; the target has to exist."""
    row = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM target WHERE name = ?", (name,)).fetchall()
    return msgspec.convert(dict(zip(_COLUMNS, row[0], strict=True)), TargetState)


def save(db: apsw.Connection, state: TargetState) -> None:
    """Store every member."""
    pairs = ", ".join(f"{column} = ?" for column in _COLUMNS)
    values = [getattr(state, column) for column in _COLUMNS]
    db.execute(f"UPDATE target SET {pairs} WHERE name = ?", (*values, state.name))
