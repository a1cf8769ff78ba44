"""The ledger on disks that forget, fail and fill: rows and marks always tell the same story."""

from __future__ import annotations

import os
import random
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import pytest

from benchmarks.corpus import START_MS, Corpus, build
from instar_host.errors import InstarError
from instar_host.store import ballast
from instar_host.store.errors import ReadOnlyStore, StoreError
from instar_host.testing import MakeHost
from instar_tokenledger.ingest import Budget
from tests.faults.ledgers import (
    answers_in,
    assert_rows_are_what_marks_imply,
    opened,
    scan,
    total_of,
)
from tests.faults.mounts import make_read_only, mounted
from tests.faults.vfs import FaultyVFS, Operation, RecordingVFS
from tests.tokenledger.disk_faults import NOBODY, without_privileges
from tests.tokenledger.homes import EVER, SESSION, LedgerHome, said, true_answers
from tests.tokenledger.test_age_window import CONTROL, a_tick, settings

STEPS = 12
Fault = tuple[Operation, type[apsw.Error]]
FAULTS: list[Fault] = [
    ("write", apsw.FullError), ("write", apsw.IOError), ("sync", apsw.IOError),
    ("truncate", apsw.IOError), ("read", apsw.IOError),
]  # fmt: skip


@pytest.fixture
def tree(quick_path: Path) -> Corpus:
    """A small tree whose every line is whole, so that marks say exactly what was read."""
    return build(quick_path / "claude", seed=60, sessions=26, scale="small", damaged=False)


def few_bytes(tree: Corpus) -> Budget:
    """So little a step that the whole takes a dozen."""
    return Budget(bytes=total_of(tree.root) // STEPS)


def assert_finishes(database: Path, tree: Corpus) -> None:
    """The next scan on a healthy disk ends in the truth."""
    ledger = opened(database)
    assert_rows_are_what_marks_imply(ledger.connection)
    assert scan(ledger, tree.root, Budget)
    assert answers_in(ledger.connection)[0] == true_answers(tree.truth(), EVER)
    ledger.close()


def power_cuts(quick_path: Path, tree: Corpus, count: int) -> None:
    """Cut the power at random moments of a whole scan and look at what each has left."""
    state = quick_path / "state"
    state.mkdir()
    opened(state / "ledger.db").close()
    vfs = RecordingVFS("ledger-power", state)
    ledger = opened(state / "ledger.db", vfs.vfs_name)
    assert scan(ledger, tree.root, lambda: few_bytes(tree))
    ledger.close()
    chance = random.Random(60)
    seen = set()
    moments = [chance.randrange(len(vfs.events)) for _ in range(count - 1)]
    for number, moment in enumerate([*moments, len(vfs.events)]):
        folder = quick_path / f"image-{number}"
        folder.mkdir()
        for name, content in vfs.crash_image(moment, chance).items():
            (folder / name).write_bytes(content)
        (folder / "ledger.db-shm").unlink(missing_ok=True)  # memory, gone with the power
        ledger = opened(folder / "ledger.db")
        marks = assert_rows_are_what_marks_imply(ledger.connection)
        seen.add(sum(marks.values()))
        ledger.close()
        if number % 10 == 0:
            assert_finishes(folder / "ledger.db", tree)
        shutil.rmtree(folder)
    vfs.unregister()
    assert len(seen) > 1


def test_power_cuts(quick_path: Path, tree: Corpus) -> None:
    """D3: after a power cut at any moment the ledger is whole, and its rows are its marks'."""
    power_cuts(quick_path, tree, 15)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_many_power_cuts(quick_path: Path, tree: Corpus) -> None:
    """D3: the same for a thousand moments."""
    power_cuts(quick_path, tree, 1_000)


def failing_disk(quick_path: Path, tree: Corpus, fault: Fault, every: int) -> int:
    """Fail every `every`-th operation of a kind, once a run; returns how often it did fail."""
    vfs = FaultyVFS("ledger-faulty")
    operation, error = fault
    failed = 0
    for nth in range(1, 10_000, every):
        database = quick_path / f"{operation}-{error.__name__}-{nth}" / "ledger.db"
        opened(database).close()
        vfs.heal()
        ledger = opened(database, vfs.vfs_name)
        vfs.fail(operation, nth, error)
        try:
            done = scan(ledger, tree.root, lambda: few_bytes(tree))
        except (apsw.Error, StoreError):
            done = False
        vfs.heal()
        ledger.close()
        assert_finishes(database, tree)
        shutil.rmtree(database.parent)
        if done:
            break
        failed += 1
    vfs.unregister()
    return failed


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[0]}-{fault[1].__name__}")
def test_a_disk_that_fails(quick_path: Path, tree: Corpus, fault: Fault) -> None:
    """D4: whichever operation fails, nothing is half written, and the next scan has the truth."""
    failing_disk(quick_path, tree, fault, 61)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[0]}-{fault[1].__name__}")
