"""Where transcripts come from: one file an agent, each an implementation of our own hook."""

from __future__ import annotations
