"""`python -m instar_host`: the same as `instar`."""

from __future__ import annotations

import sys

from instar_host.cli import main

if __name__ == "__main__":
    sys.exit(main())
