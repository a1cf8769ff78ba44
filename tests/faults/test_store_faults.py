"""The storage layer under power cuts, failing disks, full disks and kills."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import apsw
import pytest

from instar_host.store import policy
from instar_host.store.backups import daily_backup, newest_good_backup, restore
from instar_host.store.diagnosis import classify, damage, inspect
from instar_host.store.quarantine import quarantine
from instar_host.store.sqlite import Migration, open_reader, open_writer, write_transaction
from tests.faults.children import Child, Report
from tests.faults.vfs import FaultyVFS, Operation, RecordingVFS

OURS = 0x1257A001
ROWS_A_STEP = 5
NOW_MS = 1_767_571_200_000
SCHEMA = Migration(
    title="ledger",
    script="CREATE TABLE rows(n INTEGER PRIMARY KEY, word TEXT) STRICT;"
    "CREATE INDEX by_word ON rows(word);"
    "CREATE TABLE marks(file INTEGER PRIMARY KEY, offset INTEGER) STRICT;"
    "INSERT INTO marks VALUES(1, 0);",
)


def opened(
    path: Path, synchronous: policy.Synchronous = "NORMAL", vfs: str | None = None
) -> apsw.Connection:
    return open_writer(
        path, application_id=OURS, migrations=[SCHEMA], synchronous=synchronous, vfs=vfs
    )


def step(connection: apsw.Connection, number: int) -> None:
    """Do what an ingest tick does: rows, and the mark that says so, in one transaction."""
    with write_transaction(connection):
        first = number * ROWS_A_STEP
        connection.executemany(
            "INSERT INTO rows VALUES(?, ?)",
            ((n, f"word {n * 7919 % 10_007}" * 20) for n in range(first, first + ROWS_A_STEP)),
        )
        connection.execute("UPDATE marks SET offset = ? WHERE file = 1", (number + 1,))


def steps_done(connection: apsw.Connection) -> int:
    """Return how far the mark stands, having checked that rows and mark tell the same story."""
    assert damage(connection, full=True) == ""
    rows, top = connection.execute("SELECT count(*), coalesce(max(n), -1) FROM rows").fetchall()[0]
    mark = connection.execute("SELECT offset FROM marks").get
    assert isinstance(mark, int)
    assert (rows, top) == (mark * ROWS_A_STEP, mark * ROWS_A_STEP - 1)
    return mark


@pytest.fixture
def faulty() -> Iterator[FaultyVFS]:
    vfs = FaultyVFS("faulty")
    yield vfs
    vfs.unregister()


def record(
    directory: Path, synchronous: policy.Synchronous, steps: int
) -> tuple[RecordingVFS, list[int]]:
    """Run `steps` transactions; return what reached the disk, and when each was acknowledged."""
    path = directory / "store.db"
    opened(path).close()
    vfs = RecordingVFS("recording", directory)
    try:
        connection = opened(path, synchronous, vfs.vfs_name)
        connection.wal_autocheckpoint(20)
        acknowledged = []
        for number in range(steps):
            step(connection, number)
            acknowledged.append(len(vfs.events))
        connection.close()
    finally:
        vfs.unregister()
    return vfs, acknowledged


def check_power_cuts(directory: Path, synchronous: policy.Synchronous, images: int) -> int:
    """Cut the power `images` times; return the most acknowledged steps that one cut undid."""
    (directory / "live").mkdir()
    vfs, acknowledged = record(directory / "live", synchronous, steps=60)
    chance = random.Random(20_260_105)
    worst = 0
    for number in range(images):
        moment = chance.randrange(len(vfs.events) + 1)
        image = directory / f"image-{number}"
        image.mkdir()
        for name, content in vfs.crash_image(moment, chance).items():
            (image / name).write_bytes(content)
        connection = opened(image / "store.db", synchronous)
        promised = sum(at <= moment for at in acknowledged)
        done = steps_done(connection)
        assert done <= promised + 1
        worst = max(worst, promised - done)
        step(connection, done)
        connection.close()
        shutil.rmtree(image)
    return worst


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
def test_a_power_cut_leaves_a_sound_database(
    quick_path: Path, synchronous: Literal["NORMAL", "FULL"]
) -> None:
    """D3: rows and marks agree after any cut; FULL loses nothing that was acknowledged."""
    worst = check_power_cuts(quick_path, synchronous, images=60)
    assert synchronous == "NORMAL" or worst == 0


@pytest.mark.faults
@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
def test_a_thousand_power_cuts(quick_path: Path, synchronous: Literal["NORMAL", "FULL"]) -> None:
    """D3: the same, a thousand times."""
    worst = check_power_cuts(quick_path, synchronous, images=1_000)
    assert synchronous == "NORMAL" or worst == 0


def test_the_recorder_does_lose_what_was_not_synced(quick_path: Path) -> None:
    """The power model has teeth: without syncs, cuts do damage that the checks above would see."""
    path = quick_path / "store.db"
    opened(path).close()
    vfs = RecordingVFS("toothed", quick_path)
    connection = apsw.Connection(str(path), vfs=vfs.vfs_name)
    connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF").fetchall()
    connection.wal_autocheckpoint(20)
    for number in range(60):
        step(connection, number)
    connection.close()
    vfs.unregister()
    chance = random.Random(7)
    damaged = 0
    for number in range(40):
        image = quick_path / f"image-{number}"
        image.mkdir()
        files = vfs.crash_image(chance.randrange(len(vfs.events)), chance)
        for name, content in files.items():
            (image / name).write_bytes(content)
        try:
            connection = opened(image / "store.db")
            steps_done(connection)
            connection.close()
        except Exception:  # noqa: BLE001 - any complaint is the point
            damaged += 1
    assert damaged > 0


def sweep(directory: Path, faulty: FaultyVFS, operation: Operation, nth: int) -> bool:
    """Let the `nth` operation of a run fail; return whether the run got that far."""
    path = directory / f"{operation}-{nth}" / "store.db"
    opened(path, "FULL").close()
    error = apsw.FullError if operation == "write" else apsw.IOError
    acknowledged = 0
    faulty.fail(operation, nth, error)
    trouble = None
    connection: apsw.Connection | None = None
    try:
        connection = opened(path, "FULL", faulty.vfs_name)
        connection.wal_autocheckpoint(3)
        for number in range(12):
            step(connection, number)
            acknowledged = number + 1
    except apsw.Error as failure:
        trouble = classify(failure)
    finally:
        faulty.heal()
        if connection is not None:
            connection.close()
    again = opened(path, "FULL")
    assert acknowledged <= steps_done(again) <= acknowledged + 1
    step(again, steps_done(again))
    again.close()
    assert trouble in (None, "full", "io", "cant-open")
    return trouble is not None


@pytest.mark.parametrize("operation", ["write", "sync", "read", "truncate"])
def test_a_disk_that_begins_to_fail_loses_nothing(
    quick_path: Path, faulty: FaultyVFS, operation: Operation
) -> None:
    """D4: whatever fails from its n-th time on, it is named and nothing promised is lost."""
    hits = [sweep(quick_path, faulty, operation, nth) for nth in (1, 2, 3, 5, 8, 13, 21)]
    assert any(hits) or operation == "truncate"


@pytest.mark.faults
@pytest.mark.parametrize("operation", ["write", "sync", "read", "truncate"])
def test_every_operation_may_be_the_first_to_fail(
    quick_path: Path, faulty: FaultyVFS, operation: Operation
) -> None:
    """D4: the same for every n up to 60."""
    for nth in range(1, 61):
        sweep(quick_path, faulty, operation, nth)


def run_child(
    code: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import apsw
from instar_host.store.diagnosis import classify
from tests.faults.test_store_faults import opened, step, steps_done
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
connection = opened(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, resource.RLIM_INFINITY))
number = 0
try:
    while True:
        step(connection, number)
        number += 1
except apsw.Error as error:
    print(number, classify(error))
assert steps_done(connection) == number
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
connection.close()
connection = opened(Path(sys.argv[1]))
step(connection, number)
assert steps_done(connection) == number + 1
"""


