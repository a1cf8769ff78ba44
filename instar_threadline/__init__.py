"""A signed log of agent-to-agent messages, views of it, and a bridge to Telegram.

The public names. Importing this package opens nothing and imports neither apsw nor a web library.
"""

from __future__ import annotations

from instar_threadline.messages import (
    Direction,
    Identity,
    Integrity,
    Message,
    NewMessage,
    Position,
    Recorded,
    Thread,
)
from instar_threadline.records import (
    BridgeSink,
    MessageSource,
    Mirror,
    Mirrored,
    Redactor,
    SinkResult,
    SourceBatch,
)

__all__ = [
    "BridgeSink",
    "Direction",
    "Identity",
    "Integrity",
    "Message",
    "MessageSource",
    "Mirror",
    "Mirrored",
    "NewMessage",
    "Position",
    "Recorded",
    "Redactor",
    "SinkResult",
    "SourceBatch",
    "Thread",
]
