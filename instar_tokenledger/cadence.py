"""How soon to look again: busy while something changes, rarer the longer it stays quiet.

Pure; knows seconds and no clock. A tick that failed is not asked: the host backs it off by itself.
"""

from __future__ import annotations

import msgspec

CATCHING_UP_S = 0.01
"""Between two ticks while files wait."""
BUSY_S = 1.0
"""After a change."""
QUIET_SHARE = 10
"""Quiet for this many seconds, wait another one: 5 s after 50 s, a minute after ten."""
LONG_QUIET_S = 60 * 60.0
LONG_IDLE_FACTOR = 5
"""After an hour without a change, looks are this much rarer still: five minutes."""
LISTENING_S = 2.0
"""While somebody watches the page."""
LOOK_SHARE = 20
"""A look takes at most this share of the time: one that takes a second comes every 20 s."""
READ_SHARE = 4
"""While files wait, reading gets this many times what looking took."""


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand at the end of a tick."""

    waiting: bool
    """Files are left to read, or a look is under way."""
    quiet_s: float
    """Since something changed last."""
    look_s: float
    """What the last whole look took."""
    idle_s: float
    """The setting: time between two looks when nothing changes."""
    listening: bool = False
    watching: bool = False
    """A watch brings changes at once; looks only make sure."""


def delay_s(pulse: Pulse) -> float:
    """Seconds until the next tick."""
    if pulse.waiting:
        return CATCHING_UP_S
    slowest_s = pulse.idle_s * (LONG_IDLE_FACTOR if pulse.quiet_s >= LONG_QUIET_S else 1)
    if pulse.watching:
        return slowest_s
    wish_s = min(slowest_s, max(BUSY_S, pulse.quiet_s / QUIET_SHARE))
    if pulse.listening:
        wish_s = min(wish_s, LISTENING_S)
    return wish_s


def whole_look_is_due(pulse: Pulse, since_look_s: float | None) -> bool:
    """Whether to look at every file, or only at those that changed lately.

    `since_look_s` is the time since the last whole look ended; None: there was none yet.
    """
    if since_look_s is None:
        return True
    if pulse.watching:
        return since_look_s >= max(pulse.idle_s, LOOK_SHARE * pulse.look_s)
    return pulse.waiting or since_look_s >= LOOK_SHARE * pulse.look_s