def test_a_full_disk_stops_writing_and_nothing_else(quick_path: Path) -> None:
    """D5: at the file size limit reads go on; with room again, so does writing, on the same row."""
    done = run_child(FULL_DISK, quick_path / "store.db")
    assert done.returncode == 0, done.stderr
    number, trouble = done.stdout.split()
    assert (int(number) > 0, trouble) == (True, "io")


MOMENTS = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.chmod", "open")


def live_until(_report: Report, directory: Path, moment: int) -> None:
    """Create, back up, set aside, begin anew, back up; die at the `moment`-th file operation."""
    left = moment

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in MOMENTS and str(directory) in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    path = directory / "store.db"
    for now_ms in (NOW_MS, NOW_MS + 86_400_000):
        connection = opened(path)
        step(connection, 0)
        daily_backup(connection, path.parent / "backups", "store", now_ms)
        connection.close()
        if now_ms == NOW_MS:
            quarantine(path, "test", now_ms)


def recovered(path: Path) -> int:
    """Do what a plugin does at its start: open, or set aside and restore, or begin anew."""
    found = inspect(path, application_id=OURS, user_version=1).state
    assert found in ("ours", "missing", "empty")
    if found == "empty":
        quarantine(path, found, NOW_MS)
    backup = newest_good_backup(path.parent / "backups", "store", application_id=OURS)
    if found != "ours" and backup is not None:
        restore(backup, path)
    connection = opened(path)
    done = steps_done(connection)
    connection.close()
    return done


@pytest.mark.faults
def test_a_kill_at_any_file_operation_leaves_old_or_new(quick_path: Path) -> None:
    """D2: killed at each step of creation, backup and quarantine, the next start finds no half."""
    moment, finished = 0, False
    while not finished:
        moment += 1
        directory = quick_path / str(moment)
        directory.mkdir()
        with Child(live_until, directory, moment) as child:
            code = child.wait()
        finished = code == 0
        assert finished or code == -signal.SIGKILL
        assert recovered(directory / "store.db") in (0, 1)
        backup = newest_good_backup(directory / "backups", "store", application_id=OURS)
        if backup is not None:
            reader = open_reader(backup, application_id=OURS)
            assert steps_done(reader) == 1
            reader.close()
    assert moment > 20
