"""Stretches that are read at once: they say what the same lines say one by one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instar_host.store.sqlite import open_reader
from instar_threadline.record import check, entries, index, lines, schema
from instar_threadline.record.chain import Entry, read_entry, seal
from instar_threadline.record.index import FILE_NAME, Index
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.signing import sign
from tests.threadline.logs import (
    StillClock,
    keyring,
    open_log,
    original_line,
    rearrange,
    received,
    sent,
)

TABLES = ("messages", "threads", "peers", "unreadable", "findings", "late", "streams")
FILES = ("inbox.jsonl.active", "inbox.chain.active", "inbox.jsonl.000001", "inbox.chain.000001")

Edit = tuple[str, int, int, int]
edit = st.tuples(
    st.sampled_from(("delete", "swap", "copy", "flip", "empty", "cut", "join", "sign", "seal")),
    st.integers(0, len(FILES) - 1),
    st.integers(0, 1 << 20),
    st.integers(0, 1 << 20),
)


def live(state_dir: Path) -> None:
    """A log of both directions: rotated, with another key, a crash and another program's line."""
    log = open_log(state_dir, rotate_bytes=4000)
    log.record([received(f"text {i}", id=f"m-{i % 30}") for i in range(20)])
    log.record([sent(f"text {i}", id=f"m-{i}") for i in range(20)])
    log.close()
    with (state_dir / "threadline" / "inbox.jsonl.active").open("ab") as file:
        file.write(original_line("in") + original_line("in", id="torn")[:80])
    log = open_log(state_dir, StillClock(), token="another token", rotate_bytes=4000)
    log.record([received(f"text {i}", id=f"k-{i}") for i in range(15)])
    log.close()
    die_before_writing(state_dir)


def die_before_writing(state_dir: Path) -> None:
    """Lines that are announced and not written, and then, after a crash, announced once more."""
    folder, again = state_dir / "threadline", [received(f"again {i}", id=f"a-{i}") for i in (1, 2)]
    for last in (False, True):
        left = {name: (folder / name).read_bytes() for name in ("inbox.jsonl.active", "inbox.head")}
        log = open_log(state_dir, token="another token")
        log.record(again)
        log.close()
        if not last:
            for name, data in left.items():
                (folder / name).write_bytes(data)


def changed(data: bytes, how: str, one: int, other: int, keys: Keyring) -> bytes:
    """The file with one thing done to it; `sign` and `seal` are by somebody who has the key."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    i, j = one % len(lines), other % len(lines)
    rearrange(lines, how, i, j)
    if how == "flip":
        at = other % len(lines[i])
        lines[i] = lines[i][:at] + bytes([lines[i][at] ^ 1 << other % 8]) + lines[i][at + 1 :]
    elif how == "empty":
        lines.insert(i, b"\n")
    elif how == "join":
        lines[i] = lines[i][:-1] + b" "
    elif how == "sign":
        lines[i] = sign({"id": "m-1", "from": "evil", "threadId": "t-1"}, keys.current.line)[0]
        lines[i] += b"\n"
    elif how == "seal":
        lines[i:] = resealed(lines[i:], lines[i - 1] if i else b"", other, keys)
    return b"".join(lines)[: other % len(data) if how == "cut" else None]


def resealed(lines: list[bytes], before: bytes, other: int, keys: Keyring) -> list[bytes]:
    """The entries from here on sealed anew, the first of them with something else in it."""
    mac, found = read_entry(before.rstrip(b"\n"), 0).chain or "0" * 64, []
    changes: list[dict[str, Any]] = [
        {"lost": 1}, {"offset": 7}, {"kind": "adopted"}, {"n": 3}, {"digest": "0" * 32},
        {"length": 9}, {"kind": "closed"}, {},
    ]  # fmt: skip
    for i, line in enumerate(lines):
        entry = read_entry(line.rstrip(b"\n"), 0).entry
        if entry is None:
            return lines
        members = {name: getattr(entry, name) for name in entry.__struct_fields__}
        change = changes[other % len(changes)] if i == 0 else {}
        made, mac = seal(Entry(**{**members, **change}), "in", mac, keys.current)
        found.append(made)
    return found


def indexed(state_dir: Path) -> dict[str, list[Any]]:
    """Every row of a fresh index."""
    shutil.rmtree(state_dir / "server-data", ignore_errors=True)
    made = Index(state_dir, keyring(state_dir), lambda: 0)
    made.catch_up()
    made.close()
    connection = open_reader(state_dir / FILE_NAME, application_id=schema.APPLICATION_ID)
    try:
        return {name: schema.rows(connection, f"SELECT * FROM {name}") for name in TABLES}
    finally:
        connection.close()


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("genuine")
    live(folder)
    return folder


@settings(max_examples=150, deadline=None)
@given(
    edits=st.lists(edit, max_size=3),
    look_ahead=st.sampled_from([1, 2, 5, 2000]),
    step=st.sampled_from([1, 700, 1 << 17]),
    block=st.sampled_from([1, 900, 1 << 17]),
)
def test_at_once_or_one_by_one_is_the_same(
    genuine: Path, edits: list[Edit], look_ahead: int, step: int, block: int
) -> None:
    """S9: whatever was done to the files, with the key or without, every row of the index is the
    one that looking at each line and entry by itself gives; and so is every finding."""
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        folder = Path(temporary)
        shutil.copytree(genuine / "threadline", folder / "threadline")
        for how, file, one, other in edits:
            path = folder / "threadline" / FILES[file]
            path.write_bytes(changed(path.read_bytes(), how, one, other, keyring(folder)))
        patch.setattr(check, "LOOK_AHEAD", look_ahead)
        patch.setattr(entries, "READ_BYTES", block)
        patch.setattr(index, "STEP_BYTES", step)
        at_once = indexed(folder)
        patch.setattr(check.ChainCheck, "stretch", lambda *_: None)
        patch.setattr(index, "read_genuine", lambda *_: None)
        assert at_once == indexed(folder)


def test_what_is_ordinary_is_read_at_once(genuine: Path) -> None:
    """Else the law above would say nothing."""
    calls: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        read = lines.read_genuine

        def counted(data: bytes, *others: Any) -> Any:
            found = read(data, *others)
            calls.append(len(found or ()))
            return found

        patch.setattr(index, "read_genuine", counted)
        patch.setattr(index, "STEP_BYTES", 700)
        patch.setattr(check, "LOOK_AHEAD", 5)
        rows = indexed(genuine)["messages"]
    assert sum(calls) > len(rows) / 2
