"""S3: the log after every power cut that its writes, syncs and renames allow."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from instar_threadline.record.verify import Verdict, verify
from tests.threadline.logs import keyring, open_log, original_line, received, write_original
from tests.threadline.record.powercut import Image, Recorder

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
ROTATE_BYTES = 1500
ACTIVE = "inbox.jsonl.active"

Life = Callable[[Path, Callable[[list[str]], None]], None]
"""Writes a log in a state directory, and says which ids are acknowledged, each time."""


def a_life_of_its_own(state_dir: Path, acknowledged: Callable[[list[str]], None]) -> None:
    """Single appends and batches, restarts, rotations, a changed token."""
    number = 0
    for token, batches in (("test-auth-token", (1, 3, 1)), ("test-auth-token", (2, 1, 1, 2)),
                           ("another token", (1, 2))):  # fmt: skip
        log = open_log(state_dir, token=token, rotate_bytes=ROTATE_BYTES)
        for count in batches:
            ids = [f"m-{number + i}" for i in range(count)]
            log.record([received(f"text of {one}", id=one) for one in ids])
            acknowledged(ids)
            number += count
        log.close()


def a_life_after_the_original(state_dir: Path, acknowledged: Callable[[list[str]], None]) -> None:
    """A log taken over from the original program, which died within a line."""
    log = open_log(state_dir)
    for one in ("m-0", "m-1"):
        log.record([received("ours", id=one)])
        acknowledged([one])
    log.close()


class Cut:
    """A life that was recorded, and what was acknowledged when."""

    def __init__(self, life: Life, before: list[bytes]) -> None:
        self.unchained = bool(before)
        self.acknowledged: list[tuple[int, list[str]]] = []
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as p:
            state_dir = Path(folder)
            keyring(state_dir, "another token")
            keyring(state_dir)
            if before:
                write_original(state_dir, before)
            recorder = Recorder(state_dir)
            recorder.install(p)
            life(state_dir, lambda ids: self.acknowledged.append((recorder.moment, ids)))
        self.recorder = recorder

    def acknowledged_by(self, moment: int) -> list[str]:
        return [one for at, ids in self.acknowledged if at <= moment for one in ids]


def ids_in(state_dir: Path) -> list[str]:
    folder = state_dir / "threadline"
    files = [*sorted(folder.glob("inbox.jsonl.0*")), folder / ACTIVE]
    lines = [line for file in files if file.exists() for line in file.read_bytes().splitlines()]
    return [json.loads(line)["id"] for line in lines]


def put_back(image: Image, state_dir: Path) -> None:
    for name, data in image.items():
        path = state_dir / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(data)
        path.chmod(0o600)


def check(cut: Cut, image: Image, moment: int) -> None:
    """The power is back: what was acknowledged is there, and the log goes on, whole."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        state_dir = Path(folder)
        put_back(image, state_dir)
        raw = verify(state_dir, keyring(state_dir))
        assert raw.integrity == "ok"
        assert raw.completeness != "short"
        tail = image.get(f"threadline/{ACTIVE}", b"").rpartition(b"\n")[2]
        for _ in range(2):
            log = open_log(state_dir, rotate_bytes=ROTATE_BYTES)
            assert log.record([received("after", id="after")])[0].status in (
                "recorded",
                "duplicate",
            )
            log.close()
        found = ids_in(state_dir)
        assert [one for one in found if one in set(cut.acknowledged_by(moment))] == (
            cut.acknowledged_by(moment)
        )
        assert len(found) == len(set(found))
        after = verify(state_dir, keyring(state_dir))
        torn_head = ["head-altered"] if "head-altered" in kinds(raw) else []
        assert after.integrity == "ok"
        assert kinds(after) == torn_head  # stays known: as much as one append might be gone
        unknown = cut.unchained or bool(torn_head)
        assert after.completeness == ("unknown" if unknown else "complete")
        assert kept(state_dir, tail)


def kinds(verdict: Verdict) -> list[str]:
    return [finding.kind for stream in verdict.streams for finding in stream.findings]


def kept(state_dir: Path, tail: bytes) -> bool:
    """An unfinished line is in the log, whole now, or aside, and the chain says where."""
    folder = state_dir / "threadline"
    logs = b"".join(path.read_bytes() for path in folder.glob("inbox.jsonl.*"))
    if tail + b"\n" in logs:
        return True
    notes = b"".join(path.read_bytes() for path in folder.glob("inbox.chain.*"))
    aside = list((folder / "torn").iterdir())
    return any(one.read_bytes() == tail and one.name.encode() in notes for one in aside)


LIVES = {
    "its own": (a_life_of_its_own, []),
    "after the original": (
        a_life_after_the_original,
        [original_line("in", id="was-0"), original_line("in", id="was-1")[:60]],
    ),
}


@pytest.fixture(scope="module", params=LIVES)
def cut(request: pytest.FixtureRequest) -> Cut:
    life, before = LIVES[request.param]
    return Cut(life, before)


def test_a_power_cut_loses_nothing_acknowledged(cut: Cut) -> None:
    """S3: a few hundred of all images: opened, repaired once, recorded, whole; no false alarm."""
    images = list(cut.recorder.images(stride=29))
    for image, moment in random.Random(3).sample(images, min(len(images), 250)):
        check(cut, image, moment)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_no_power_cut_loses_anything_acknowledged(cut: Cut) -> None:
    """S3 in full: every write torn at every third byte and at both ends, every order between log,
    chain and head: some 18,000 images. A stride of 1 makes 53,000."""
    for image, moment in cut.recorder.images(stride=3):
        check(cut, image, moment)
