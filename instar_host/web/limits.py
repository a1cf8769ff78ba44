"""How long and how much: the bounds of one host's HTTP, all in one place."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults are right for a person's own machine; tests need smaller ones."""

    request_timeout_s: float = 30.0
    """From the whole request to the endpoint's answer; then 408."""
    body_deadline_s: float = 10.0
    """For a request's body to arrive; then 408."""
    head_deadline_s: float = 10.0
    """For a request's head to arrive; then the connection is cut."""
    max_streams: int = 128
    """Open streams; one more gets 503."""
    stream_close_s: float = 1.0
    """For a stream to end that was told to; then it is left to itself."""
    max_connections: int = 512
    """Beyond it the connection that has been idle longest makes room."""
