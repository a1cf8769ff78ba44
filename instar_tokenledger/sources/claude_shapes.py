"""The parts of Claude Code's transcript lines that the ledger reads, as shapes for the decoder.

Only shapes: every member is optional. What does not fit (null for a number, 1e3, a number as text)
takes the slow way through `claude_salvage`, so that one odd member does not lose the line. Names
are the file's own.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from instar_tokenledger.usage import MAX_COUNT

# ruff: noqa: N815 - member names are those of the file

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: Count = 0
    ephemeral_1h_input_tokens: Count = 0


class ServerTools(msgspec.Struct, gc=False):
    web_search_requests: Count = 0
    web_fetch_requests: Count = 0


class OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: Count = 0


class IterationUsage(msgspec.Struct, gc=False):
    type: str = ""
    model: str | None = None
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_creation_input_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_creation: CacheCreation | None = None


class Usage(msgspec.Struct, gc=False):
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_creation_input_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_creation: CacheCreation | None = None
    service_tier: str | None = None
    server_tool_use: ServerTools | None = None
    iterations: list[IterationUsage] | None = None
    speed: str | None = None
    output_tokens_details: OutputDetails | None = None


class Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: Usage | None = None
    content: msgspec.Raw = msgspec.Raw()


class Line(msgspec.Struct, gc=False):
    """A line of type assistant, or the message that an `agent_progress` line quotes."""

    type: str = ""
    message: Message | None = None
    requestId: str | None = None
    uuid: str | None = None
    sessionId: str | None = None
    timestamp: str | None = None
    cwd: str | None = None
    agentId: str | None = None
    gitBranch: str | None = None
    version: str | None = None
    isSidechain: bool | None = None


class ProgressData(msgspec.Struct, gc=False):
    type: str = ""
    message: Line | None = None
    agentId: str | None = None


class ProgressLine(msgspec.Struct, gc=False):
    type: str = ""
    data: ProgressData | None = None
    sessionId: str | None = None
    timestamp: str | None = None
    cwd: str | None = None
    gitBranch: str | None = None
    version: str | None = None


class ModelCost(msgspec.Struct, gc=False):
    inputTokens: Count = 0
    outputTokens: Count = 0
    cacheReadInputTokens: Count = 0
    cacheCreationInputTokens: Count = 0
    thinkingTokens: Count = 0
    webSearchRequests: Count = 0
    costUSD: float = 0


class CostLine(msgspec.Struct, gc=False):
    type: str = ""
    sessionId: str | None = None
    modelUsage: dict[str, ModelCost] | None = None
