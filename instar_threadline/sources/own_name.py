"""Whether a file of the program that we live in may be opened inside it.

A program keeps POSIX locks on its databases, and closing any descriptor of a file drops all that
the process holds on it. Its databases are never opened here; a second name of one, put where we
look for text, must not be either.
"""

from __future__ import annotations

import os

from instar_host.store.errors import AnyPath, UnsafeFile, shown


def require_one_name(path: AnyPath, found: os.stat_result) -> None:
    """Raises UnsafeFile for a file that has another name somewhere; look before it is opened."""
    if found.st_nlink > 1:
        raise UnsafeFile(
            "not-regular", f"{shown(path)} is a file with {found.st_nlink} names; it is not read."
        )
