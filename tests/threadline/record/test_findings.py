"""Very many findings: bounded, and nothing of what they say together is lost."""

from __future__ import annotations

from pathlib import Path

from instar_threadline.record.findings import MAX_FINDINGS
from instar_threadline.record.verify import verify
from tests.threadline.logs import Seen, keyring, open_log, received


def test_a_loss_behind_a_thousand_findings_is_a_loss(tmp_path: Path) -> None:
    """S1: whoever spoils many lines cannot hide with them that others are gone."""
    log = open_log(tmp_path)
    for part in range(2):
        log.record([received(f"m{part}-{i}", id=f"{part}-{i}") for i in range(MAX_FINDINGS)])
    path = tmp_path / "threadline/inbox.jsonl.active"
    lines = path.read_bytes().splitlines(keepends=True)
    spoiled = [line.replace(b'"m', b'"M') for line in lines[: MAX_FINDINGS + 200]]
    path.write_bytes(b"".join([*spoiled, *lines[1300:1400], *lines[1450:1500], *lines[1530:]]))

    stream = verify(tmp_path, keyring(tmp_path)).streams[0]
    seen = Seen(tmp_path)

    assert (stream.integrity, stream.completeness) == ("broken", "short")
    assert (stream.bad, stream.missing) == (MAX_FINDINGS + 200, 100 + 50 + 30)
    assert len(stream.findings) == MAX_FINDINGS + 1
    assert seen.views.integrity().streams[0] == stream
    seen.close()
