"""Entries that wait in vain: what is said of them depends on who gave them up."""

from __future__ import annotations

from pathlib import Path

import pytest

from instar_threadline.record.verify import verify
from tests.threadline.logs import Seen, keyring, open_log, received


@pytest.mark.parametrize(("was", "becomes"), [
    (b'"offset":', b'"offset":9'), (b'"unwritten":3', b'"unwritten":1'), (b"resumed", b"resumee"),
    (b'"chain":"', b'"chain":"f'), (b'"chain":', b'"chair":'),
])  # fmt: skip
def test_a_bad_entry_is_named_before_the_lines_it_gave_up(
    tmp_path: Path, was: bytes, becomes: bytes
) -> None:
    """S1: lines that were announced and never written are missing if no genuine entry says why;
    the bad one that said so comes first."""
    log, folder = open_log(tmp_path), tmp_path / "threadline"
    log.record([received("there")])
    left = {name: (folder / name).read_bytes() for name in ("inbox.jsonl.active", "inbox.head")}
    log.record([received("never written")] * 3)
    log.close()
    for name, data in left.items():
        (folder / name).write_bytes(data)
    open_log(tmp_path).record([received("after the crash")])
    assert verify(tmp_path, keyring(tmp_path)).ok
    chain = folder / "inbox.chain.active"
    entries = chain.read_bytes().splitlines(keepends=True)
    entries[5] = entries[5].replace(was, becomes)
    chain.write_bytes(b"".join(entries))
    inbox = verify(tmp_path, keyring(tmp_path)).streams[0]
    assert inbox.first_bad is not None
    assert (inbox.first_bad.kind, inbox.first_bad.n) == ("entry-altered", 6)
    assert inbox.completeness == "short"
    seen = Seen(tmp_path)
    assert seen.views.integrity().streams[0].first_bad == inbox.first_bad
    seen.close()