def test_a_disk_that_fails_anywhere(quick_path: Path, tree: Corpus, fault: Fault) -> None:
    """D4: the same for every operation of a kind that is rare, and every seventh write."""
    failed = failing_disk(quick_path, tree, fault, 7 if fault[0] == "write" else 1)
    assert failed >= {"write": 20, "sync": 1}.get(fault[0], 0)


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state directory that every user may look into."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "state"
        path.mkdir(mode=0o755)
        yield path


@pytest.fixture
def home(tmp_path: Path, state_dir: Path, make_host: MakeHost) -> Iterator[LedgerHome]:
    """A home on that disk."""
    made = LedgerHome(state_dir.parent, state_dir, make_host)
    yield made
    made.close()


def test_a_full_disk_is_reported_and_waited_out(home: LedgerHome) -> None:
    """D5: while nothing can be written a step fails and says so, reading goes on, none is lost."""
    home.write(SESSION, said("m0", "r0"))
    home.scan()
    home.write("projects/a/many.jsonl", *(said(f"m{i}", f"r{i}") for i in range(3_000)))
    with file_size_limit(os.path.getsize(home.database + "-wal") + 50_000):
        with pytest.raises((apsw.Error, OSError)):
            home.scan()
        assert home.service.health.trouble
        assert home.summary()["eventCount"] == 1
    home.scan()
    home.assert_true()


@pytest.fixture
def small_disk(home: LedgerHome) -> Iterator[Path]:
    """The ledger's folder as a file system of 24 MiB; needs root."""
    with mounted(Path(home.database).parent, 24) as disk:
        yield disk
        home.service.close()


def fill(disk: Path) -> None:
    """Leave no room at all."""
    with suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


@pytest.mark.faults
def test_on_a_full_disk_old_detail_can_be_let_go_of(home: LedgerHome, small_disk: Path) -> None:
    """D5: the ballast makes the room in which a person who asks for it gets rid of old detail;
    then reading goes on, and no total changes."""
    year_later_ms = START_MS + 365 * 86_400_000
    home.write("projects/a/old.jsonl", *(said(f"m{i}", f"r{i}") for i in range(4_000)))
    home.write(SESSION, said("new", "new", ts=year_later_ms))
    tick = a_tick(home)
    tick.run(CONTROL)
    before = home.summary()
    ballast_at = Path(home.database + ballast.SUFFIX)
    assert ballast_at.exists()
    fill(small_disk)
    more = [said(f"n{i}", f"s{i}", ts=year_later_ms + i) for i in range(3_000)]
    home.write("projects/a/more.jsonl", *more)
    with pytest.raises(InstarError, match="full"):
        tick.run(CONTROL)
    assert ballast_at.exists()  # nobody asked for it: all detail is kept
    settings(home, detailDays=30)
    with pytest.raises(InstarError, match="full"):
        tick.run(CONTROL)
    assert not ballast_at.exists()
    assert home.summary() == before
    for _ in range(3):
        tick.run(CONTROL)
    assert home.summary()["eventCount"] == before["eventCount"] + len(more)


@pytest.mark.faults
def test_a_disk_mounted_read_only(home: LedgerHome) -> None:
    """D9: on a read-only disk the ledger answers, and a step says why it cannot write."""
    with mounted(Path(home.database).parent, 8) as disk:
        home.write(SESSION, said("m0", "r0"))
        home.scan()
        home.service.close()
        make_read_only(disk)
        with pytest.raises(ReadOnlyStore):
            home.scan()
        assert "cannot be written" in (home.service.health.trouble or "")
        assert home.summary()["eventCount"] == 1
        home.service.close()


def test_a_state_directory_of_somebody_else(home: LedgerHome) -> None:
    """D9: where this user may not write, a step and a question say so, and nothing is damaged."""
    home.write(SESSION, said("m0", "r0"))
    home.scan()
    home.service.close()
    folder = os.path.dirname(home.database)
    if os.geteuid() == 0:
        for path in (folder, home.database):
            os.chown(path, NOBODY, NOBODY)
    os.chmod(home.database, 0o400)
    os.chmod(folder, 0o500)
    with without_privileges():
        with pytest.raises((apsw.Error, OSError, StoreError)):
            home.scan()
        assert home.service.health.trouble
        with pytest.raises(apsw.ReadOnlyError):  # without a log nobody can tell who writes
            home.summary()
    os.chmod(folder, 0o700)
    os.chmod(home.database, 0o600)
    home.scan()
    home.assert_true()
