"""The settings of threadline: the section `threadline.record` of `config.json`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from instar_host.settings import Settings

SECTION = "threadline.record"

MIB = 1 << 20


class RecordSettings(Settings, frozen=True, kw_only=True):
    """How the signed log and its index are kept."""

    agent_name: Annotated[
        str,
        Meta(
            description="this agent's identifier in outbound messages; empty means `projectName`,"
            " else `agent`"
        ),
    ] = ""
    max_file_bytes: Annotated[
        int,
        Meta(ge=MIB, le=1024 * MIB, description="a log file is rotated past this size",
             extra={"unit": "bytes"}),
    ] = 128 * MIB  # fmt: skip
    index_interval_ms: Annotated[
        int,
        Meta(ge=100, le=3_600_000, description="how often the log is looked at for new lines",
             extra={"unit": "ms"}),
    ] = 1000  # fmt: skip
    source_interval_ms: Annotated[
        int,
        Meta(ge=100, le=86_400_000, description="how often message sources are asked",
             extra={"unit": "ms"}),
    ] = 5000  # fmt: skip
    hermes_home: Annotated[
        str,
        Meta(
            description="Hermes Agent's home, whose agent-to-agent conversations are read; empty:"
            " inside Hermes its own, elsewhere none"
        ),
    ] = ""
    spool_messages: Annotated[
        int,
        Meta(ge=0, le=100_000, description="messages kept in memory while the log is unwritable"),
    ] = 1000  # fmt: skip
