"""What goes wrong in this package in a way that a person can act on."""

# The names say what is wrong; "Error" on each would say nothing more.
# ruff: noqa: N818

from __future__ import annotations

from instar_host.errors import InstarError


class ThreadlineError(InstarError):
    """A sentence for a person: what, where, what to do."""


class KeyringError(ThreadlineError):
    """The signing keys cannot be used as they lie there; nothing is signed until that is mended."""


class LogBusy(ThreadlineError):
    """Another process has held the lock of the log for too long."""


class LogUnavailable(ThreadlineError):
    """The log could not be written; what was asked for is not in it, or not surely."""


class InvalidMessage(ThreadlineError):
    """A message that cannot be recorded as it is."""


class SettingsConflict(ThreadlineError):
    """Somebody else changed the settings since they were read."""


class InvalidSettings(ThreadlineError):
    """A change of settings that says something impossible; nothing of it was applied."""


class IndexUnavailable(ThreadlineError):
    """There is no index to answer from yet; it is being built, or the process that builds is
    gone."""


class BadCursor(ThreadlineError):
    """A cursor that was not given out here."""
