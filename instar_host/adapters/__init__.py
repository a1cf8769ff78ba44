"""One host a file, each imported only by the host that it is for."""

from __future__ import annotations
