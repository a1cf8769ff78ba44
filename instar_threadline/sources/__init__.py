"""Where threadline reads from besides its own log: state files of the host, and other plugins."""

from __future__ import annotations
