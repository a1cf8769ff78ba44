"""The Telegram bridge: from the signed log, by policy, redaction and a durable outbox, to a
sink.

Promises that a message the policy admits is delivered at least once, in order within its
thread, with every possible repeat marked; that nothing leaves unredacted; and that topics are
never opened beyond a budget. Never polls Telegram, never reads the network for commands, never
sends while the bridge is switched off.
"""

from __future__ import annotations
