"""Transcripts on disks that are far away: reads fail, what a stat says is old, inodes change."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from instar_tokenledger.ingest import Budget
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said

FOLDER = "projects/-home-dev-app"
EXACT = ("st_mtime_ns", "st_ctime_ns", "st_atime_ns")


class FarDisk:
    """The system's file calls, for transcripts only: failing reads, late sizes, fleeting inodes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing = ""
        """Part of a path whose reads fail."""
        self.error = errno.EIO
        self.reads_left = 0
        """How many of them still succeed."""
        self.late_bytes = 0
        """So much less than its size does a file show."""
        self.chance: random.Random | None = None
        """Where inodes come from; None: from the disk."""
        self._pread, self._lstat, self._fstat = os.pread, os.lstat, os.fstat
        monkeypatch.setattr(os, "pread", self.pread)
        monkeypatch.setattr(os, "lstat", lambda path, **more: self.seen(self._lstat(path, **more)))
        monkeypatch.setattr(os, "fstat", lambda descriptor: self.seen(self._fstat(descriptor)))

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self.failing and self.failing in path:
            self.reads_left -= 1
            if self.reads_left < 0:
                raise OSError(self.error, os.strerror(self.error))
        return self._pread(descriptor, length, offset)

    def seen(self, found: os.stat_result) -> os.stat_result:
        """What a stat of a regular file says."""
        if not self.late_bytes and self.chance is None:
            return found
        fields: list[Any] = list(found)
        fields[6] = max(0, found.st_size - self.late_bytes)
        if self.chance is not None:
            fields[1] = self.chance.randrange(1 << 40)
        exact = {
            name: getattr(found, name) for name in ("st_mtime_ns", "st_ctime_ns", "st_atime_ns")
        }
        return os.stat_result(fields, exact)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FarDisk:
    """A disk that works until a test says otherwise."""
    return FarDisk(monkeypatch)


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("reads", [0, 1])
def test_a_read_that_fails_is_counted_and_tried_again(
    home: LedgerHome, disk: FarDisk, error: int, reads: int
) -> None:
    """T15: at the first read or a later one: named, others are read, the next look has it all."""
    home.write(f"{FOLDER}/bad.jsonl", *(said(f"b{i}", f"b{i}") for i in range(900)))
    home.write(f"{FOLDER}/good.jsonl", said("good", "good"))
    disk.failing, disk.error, disk.reads_left = "bad.jsonl", error, reads
    progress = home.scan()
    assert dict(progress.errors) == {os.strerror(error): 1}
    assert home.service.health.trouble is None
    assert "good" in {row["messageId"] for row in home.requests()}
    disk.failing = ""
    assert home.scan().errors == {}
    home.assert_true()


def test_a_size_that_is_late_is_read_when_it_comes(home: LedgerHome, disk: FarDisk) -> None:
    """T19: while the stat says less than there is, nothing is lost, cut or counted twice."""
    home.write(SESSION, said("m0", "r0"), said("m1", "r1"))
    for number in range(2, 12):
        disk.late_bytes = (97 * number) % 700
        home.append(SESSION, said(f"m{number}", f"r{number}"))
        home.scan()
        assert home.summary()["eventCount"] <= number + 1
    disk.late_bytes = 0
    clock_of(home).advance(3_600)
    home.scan()
    home.assert_true()


def test_inodes_that_change_by_themselves(home: LedgerHome, disk: FarDisk) -> None:
    """T19: a file with another inode at every look is read again and counts once."""
    disk.chance = random.Random(19)
    for number in range(6):
        write: Callable[..., Any] = home.append if number else home.write
        write(SESSION, said(f"m{number}", f"r{number}"))
        write(f"{FOLDER}/other.jsonl", said(f"o{number}", f"o{number}", session="other"))
        home.scan(Budget(bytes=500))
        home.scan()
    home.assert_true()
    disk.chance = None
    home.scan()
    home.assert_true()
