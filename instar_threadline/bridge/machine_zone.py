"""The time zone of this machine, as it is at each instant.

Promises the offset that the machine itself would show for an instant, summer and winter, in a
process that lives through the change. A zone taken once from `astimezone()` is the offset of that
moment and nothing more.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


class MachineZone(tzinfo):
    """Local time of the machine."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        return _local(at).utcoffset()

    def dst(self, at: datetime | None) -> timedelta | None:
        return _local(at).dst()

    def tzname(self, at: datetime | None) -> str | None:
        return _local(at).tzname()

    def fromutc(self, at: datetime) -> datetime:
        """Raises OverflowError for an instant that is outside the calendar here."""
        local = at.replace(tzinfo=UTC).astimezone(None)
        first = local.replace(tzinfo=self)
        return first if first.utcoffset() == local.utcoffset() else first.replace(fold=1)


def _local(at: datetime | None) -> datetime:
    """A local time with the offset of that very time."""
    return (at or datetime.now(UTC)).replace(tzinfo=None).astimezone(None)
