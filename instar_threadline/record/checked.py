"""What the chain says about lines of a log, one by one or about many at once. Values only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

Status = Literal["chained", "unchained", "outside", "altered"]
"""`unchained`: written by somebody else before the chain began, or adopted. `outside`: no entry
announces it although the chain covers the log. `altered`: the entry there announces other bytes."""


class CheckedLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A line and what the chain says about it."""

    offset: int
    data: bytes
    status: Status
    n: int = 0
    key: str | None = None
    """Key id that the line's genuine entry names; None without one."""


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that are all there, in their order, with genuine entries of one key."""

    offset: int
    data: bytes
    """As they stand in the log, with their newlines."""
    lines: list[bytes]
    """The same without them."""
    key: str
    """Key id that all their entries name."""
    numbers: list[int]
    """Of their entries."""

    def one_by_one(self) -> Iterator[CheckedLine]:
        """The same, line by line."""
        offset = self.offset
        for data, n in zip(self.lines, self.numbers, strict=True):
            yield CheckedLine(offset=offset, data=data, status="chained", n=n, key=self.key)
            offset += len(data) + 1
