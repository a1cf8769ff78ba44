"""How wide the terminal is.

As `shutil.get_terminal_size` has it, without the compression libraries that come with that module:
every command would pay for them.
"""

from __future__ import annotations

import os
import sys

UNKNOWN = 80
"""Columns where there is no terminal to ask."""


def columns() -> int:
    """Columns of the process's own terminal; the variable COLUMNS wins."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdigit() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or UNKNOWN  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        return UNKNOWN
