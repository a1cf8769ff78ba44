"""The append of one direction: its lines, and the rotation of its files.

Promises, for `append`: when it returns, every line is on disk and announced in the chain; when it
raises, each line is either whole or not there, and the next append says which. The order is:
entries, sync, lines, sync, head. So after a crash at any point the chain may announce lines that
are not there, never the other way round; the head, which is not synced, lags and never leads.

Never appends to files that it has not looked at: unless they are as it left them, `Mender` brings
log, chain and head together first.

Not for two threads at once; `MessageLog` sees to that. Processes are kept apart by the lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import msgspec

from instar_host.store.files import ensure_private_dir
from instar_threadline.messages import Position
from instar_threadline.record.announcing import Announcer, OpenFiles
from instar_threadline.record.chain import GENESIS, Entry
from instar_threadline.record.chaintail import ChainEnd, chain_end
from instar_threadline.record.disk import Disk, open_private
from instar_threadline.record.keyring import Keyring
from instar_threadline.record.layout import Layout
from instar_threadline.record.mending import Mender
from instar_threadline.record.signing import digest, thread_tag


class SignedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line to append: without its newline, signed with the keyring's current key."""

    data: bytes
    mac: str
    thread_id: str


class StreamLog:
    """Appends to one direction. Every method needs the direction's lock to be held."""

    def __init__(
        self, files: Layout, keyring: Keyring, *, rotate_bytes: int, disk: Disk, log_name: str
    ) -> None:
        self.files = files
        self._keyring = keyring
        self._rotate_bytes = rotate_bytes
        self._disk = disk
        self._announcer = Announcer(files, keyring, disk)
        self._mender = Mender(files, keyring, self._announcer, disk=disk, log_name=log_name)
        self._open: OpenFiles | None = None

    def prepare(self) -> tuple[int, int]:
        """Bring files and chain together; returns (segment, bytes of the active log).

        Raises OSError or UnsafeFile.
        """
        state = self._current()
        if state.end >= self._rotate_bytes:
            state = self._rotate(state)
        return state.segment, state.end

    def append(self, lines: Sequence[SignedLine]) -> list[Position]:
        """Append after `prepare`. Raises OSError; the files are looked at anew the next time."""
        state = self._current()
        try:
            return self._append(state, lines)
        except BaseException:
            self._cut_back(state)
            self.close()
            raise

    def close(self) -> None:
        """Forget what is known of the files and close them; a second call does nothing."""
        if self._open is not None:
            os.close(self._open.log)
            os.close(self._open.chain)
            self._open = None

    def _append(self, state: OpenFiles, lines: Sequence[SignedLine]) -> list[Position]:
        positions: list[Position] = []
        entries: list[Entry] = []
        at, key = state.end, self._keyring.current
        for line in lines:
            length = len(line.data)
            entries.append(
                Entry(
                    n=state.n + len(entries) + 1,
                    kind="line",
                    key=key.id,
                    offset=at,
                    length=length,
                    digest=digest(line.data),
                    mac=line.mac,
                    thread=thread_tag(key.chain, line.thread_id),
                )
            )
            positions.append(
                Position(
                    direction=self.files.direction,
                    segment=state.segment,
                    offset=at,
                    length=length,
                )
            )
            at += length + 1
        self._announcer.announce(state, entries)
        self._disk.write(state.log, b"".join(line.data + b"\n" for line in lines))
        self._disk.sync(state.log)
        state.end = at
        self._announcer.write_head(state)
        return positions

    def _cut_back(self, state: OpenFiles) -> None:
        """After a failed write: drop what may stand half written, if the disk lets us."""
        with contextlib.suppress(OSError):
            found = os.fstat(state.log).st_size
            if found > state.end and b"\n" not in os.pread(state.log, found - state.end, state.end):
                os.ftruncate(state.log, state.end)

    def _current(self) -> OpenFiles:
        state = self._open
        if state is not None and self._unchanged(state):
            return state
        self.close()
        ensure_private_dir(self.files.folder)
        self._finish_rotation()
        opened = self._open = self._open_files()
        try:
            self._mender.reconcile(opened)
        except BaseException:
            self.close()
            raise
        return opened

    def _unchanged(self, state: OpenFiles) -> bool:
        """True when the names still mean the open files and nobody wrote to them."""
        for name, descriptor, size in (
            (self.files.log(), state.log, state.end),
            (self.files.chain(), state.chain, state.chain_size),
        ):
            try:
                named = os.stat(name, follow_symlinks=False)
            except FileNotFoundError:
                return False
            mine = os.fstat(descriptor)
            if (named.st_dev, named.st_ino, named.st_size) != (mine.st_dev, mine.st_ino, size):
                return False
        return True

    def _open_files(self) -> OpenFiles:
        before = self._last_rotated()
        log = open_private(self.files.log(), append=True)
        try:
            chain = open_private(self.files.chain(), append=True)
        except BaseException:
            os.close(log)
            raise
        end = chain_end(chain, before)
        if end.torn_at is not None:
            os.ftruncate(chain, end.torn_at)  # an announcement cut short: nothing followed it
        return OpenFiles(
            log=log,
            chain=chain,
            segment=end.segment,
            n=end.n,
            mac=end.mac,
            end=end.log_end,
            chain_size=os.fstat(chain).st_size,
        )

    def _last_rotated(self) -> ChainEnd:
        """Where the chain of the newest rotated file ended; the genesis if there is none."""
        numbers = self.files.rotated()
        if not numbers:
            return ChainEnd(n=0, mac=GENESIS, segment=0, log_end=0)
        nothing = ChainEnd(n=0, mac=GENESIS, segment=numbers[-1], log_end=0)
        try:
            descriptor = os.open(self.files.chain(numbers[-1]), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return nothing
        try:
            return chain_end(descriptor, nothing)
        finally:
            os.close(descriptor)

    def _rotate(self, state: OpenFiles) -> OpenFiles:
        entry = Entry(n=state.n + 1, kind="closed", key=self._keyring.current.id, offset=state.end)
        self._announcer.announce(state, [entry])
        self._announcer.write_head(state)
        self.close()
        return self._current()

    def _finish_rotation(self) -> None:
        """A closed chain means: give both files their number. Also after a crash half way."""
        try:
            descriptor = os.open(self.files.chain(), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            end = chain_end(descriptor, ChainEnd(n=0, mac=GENESIS, segment=0, log_end=0))
        finally:
            os.close(descriptor)
        if not end.closed:
            return
        if not os.path.exists(self.files.log(end.segment)):
            with contextlib.suppress(FileNotFoundError):  # deleted: the verifier says so
                os.rename(self.files.log(), self.files.log(end.segment))
        os.rename(self.files.chain(), self.files.chain(end.segment))
