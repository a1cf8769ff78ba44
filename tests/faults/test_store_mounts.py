"""The storage layer on real small, full and read-only file systems, and without descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from instar_host.store.diagnosis import classify, inspect
from instar_host.store.errors import ReadOnlyStore
from instar_host.store.sqlite import open_reader
from instar_host.store.tail import open_tail
from tests.faults.mounts import make_read_only, mounted
from tests.faults.test_store_faults import OURS, opened, step, steps_done

pytestmark = pytest.mark.faults


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB; needs root."""
    with mounted(tmp_path / "disk", 3) as disk:
        yield disk


def test_a_really_full_disk_serves_reads_and_goes_on_with_room(small_disk: Path) -> None:
    """D5: the fault is "full", what was acknowledged stays, and space is all that is needed."""
    path = small_disk / "data" / "store.db"
    connection = opened(path)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    number = 0
    trouble = None
    while trouble is None:
        try:
            step(connection, number)
            number += 1
        except apsw.Error as error:
            trouble = classify(error)
    assert trouble == "full"
    reader = open_reader(path, application_id=OURS)
    assert steps_done(reader) == number
    reader.close()
    ballast.unlink()
    step(connection, number)
    connection.close()


def test_a_read_only_disk_is_read_and_said_so(small_disk: Path) -> None:
    """D9: a database on a disk mounted read-only is read; opening it to write says why not."""
    path = small_disk / "store.db"
    connection = opened(path)
    step(connection, 0)
    connection.close()
    make_read_only(small_disk)
    assert inspect(path, application_id=OURS, user_version=1).state == "ours"
    reader = open_reader(path, application_id=OURS)
    assert steps_done(reader) == 1
    reader.close()
    with pytest.raises(ReadOnlyStore, match="cannot be written"):
        opened(path)


def test_a_log_on_a_read_only_disk_says_what_it_lacks(small_disk: Path) -> None:
    """What a kill left in the log cannot be read without a file beside it: no class of SQLite's."""
    connection = opened(small_disk / "live.db")
    step(connection, 0)
    left = small_disk / "left.db"
    for suffix in ("", "-wal"):
        shutil.copy(f"{small_disk / 'live.db'}{suffix}", f"{left}{suffix}")
    connection.close()
    make_read_only(small_disk)
    with pytest.raises(ReadOnlyStore, match="copy the state directory"):
        open_reader(left, application_id=OURS)


def test_without_descriptors_nothing_is_taken_for_damage(tmp_path: Path) -> None:
    """T17: out of descriptors, files and database fail as "cant-open", and open again later."""
    path = tmp_path / "store.db"
    opened(path).close()
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"line\n")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[0]), before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(OSError, match="Too many open files") as no_file:
            open_tail(log, None)
        with pytest.raises(apsw.CantOpenError) as no_database:
            opened(path)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert classify(no_file.value) == classify(no_database.value) == "cant-open"
    opened(path).close()
    open_tail(log, None).close()
