"""The lease: of all processes on one state directory, the one that writes.

Promises that at most one process holds it and that it is free the moment its holder is gone,
however that went: it is a lock of the kernel, not a file that somebody has to tidy up. What stands
in the file (who, where, since when) is for people and is believed only while the lock is held. A
forked child never holds it, and a child that outlives its parent does not keep it. Never waits.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from instar_host.clock import Clock, SystemClock
from instar_host.errors import InstarError, LeaseHeld, refused
from instar_host.store.errors import UnsafeFile
from instar_host.store.files import ensure_private_dir

FILE_NAME = "instar.lock"
MAX_ENTRY_BYTES = 4096
ATTEMPTS = 20
PAUSE_S = 0.005
"""Between attempts against a lock that only somebody's look at it can be holding."""


class Holder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who holds the lease, as the holder wrote it."""

    pid: int | None = None
    """None while the holder has not written its entry yet."""
    address: str | None = None
    """Where it answers HTTP; None when it serves nothing."""
    started_at: int | None = None
    """When it took the lease, epoch milliseconds."""
    name: str = ""
    """What kind of host it is."""


class Lease:
    """One process's claim on a state directory. Callable from any thread."""

    def __init__(
        self, state_dir: Path, *, name: str = "instar", clock: Clock | None = None
    ) -> None:
        self.path = state_dir / FILE_NAME
        self._name = name
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._fd = -1
        self._pid = 0
        self._started_at = 0
        self._watches_forks = False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def held(self) -> bool:
        """True while this very process holds the lease and its file is still the one others look
        at.
        """
        fd = self._fd
        return fd >= 0 and os.getpid() == self._pid and self._is_current(fd)

    def try_acquire(self) -> bool:
        """Take the lease if it is free; true when this process holds it.

        Raises InstarError, ReadOnlyStateDir where nothing can be written.
        """
        with self._lock:
            if self.held:
                return True
            self._drop()
            for attempt in range(ATTEMPTS):
                fd = self._open()
                if self._locked(fd) and self._is_current(fd):
                    self._adopt(fd)
                    return True
                os.close(fd)
                holder = self.holder()
                if holder is not None and holder.pid is not None:
                    return False
                time.sleep(PAUSE_S if attempt else 0)
            return False

    def acquire(self) -> None:
        """Take the lease. Raises LeaseHeld, naming the process that has it."""
        if self.try_acquire():
            return
        holder = self.holder() or Holder()
        who = f"process {holder.pid}" if holder.pid is not None else "another process"
        serves = f" and answers at {holder.address}" if holder.address else ""
        raise LeaseHeld(
            f"{who} holds the lease of {self.path.parent}{serves}; ask it, or stop it and retry",
            pid=holder.pid,
            address=holder.address,
        )

    def publish(self, address: str | None) -> None:
        """Let others know where the holder answers HTTP. Does nothing in a process without the
        lease.
        """
        with self._lock:
            if self.held:
                self._write(address or None)

    def release(self) -> None:
        """Give the lease back. Idempotent; in a forked child it changes nothing for the parent."""
        with self._lock:
            if self.held:
                os.ftruncate(self._fd, 0)
            self._drop()

    def holder(self) -> Holder | None:
        """Who holds the lease at this moment, this process included; None when nobody does."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise InstarError(f"{self.path} cannot be read: {exc.strerror}") from None
        try:
            if not self.held and _lock(fd, fcntl.LOCK_SH):
                return None  # the entry, if there is one, is a dead holder's
            return _entry(os.pread(fd, MAX_ENTRY_BYTES, 0))
        finally:
            os.close(fd)

    def _open(self) -> int:
        try:
            ensure_private_dir(self.path.parent)
        except UnsafeFile as exc:
            raise InstarError(str(exc)) from None
        except OSError as exc:
            raise refused(f"{self.path.parent} cannot be created", exc) from None
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(self.path, flags, 0o600)
        except OSError as exc:
            raise refused(f"{self.path} cannot be opened", exc) from None
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        raise InstarError(f"{self.path} is not a regular file; remove it")

    def _locked(self, fd: int) -> bool:
        try:
            return _lock(fd, fcntl.LOCK_EX)
        except OSError as exc:
            os.close(fd)
            raise InstarError(
                f"the file system of {self.path.parent} has no locks ({exc.strerror}); choose a "
                "state directory on a local disk"
            ) from None

    def _is_current(self, fd: int) -> bool:
        """Whether the name still leads to the file behind `fd`, so that others see our lock."""
        try:
            named = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        ours = os.fstat(fd)
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)

    def _adopt(self, fd: int) -> None:
        self._fd, self._pid = fd, os.getpid()
        self._started_at = self._clock.now_ms()
        if not self._watches_forks:
            self._watches_forks = True
            _drop_in_children(self)
        self._write(None)

    def _write(self, address: str | None) -> None:
        entry = Holder(pid=self._pid, address=address, started_at=self._started_at, name=self._name)
        line = msgspec.json.encode(entry) + b"\n"
        try:
            os.pwrite(self._fd, line, 0)
            os.ftruncate(self._fd, len(line))
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, str(self.path)) from None  # says where

    def _drop(self) -> None:
        fd, self._fd, self._pid = self._fd, -1, 0
        if fd >= 0:
            os.close(fd)

    def _after_fork(self) -> None:
        """In a child: close the inherited descriptor, which would keep the lock alive."""
        self._lock = threading.RLock()
        self._drop()


def _drop_in_children(lease: Lease) -> None:
    """`os.register_at_fork` cannot be undone, so it must not keep the lease alive."""
    reference = weakref.ref(lease)

    def drop() -> None:
        forked = reference()
        if forked is not None:
            forked._after_fork()

    os.register_at_fork(after_in_child=drop)


def _lock(fd: int, kind: int) -> bool:
    """Try the lock; false when somebody has it. Raises OSError where there are no locks."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _entry(data: bytes) -> Holder:
    """The first line; anything unreadable is a holder that has not written it yet."""
    line = data.partition(b"\n")[0]
    try:
        return msgspec.json.decode(line, type=Holder)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Holder()
