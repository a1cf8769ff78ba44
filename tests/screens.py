"""A stream that a person looks at."""

from __future__ import annotations

import io


class Screen(io.StringIO):
    """Text that goes to a terminal."""

    def isatty(self) -> bool:
        return True
