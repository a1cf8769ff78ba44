"""Entries that announce something and still wait for it, in the order of the chain. Pure.

Promises to say at once whether some entry waits for a line of given bytes, however many wait.
It does not judge: what it means that an entry waits in vain is the check's to say.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence

import msgspec

from instar_threadline.record.chain import Entry
from instar_threadline.record.chaintail import log_end_after


class Pulled(msgspec.Struct, frozen=True, gc=False):
    """An entry that was taken from the chain file, and what stood before it."""

    entry: Entry
    genuine: bool | None
    """None: its key is not known."""
    at: int
    """Offset of the entry in its chain file."""
    end: int
    """Offset after its newline."""
    before_n: int
    before_mac: str
    mac: str
    """The MAC it claims."""
    reach: int
    """Offset in the log up to which the genuine entries before it go."""

    @property
    def announces(self) -> bool:
        """Whether it says that bytes of the log are there."""
        return self.entry.kind in ("line", "adopted")


class Awaited:
    """A queue that knows the digests in it."""

    def __init__(self) -> None:
        self._queue: deque[Pulled] = deque()
        self._digests: Counter[str] | None = None  # counted when somebody asks, kept from then on

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Pulled]:
        return iter(self._queue)

    def __contains__(self, digest: str) -> bool:
        if self._digests is None:
            self._digests = Counter(pulled.entry.digest for pulled in self._queue)
        return self._digests[digest] > 0

    def first(self, after: int = 0) -> Pulled | None:
        """The first one, or the one that many places after it; None where there is none."""
        return self._queue[after] if len(self._queue) > after else None

    def announced(self) -> list[Pulled]:
        """Those that wait for bytes of the log."""
        return [pulled for pulled in self._queue if pulled.announces]

    def add(self, pulled: Pulled) -> None:
        """Put it at the end."""
        self._queue.append(pulled)
        if self._digests is not None:
            self._digests[pulled.entry.digest] += 1

    def take(self) -> Pulled:
        """Remove the first one. Raises IndexError if nothing waits."""
        pulled = self._queue.popleft()
        if self._digests is not None:
            self._digests[pulled.entry.digest] -= 1
            if not self._digests[pulled.entry.digest]:
                del self._digests[pulled.entry.digest]
        return pulled

    def extend(self, added: Sequence[Pulled]) -> None:
        """Put these at the end."""
        self._queue.extend(added)
        if self._digests is not None:
            self._digests.update(pulled.entry.digest for pulled in added)

    def drop(self, count: int) -> None:
        """Remove the first `count`. Raises IndexError if there are fewer."""
        for _ in range(count):
            self._queue.popleft()
        self._digests = None

    def give_up(self, offset: int) -> list[Entry]:
        """Remove, and return, the entries that announce bytes after an offset of the log."""
        waiting = list(self._queue)
        self.clear()
        given_up = []
        for pulled in waiting:
            if pulled.announces and log_end_after(pulled.entry) > offset:
                given_up.append(pulled.entry)
            else:
                self.add(pulled)
        return given_up

    def clear(self) -> None:
        """Nothing waits any more."""
        self._queue.clear()
        self._digests = None
