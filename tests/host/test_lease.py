"""Rule 5: the lease, between real processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from instar_host import InstarError, Lease, LeaseHeld
from instar_host.errors import ConfigError, ReadOnlyStateDir, refused
from instar_host.lease import Holder
from instar_host.testing import START_MS, FakeClock

HOLD = """
import os, sys
from pathlib import Path
from instar_host import Lease
lease = Lease(Path(sys.argv[1]), name="other")
print(lease.try_acquire(), flush=True)
lease.publish("http://127.0.0.1:1")
print("published", flush=True)
sys.stdin.readline()
"""

Other = subprocess.Popen[str]


@pytest.fixture
def other(state_dir: Path) -> Iterator[Callable[[], Other]]:
    """Another process that tries the lease, publishes an address and stays."""
    started: list[Other] = []

    def start() -> Other:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        process.answer = process.stdout.readline().strip()  # type: ignore[attr-defined]
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def answer(process: Other) -> str:
    return str(process.answer)  # type: ignore[attr-defined]


def test_one_of_two_processes_holds_it(state_dir: Path, other: Callable[[], Other]) -> None:
    """The second is refused, and told pid and address of the first."""
    lease = Lease(state_dir)
    first = other()

    assert answer(first) == "True"
    assert lease.try_acquire() is False
    holder = lease.holder()
    assert holder is not None
    assert (holder.pid, holder.address, holder.name) == (first.pid, "http://127.0.0.1:1", "other")
    with pytest.raises(LeaseHeld, match=f"process {first.pid} holds the lease") as caught:
        lease.acquire()
    assert (caught.value.pid, caught.value.address) == (first.pid, "http://127.0.0.1:1")
    assert caught.value.exit_code == 3


def test_a_killed_holder_frees_it(state_dir: Path, other: Callable[[], Other]) -> None:
    """The kernel gives it back; what the dead one wrote is not believed."""
    lease = Lease(state_dir)
    first = other()
    first.kill()
    first.wait()

    assert str(first.pid) in lease.path.read_text(encoding="utf-8")
    assert lease.holder() is None
    assert lease.try_acquire() is True


def test_a_stopped_holder_still_holds_it(state_dir: Path, other: Callable[[], Other]) -> None:
    """A process that does not move may wake up in the middle of a write."""
    lease = Lease(state_dir)
    first = other()
    os.kill(first.pid, signal.SIGSTOP)

    assert lease.try_acquire() is False
    assert lease.holder() is not None

    os.kill(first.pid, signal.SIGCONT)


def test_release_lets_the_other_have_it(state_dir: Path, other: Callable[[], Other]) -> None:
    """Refused while it is held, granted after."""
    with Lease(state_dir):
        assert answer(other()) == "False"
    assert answer(other()) == "True"


def test_a_forked_child_does_not_hold_it(state_dir: Path) -> None:
    """Neither in its own eyes, nor by releasing what is its parent's."""
    lease = Lease(state_dir)
    assert lease.try_acquire()

    child = os.fork()
    if child == 0:
        held = lease.held
        lease.release()
        os._exit(1 if held or lease.try_acquire() else 0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lease.held
    holder = lease.holder()
    assert holder is not None
    assert holder.pid == os.getpid()


def test_a_child_that_outlives_its_parent_does_not_keep_it(state_dir: Path) -> None:
    """An inherited descriptor would hold the kernel's lock; the child closes it."""
    script = """
import os, sys
from pathlib import Path
from instar_host import Lease
lease = Lease(Path(sys.argv[1]))
assert lease.try_acquire()
if os.fork() == 0:
    print("child", flush=True)
    sys.stdin.readline()
os._exit(0)
"""
    arguments = [sys.executable, "-c", script, str(state_dir)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        parent.wait()
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"child\n"
        assert Lease(state_dir).try_acquire() is True


def test_the_file_is_private_and_says_who(state_dir: Path) -> None:
    """0600; pid, address, name and since when."""
    clock = FakeClock()
    with Lease(state_dir, clock=clock) as lease:
        lease.publish("http://127.0.0.1:4042")

        assert lease.path.stat().st_mode & 0o777 == 0o600
        assert lease.holder() == Holder(
            pid=os.getpid(), address="http://127.0.0.1:4042", started_at=START_MS, name="instar"
        )
    assert lease.holder() is None
    assert lease.path.read_bytes() == b""


def test_two_leases_of_one_process_exclude_each_other(state_dir: Path) -> None:
    """Two hosts in one process are two hosts."""
    with Lease(state_dir):
        assert Lease(state_dir).try_acquire() is False


def test_taking_and_releasing_twice_changes_nothing(state_dir: Path) -> None:
    """Both are idempotent."""
    lease = Lease(state_dir)

    assert lease.try_acquire()
    assert lease.try_acquire()
    lease.release()
    lease.release()

    assert not lease.held


def test_a_removed_file_is_a_lost_lease(state_dir: Path) -> None:
    """Whoever makes it anew could hold it as well, so the old holder must stop."""
    lease = Lease(state_dir)
    assert lease.try_acquire()
    lease.path.unlink()

    assert not lease.held
    with Lease(state_dir):
        assert lease.try_acquire() is False


def test_publishing_without_the_lease_writes_nothing(state_dir: Path) -> None:
    """The entry is the holder's."""
    with Lease(state_dir) as holder:
        Lease(state_dir).publish("http://elsewhere")

        entry = holder.holder()
        assert entry is not None
        assert entry.address is None


def test_a_holder_that_has_not_written_yet_is_unknown_not_absent(state_dir: Path) -> None:
    """Between the lock and the entry there is a moment."""
    with Lease(state_dir) as lease:
        lease.path.write_bytes(b'{"pid": 12')

        assert Lease(state_dir).holder() == Holder()
        with pytest.raises(LeaseHeld, match="another process holds the lease"):
            Lease(state_dir).acquire()


def test_the_directory_is_made_private(tmp_path: Path) -> None:
    """A first start has none."""
    with Lease(tmp_path / "new" / "state"):
        assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_the_lock_is_refused(state_dir: Path) -> None:
    """Opening it would create or lock somebody else's file."""
    (state_dir / "instar.lock").symlink_to(state_dir / "elsewhere")

    with pytest.raises(InstarError, match=r"instar\.lock cannot be opened"):
        Lease(state_dir).try_acquire()
    assert not (state_dir / "elsewhere").exists()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EROFS, ReadOnlyStateDir),
        (errno.EACCES, ReadOnlyStateDir),
        (errno.ENOSPC, ConfigError),
    ],
)
def test_what_may_not_be_written_names_the_cure(number: int, kind: type[ConfigError]) -> None:
    """A read-only state directory says what to do; a full disk has another cure."""
    error = refused("x cannot be opened", OSError(number, os.strerror(number)))

    assert type(error) is kind
    assert ("name another with --state-dir" in str(error)) is (kind is ReadOnlyStateDir)
    assert str(error).startswith(f"x cannot be opened: {os.strerror(number)}")


def test_a_lease_that_is_no_file_is_refused_before_it_is_taken(state_dir: Path) -> None:
    """A pipe in its place can be locked and cannot be written: the host stopped with a stack."""
    os.mkfifo(state_dir / "instar.lock")
    lease = Lease(state_dir)

    with pytest.raises(InstarError, match="is not a regular file; remove it"):
        lease.try_acquire()
    assert not lease.held
    lease.release()
