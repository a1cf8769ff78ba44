"""What people asked of the process that reads: a scan now, of files of any age, from the beginning.

Promises that a wish counts as fulfilled only after a whole look that began after it and after
everything that look found was read. Any thread may wish; the thread that reads fulfils.
"""

from __future__ import annotations

import threading

import msgspec


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """The wishes so far, by number: the first is 1."""

    asked: int = 0
    fulfilled: int = 0
    all_until: int = 0
    """The latest wish for files of any age."""
    anew_until: int = 0
    """The latest wish to read everything from its beginning."""

    @property
    def open(self) -> bool:
        return self.fulfilled < self.asked

    @property
    def all(self) -> bool:
        """True while files of any age are to be read."""
        return self.fulfilled < self.all_until

    @property
    def anew(self) -> bool:
        """True while marks are still to be forgotten."""
        return self.fulfilled < self.anew_until


class WishBook:
    """The wishes of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Wishes()

    @property
    def now(self) -> Wishes:
        return self._now

    def ask(self, *, all_ages: bool = False, anew: bool = False) -> int:
        """Wish for a scan; its number."""
        with self._lock:
            now = self._now
            number = now.asked + 1
            self._now = Wishes(
                asked=number,
                fulfilled=now.fulfilled,
                all_until=number if all_ages or anew else now.all_until,
                anew_until=number if anew else now.anew_until,
            )
        return number

    def forgotten(self) -> None:
        """Marks were forgotten: reading begins anew."""
        with self._lock:
            self._now = msgspec.structs.replace(self._now, anew_until=0)

    def fulfil(self, number: int) -> None:
        """Everything up to this wish is done."""
        with self._lock:
            fulfilled = max(self._now.fulfilled, number)
            self._now = msgspec.structs.replace(self._now, fulfilled=fulfilled)
