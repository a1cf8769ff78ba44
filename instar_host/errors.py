"""What goes wrong in a way that a person can act on.

An `InstarError` reads as one sentence: what, where, what to do. The command line prints it as it is
and leaves with `exit_code`; everything else that escapes is a defect of ours or of a plugin.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from instar_host.store.errors import StoreError

MAX_REASON_CHARS = 500


class InstarError(Exception):
    """A sentence for a person. Never carries a stack, never needs one to be understood."""

    exit_code: ClassVar[int] = 1


class UsageError(InstarError):
    """A command that was called in a way it cannot be."""

    exit_code = 2


class ConfigError(InstarError):
    """A setting, or the file it stands in, that cannot be used."""


class ReadOnlyStateDir(ConfigError):  # noqa: N818 - says what is wrong
    """The state directory may not be written to; whoever only reads goes on without."""


class PluginError(InstarError):
    """A plugin that breaks a rule of the contract."""


class LeaseHeld(InstarError):  # noqa: N818 - says what is wrong; "Error" would add nothing
    """Another process holds the lease of this state directory."""

    exit_code = 3

    def __init__(self, message: str, *, pid: int | None = None, address: str | None = None) -> None:
        super().__init__(message)
        self.pid = pid
        """Process id of the holder; None when its entry could not be read."""
        self.address = address
        """Where the holder answers HTTP, e.g. `http://127.0.0.1:4042`; None when it serves nothing.
        """


def refused(said: str, exc: OSError) -> ConfigError:
    """What to raise when `said` ("x cannot be opened") happened below the state directory.

    With the cure where writing is not allowed, and then a `ReadOnlyStateDir`.
    """
    if exc.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ConfigError(f"{said}: {exc.strerror}")
    cure = "make the folder writable, or name another with --state-dir"
    return ReadOnlyStateDir(f"{said}: {exc.strerror}; {cure}")


def reason(exc: BaseException) -> str:
    """One printable line about an exception: its type and words, no path of the stack, bounded."""
    try:
        words = str(exc)
    except Exception:  # noqa: BLE001 - a plugin's exception may fail even to speak
        words = "(its message could not be read)"
    line = one_line(words)
    whole = isinstance(exc, (InstarError, StoreError)) and line  # a sentence already
    text = line if whole else f"{type(exc).__name__}: {line}"
    text = text.rstrip(": ")
    return text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 1] + "…"


def one_line(text: str) -> str:
    """`text` as a terminal and JSON can show it: one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
