"""The signed log of messages, and everything that is read from it."""

from __future__ import annotations
