"""`config.json` as a file: strict reading, exact changes, no edit lost."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instar_host import ConfigError
from instar_host.config import Config
from instar_host.config_file import parse, read, replace_member, update


@pytest.fixture
def path(state_dir: Path) -> str:
    return str(state_dir / "config.json")


def write(path: str, data: bytes, mode: int = 0o600) -> None:
    Path(path).write_bytes(data)
    Path(path).chmod(mode)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"authToken": "keep me", }', "is not JSON: .* line 1, column"),
        (b'{"authToken": "keep me"', "is not JSON"),
        (b"[]", "has to hold an object"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "nested more than 64 levels"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": "' + b"x" * (4 << 20) + b'"}', "is over 4096 KiB"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_and_left_alone(
    path: str, data: bytes, words: str
) -> None:
    """C-38: saving a setting rewrote an unparsable file and destroyed the token in it."""
    write(path, data)

    with pytest.raises(ConfigError, match=words):
        read(path)
    with pytest.raises(ConfigError, match=words):
        update(path, ["threadline"], lambda _now: {"on": True})

    assert Path(path).read_bytes() == data


@pytest.mark.parametrize(("before", "after"), [(0o600, 0o600), (0o644, 0o600), (0o400, 0o400)])
def test_saving_keeps_or_tightens_the_mode(path: str, before: int, after: int) -> None:
    """C-39: saving reset the file that holds the token to 0644."""
    write(path, b'{"authToken": "t"}', before)

    update(path, ["threadline", "telegramBridge"], lambda _now: {"enabled": True})

    assert stat.S_IMODE(os.stat(path).st_mode) == after


def test_a_failing_write_leaves_the_file_as_it_was(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disk full: the old file, no temporary one, and a sentence."""
    write(path, b'{"authToken": "t"}')

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
        update(path, ["a"], lambda _now: 1)

    assert Path(path).read_bytes() == b'{"authToken": "t"}'
    assert sorted(os.listdir(os.path.dirname(path))) == ["config.json", "config.json.lock"]


def test_a_change_that_raises_writes_nothing(path: str) -> None:
    """Validation may live in the change."""
    with pytest.raises(ZeroDivisionError):
        update(path, ["a"], lambda _now: 1 / 0)

    assert not os.path.exists(path)


def test_true_is_not_one(path: str) -> None:
    """Python takes them for equal; other readers of the file do not."""
    write(path, b'{"a": 1}')

    update(path, ["a"], lambda _now: True)

    assert read(path)["a"] is True


def test_a_change_that_changes_nothing_writes_nothing(path: str) -> None:
    """Others who watch the file are not woken."""
    write(path, b'{"a": {"b": 1}}')
    before = os.stat(path)

    update(path, ["a"], dict)

    assert os.stat(path) == before


def test_a_link_stays_a_link(path: str, tmp_path: Path) -> None:
    """People keep their settings elsewhere and link to them."""
    target = tmp_path / "dotfiles.json"
    write(str(target), b"{}")
    os.symlink(target, path)

    update(path, ["a"], lambda _now: 1)

    assert os.path.islink(path)
    assert json.loads(target.read_bytes()) == {"a": 1}


def test_something_on_the_way_that_is_no_object_is_not_overwritten(path: str) -> None:
    """`threadline: "off"` is somebody's mistake, not ours to repair."""
    write(path, b'{"threadline": "off"}')

    with pytest.raises(ConfigError, match="threadline has to be an object"):
        update(path, ["threadline", "telegramBridge"], lambda _now: {})


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_directory_and_a_pipe_are_no_file(path: str, make: Callable[[str], None]) -> None:
    """Reading them neither hangs nor shows a stack, and the sentence names the file."""
    make(path)
    with pytest.raises(ConfigError, match="is not a regular file"):
        read(path)


def test_a_section_is_changed_in_place(state_dir: Path) -> None:
    """Only the member's own characters change, and it is laid out as the file's depth asks."""
    path = state_dir / "config.json"
    path.write_text('{"z":1,\n  "threadline": {\n    "old":  true\n  }, "a":2}', encoding="utf-8")

    config = Config.load(state_dir, {})
    config = config.update_section("threadline.bridge", lambda now: {**now, "enabled": True})

    assert config.values["threadline"]["bridge"] == {"enabled": True}
    assert path.read_text(encoding="utf-8") == (
        '{"z":1,\n  "threadline": {\n    "old":  true,\n    "bridge": {\n      "enabled": true\n'
        '    }\n  }, "a":2}'
    )


keys = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=4)


@given(objects, st.lists(keys, min_size=1, max_size=3), values, st.sampled_from([None, 0, 3]))
def test_replacing_a_member_changes_that_member_only(
    before: dict[str, Any], member: list[str], value: Any, indent: int | None
) -> None:
    """For any object, member, value and layout: the result is the object with that member set."""
    text = json.dumps(before, indent=indent)

    after = json.loads(replace_member(text, member, value))

    expected = here = json.loads(text)
    for key in member[:-1]:
        if not isinstance(here.get(key), dict):
            here[key] = {}
        here = here[key]
    here[member[-1]] = value
    assert after == expected
    assert list(after) == list(expected)


def test_a_bom_is_read_past() -> None:
    """Editors of another system put it there."""
    assert parse('\ufeff{"a": 1}', "x") == {"a": 1}


def _count(path: str, rounds: int, start: Barrier) -> None:
    start.wait()
    for _ in range(rounds):
        update(path, ["count"], lambda now: (now or 0) + 1)


def test_two_processes_lose_no_edit(path: str) -> None:
    """Reading and writing happen under one lock that all writers take."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    workers = [context.Process(target=_count, args=(path, 100, start)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert read(path) == {"count": 200}
