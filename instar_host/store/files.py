"""Opening files that others write, and writing files that must survive a power cut.

Promises: a file is opened read-only, never through a link below its root, and only if it is a
regular file (checked by name before the open, so that a waiting FIFO is not disturbed, and again on
the open descriptor, so that a swap between the two changes nothing). A written file is the old one
or the new one, never half. It never follows a link on the way down, never opens a source for
writing, and never blocks on a FIFO. Paths may be any bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from types import TracebackType
from typing import Self

from instar_host.store.errors import AnyPath, UnsafeFile, shown

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_NAMES = (b"", b".", b"..")
_READ_CHUNK_BYTES = 1 << 20
_KEPT_DIRECTORIES = 4


class Root:
    """A directory whose files are opened strictly beneath it.

    The root itself may be reached through links (a home kept elsewhere is normal); below it no link
    is followed, neither to a directory nor to a file. The directories on the way to the one used
    last stay open, so files beside each other cost one lookup each; whether a name
    still means its directory is checked whenever a file is opened. One thread at a time.
    """

    def __init__(self, path: AnyPath) -> None:
        """Open the directory `path`; raises `OSError` if it is missing or not a directory."""
        self.path = os.fsencode(path)
        self._fd = os.open(self.path, _DIR_FLAGS)
        self._open: list[_Directory] = []
        """Each within the one before."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open_regular(self, relative: AnyPath) -> int:
        """Return a read-only descriptor of the regular file `relative`; the caller closes it.

        Raises `UnsafeFile` for a link, a non-regular file or a name that leaves the root, and
        `OSError` (missing, permission, out of descriptors, ...) as it comes.
        """
        name = os.fsencode(relative)
        parent, _, leaf = name.rpartition(b"/")
        if leaf in _NO_NAMES:
            raise UnsafeFile("outside", f"{shown(name)} does not name a file below its root.")
        directory = self._fd
        if parent:
            if self._open:
                self._forget_renamed(name)
            directory = self._go_to(parent + b"/").descriptor
        return _open_leaf(leaf, directory, self.path + b"/" + name)

    def close(self) -> None:
        """Close the descriptors; a second call does nothing."""
        self._forget()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _go_to(self, wanted: bytes) -> _Directory:
        """Make the directory `wanted`, with its closing slash, the last that is open."""
        while self._open:
            last = self._open[-1]
            if last.name == wanted:
                return last
            if wanted.startswith(last.name):
                break
            os.close(self._open.pop().descriptor)
        return self._descend(wanted)

    def _descend(self, wanted: bytes) -> _Directory:
        """Open what is missing of the way to `wanted` from the last that is open."""
        last = self._open[-1] if self._open else _Directory(b"", self._fd)
        whole = self.path + b"/" + wanted[:-1]
        for part in wanted[len(last.name) : -1].split(b"/"):
            if part in _NO_NAMES:
                raise UnsafeFile("outside", f"{shown(wanted[:-1])} leaves its root.")
            descriptor = _open_directory(part, last.descriptor, whole)
            last = _Directory(last.name + part + b"/", descriptor)
            self._open.append(last)
            if len(self._open) > _KEPT_DIRECTORIES:
                os.close(self._open.pop(0).descriptor)
        return last

    def _forget_renamed(self, wanted: bytes) -> None:
        """Close what is open if a name on the way to `wanted` means another directory now."""
        for opened in reversed(self._open):
            if wanted.startswith(opened.name):
                if not self._still_there(opened):
                    self._forget()
                return

    def _still_there(self, opened: _Directory) -> bool:
        try:
            named = os.stat(opened.name[:-1], dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return False
        found = opened.found()
        return named.st_ino == found.st_ino and named.st_dev == found.st_dev

    def _forget(self) -> None:
        while self._open:
            os.close(self._open.pop().descriptor)


class _Directory:
    """A directory that is kept open."""

    __slots__ = ("_found", "descriptor", "name")

    def __init__(self, name: bytes, descriptor: int) -> None:
        self.name = name
        """Below the root, with a closing slash."""
        self.descriptor = descriptor
        self._found: os.stat_result | None = None

    def found(self) -> os.stat_result:
        """What it was when that was first asked."""
        if self._found is None:
            self._found = os.fstat(self.descriptor)
        return self._found


def open_regular(path: AnyPath) -> int:
    """Return a read-only descriptor of the regular file `path`; the caller closes it.

    Links in the directories above are followed, a link at the name itself is not. Raises
    `UnsafeFile` or `OSError` as `Root.open_regular` does.
    """
    name = os.fsencode(path)
    return _open_leaf(name, None, name)


def read_bounded(path: AnyPath, max_bytes: int) -> bytes:
    """Return the content of a regular file; over `max_bytes` raises `UnsafeFile("size")`."""
    descriptor = open_regular(path)
    try:
        parts = []
        left = max_bytes + 1
        while left > 0 and (part := os.read(descriptor, min(left, _READ_CHUNK_BYTES))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if left <= 0:
        raise UnsafeFile("size", f"{shown(path)} is larger than the {max_bytes} bytes allowed.")
    return b"".join(parts)


def write_atomic(path: AnyPath, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data`; after a return, or after a crash, it is the old or the new file.

    The mode is exact, whatever the umask. A link at `path` is replaced, not followed. Raises
    `OSError` (disk full, permission, ...), and then `path` is as it was.
    """
    target = os.fsencode(path)
    directory = os.path.dirname(target) or b"."
    temporary = os.path.join(directory, b".instar-%s.tmp" % os.urandom(8).hex().encode())
    try:
        write_new(temporary, data, mode)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(directory)


def write_new(path: AnyPath, data: bytes, mode: int = 0o600) -> None:
    """Create `path` with `data` and sync it; raises `FileExistsError` if the name is taken."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        os.fchmod(descriptor, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: AnyPath) -> None:
    """Make creations, renames and deletions in the directory `path` survive a power cut."""
    descriptor = os.open(path or b".", _DIR_FLAGS)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network and FUSE file systems cannot sync a directory
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def ensure_private_dir(path: AnyPath) -> None:
    """Create the directory `path` and its missing parents, each 0700.

    An existing directory keeps its mode; one that anybody may write to is refused, because then
    anybody may swap our files. Raises `UnsafeFile` or `OSError`.
    """
    name = os.fsencode(path)
    missing = []
    while name and not os.path.lexists(name):
        missing.append(name)
        name = os.path.dirname(name)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
    found = os.stat(os.fsencode(path) or b".")
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFile("not-regular", f"{shown(path)} is not a directory.")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise UnsafeFile(
            "permissions",
            f"Anybody may write to {shown(path)}. Run: chmod o-w {shown(path)}",
        )


def _open_leaf(name: bytes, directory: int | None, whole: bytes) -> int:
    before = os.stat(name, dir_fd=directory, follow_symlinks=False)
    _require_regular(before, whole)
    try:
        descriptor = os.open(name, _READ_FLAGS, dir_fd=directory)
    except OSError as error:
        raise _unsafe_or(error, whole) from None
    try:
        _require_regular(os.fstat(descriptor), whole)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(found: os.stat_result, whole: bytes) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFile("symlink", f"{shown(whole)} is a symbolic link; links are not followed.")
    raise UnsafeFile("not-regular", f"{shown(whole)} is not a regular file.")


def _open_directory(name: bytes, parent: int, whole: bytes) -> int:
    try:
        return os.open(name, _DIR_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
    except NotADirectoryError as error:  # what Linux answers for a link opened as a directory
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise _unsafe_or(OSError(errno.ELOOP, "link"), whole) from None
        raise error from None
    except OSError as error:
        raise _unsafe_or(error, whole) from None


def _unsafe_or(error: OSError, whole: bytes) -> Exception:
    if error.errno == errno.ELOOP:
        return UnsafeFile("symlink", f"{shown(whole)} leads through a symbolic link.")
    if error.errno in (errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP):
        return UnsafeFile("not-regular", f"{shown(whole)} is not a regular file.")
    return error
