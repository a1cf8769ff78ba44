"""Single lines through the decoder."""

from __future__ import annotations

from instar_host.store.tail import Lines
from instar_tokenledger.sources.claude_lines import decode
from instar_tokenledger.usage import Decoded, UsageRow


def decoded(*lines: bytes, offset: int = 0, terminated: bool = True) -> Decoded:
    """What the decoder makes of these lines."""
    data = b"\n".join(lines) + (b"\n" if terminated else b"")
    return decode(Lines(data=data, offset=offset, terminated=terminated), b"")


def row_of(line: bytes, offset: int = 0) -> UsageRow:
    """The one row of a line that counts."""
    found = decoded(line, offset=offset)
    assert found.skips == {}
    (row,) = found.rows
    return row


def reason_of(line: bytes, offset: int = 0) -> str:
    """Why a line does not count."""
    found = decoded(line, offset=offset)
    assert not found.rows
    ((reason, lines),) = found.skips.items()
    assert lines == 1
    return reason
