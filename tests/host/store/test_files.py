"""Safe opening and atomic writing: nothing odd is read, nothing is written by halves."""

from __future__ import annotations

import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from instar_host.store.errors import UnsafeFile, shown
from instar_host.store.files import (
    Root,
    ensure_private_dir,
    open_regular,
    read_bounded,
    write_atomic,
)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "one").write_bytes(b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "one").write_bytes(b"secret")
    with Root(tmp_path / "root") as opened:
        yield opened


def read(root: Root, name: bytes) -> bytes:
    descriptor = root.open_regular(name)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def refused(root: Root, name: bytes) -> str:
    with pytest.raises(UnsafeFile) as error:
        read(root, name)
    return error.value.reason


def test_a_file_below_the_root_is_read(root: Root) -> None:
    """A plain path opens, the second time through the directory kept open."""
    assert [read(root, b"a/one"), read(root, b"a/one")] == [b"inside", b"inside"]


@pytest.mark.parametrize("name", [b"../outside/one", b"a/../../outside/one", b"", b"a/", b"/a/one"])
def test_a_name_never_leads_out_of_the_root(root: Root, name: bytes) -> None:
    """T11: dots, empty parts and absolute names are refused before anything is opened."""
    assert refused(root, name) == "outside"


def test_no_link_below_the_root_is_followed(root: Root, tmp_path: Path) -> None:
    """T11: links to a file, to a directory, to themselves and to nothing are not read."""
    below = tmp_path / "root"
    (below / "file").symlink_to(tmp_path / "outside" / "one")
    (below / "directory").symlink_to(tmp_path / "outside")
    (below / "inner").symlink_to(below / "a")
    (below / "loop").symlink_to("loop")
    (below / "dangling").symlink_to("nowhere")
    for name in (b"file", b"directory/one", b"inner/one", b"loop", b"loop/x", b"dangling"):
        assert refused(root, name) == "symlink"


def test_the_root_itself_may_be_a_link(tmp_path: Path, root: Root) -> None:
    """A home kept elsewhere is normal; only what lies below the root is bound to it."""
    (tmp_path / "link").symlink_to(tmp_path / "root")
    with Root(tmp_path / "link") as linked:
        assert read(linked, b"a/one") == b"inside"


def test_a_directory_swapped_for_a_link_is_not_used_from_memory(root: Root, tmp_path: Path) -> None:
    """T11: the directory kept open is given up when its name means something else."""
    assert read(root, b"a/one") == b"inside"
    (tmp_path / "root" / "a").rename(tmp_path / "gone")
    (tmp_path / "root" / "a").symlink_to(tmp_path / "outside")
    assert refused(root, b"a/one") == "symlink"
    (tmp_path / "root" / "a").unlink()
    (tmp_path / "root" / "a").mkdir()
    (tmp_path / "root" / "a" / "one").write_bytes(b"new")
    assert read(root, b"a/one") == b"new"


def test_a_link_swapped_in_between_stat_and_open_is_not_read(root: Root, tmp_path: Path) -> None:
    """T11: while a thread swaps file and link as fast as it can, the secret never comes out."""
    name = tmp_path / "root" / "swapped"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (tmp_path / "link").symlink_to(tmp_path / "outside" / "one")
            (tmp_path / "link").replace(name)
            (tmp_path / "file").write_bytes(b"inside")
            (tmp_path / "file").replace(name)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(3_000):
            try:
                seen.add(read(root, b"swapped"))
            except (UnsafeFile, FileNotFoundError) as error:
                seen.add(type(error).__name__.encode())
    finally:
        stop.set()
        thread.join()
    assert b"secret" not in seen
    assert b"inside" in seen


def test_a_swap_after_the_stat_is_caught_by_the_open(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T11, T12: whatever takes the name's place after the check is refused by the open file."""
    real = os.stat
    target = tmp_path / "root" / "a" / "one"
    swaps: list[Callable[[], None]] = [
        lambda: target.symlink_to(tmp_path / "outside" / "one"),
        lambda: os.mkfifo(target),
    ]

    def stat_then_swap(
        path: bytes, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        found = real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        if path == b"one":
            target.unlink()
            swaps.pop(0)()
        return found

    monkeypatch.setattr(os, "stat", stat_then_swap)
    assert refused(root, b"a/one") == "symlink"
    target.unlink()
    target.write_bytes(b"inside")
    assert refused(root, b"a/one") == "not-regular"


def test_only_regular_files_are_opened(root: Root, tmp_path: Path) -> None:
    """T12: a FIFO without a writer, a socket, a directory and a device are refused at once."""
    below = tmp_path / "root"
    os.mkfifo(below / "fifo")
    (below / "directory.jsonl").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(below, os.O_RDONLY)
        try:
            listening.bind(f"/proc/self/fd/{here}/socket" if Path("/proc/self/fd").exists() else "")
        finally:
            os.close(here)
        for name in (b"fifo", b"directory.jsonl", b"socket"):
            assert refused(root, name) == "not-regular"
    with pytest.raises(UnsafeFile, match="not a regular file"):
        open_regular("/dev/zero")


def test_a_waiting_fifo_is_not_disturbed(root: Root, tmp_path: Path) -> None:
    """T12: looking at a FIFO never counts as its reader, so nobody's writer is woken."""
    fifo = tmp_path / "root" / "fifo"
    os.mkfifo(fifo)
    opened: list[str] = []
    watching = True
    sys.addaudithook(
        lambda event, values: (
            opened.append(str(values[0])) if watching and event == "open" else None
        )
    )
    assert refused(root, b"fifo") == "not-regular"
    watching = False
    assert opened == []


@pytest.mark.parametrize(
    "name",
    [
        b"line\nbreak",
        b"tab\tbell\x07",
        b"\x1b[31mred",
        b"not-\xff-utf8",
        b"n" * 255,
        "\u00e9".encode(),
        "e\u0301".encode(),
        "rtl\u202e".encode(),
    ],
)
def test_odd_names_are_read_and_shown_escaped(root: Root, name: bytes) -> None:
    """T13: any bytes make a name; shown to people they hold nothing that a terminal would obey."""
    with open(root.path + b"/" + name, "wb") as file:
        file.write(name)
    assert read(root, name) == name[:100]
    assert all(c.isprintable() for c in shown(name))


def test_descriptors_are_not_leaked(root: Root, tmp_path: Path) -> None:
    """Refusals of every kind leave as many descriptors open as before."""
    (tmp_path / "root" / "x").symlink_to("a")
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        for name in (b"x/one", b"x", b"nothing/at/all", b"a/none", b"a"):
            with pytest.raises((UnsafeFile, OSError)):
                root.open_regular(name)
    assert len(os.listdir("/dev/fd")) <= before + 1  # the one directory kept open


def test_a_root_closes_twice_without_harm(tmp_path: Path) -> None:
    """Closing again does nothing, not even to a descriptor that has the number now."""
    root = Root(tmp_path)
    root.close()
    root.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        root.open_regular(b"x")


def test_a_name_that_leaves_its_root_is_refused(root: Root) -> None:
    """T11: neither the parent nor an empty part of a path is gone through."""
    for name in (b"a/../a/one", b"a//one", b"../x", b"./one"):
        assert refused(root, name) == "outside"


def test_a_deep_directory_keeps_few_descriptors(root: Root, tmp_path: Path) -> None:
    """T16: a way of 60 folders keeps no more of them open than a short one does."""
    deep = b"/".join([b"d"] * 60)
    os.makedirs(tmp_path / "root" / os.fsdecode(deep))
    names = [folder + b"/one" for folder in (deep, deep[:-2], b"d/d", deep)]
    for name in names:
        (tmp_path / "root" / os.fsdecode(name)).write_bytes(b"deep")
    before = len(os.listdir("/dev/fd"))
    for name in (*names, b"a/one"):
        read(root, name)
        assert len(os.listdir("/dev/fd")) <= before + 4


def test_a_swapped_directory_above_is_not_used_from_memory(root: Root, tmp_path: Path) -> None:
    """T11: a file is opened below what the names on its way mean now."""
    below = tmp_path / "root"
    (below / "x" / "y").mkdir(parents=True)
    (below / "x" / "y" / "one").write_bytes(b"old")
    assert read(root, b"x/y/one") == b"old"
    (below / "x").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        root.open_regular(b"x/y/one")
    (below / "x").symlink_to(tmp_path / "outside")
    assert refused(root, b"x/y/one") == "symlink"
    (below / "x").unlink()
    (below / "x" / "y").mkdir(parents=True)
    (below / "x" / "y" / "one").write_bytes(b"new")
    assert read(root, b"x/y/one") == b"new"


def test_an_atomic_write_is_private_and_complete(tmp_path: Path) -> None:
    """The mode is exact whatever the umask, the content whole, and no draft stays behind."""
    before = os.umask(0o777)
    try:
        write_atomic(tmp_path / "config", b"x" * 5_000_000)
        write_atomic(tmp_path / "shared", b"y", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "config").read_bytes() == b"x" * 5_000_000
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("config", "shared")]
    assert modes == [0o600, 0o644]
    assert sorted(os.listdir(tmp_path)) == ["config", "shared"]


def test_a_failed_atomic_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk fails at the sync, the old content stands and no draft stays behind."""
    (tmp_path / "config").write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(tmp_path / "config", b"new")
    assert (tmp_path / "config").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["config"]


def test_an_atomic_write_replaces_a_link(tmp_path: Path) -> None:
    """A link at the name is replaced; what it pointed to is not written through it."""
    (tmp_path / "target").write_bytes(b"untouched")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"untouched"
    assert not (tmp_path / "link").is_symlink()


def test_a_bounded_read_refuses_more(tmp_path: Path) -> None:
    """Exactly the limit is read, one byte more is an error."""
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert read_bounded(tmp_path / "file", 10) == b"x" * 10
    with pytest.raises(UnsafeFile, match="larger than the 9 bytes"):
        read_bounded(tmp_path / "file", 9)


def test_a_private_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    """Every directory that had to be made is 0700; one that stood keeps its mode."""
    tmp_path.chmod(0o755)
    ensure_private_dir(tmp_path / "a" / "b")
    ensure_private_dir(tmp_path / "a" / "b")
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (tmp_path, tmp_path / "a", tmp_path / "a/b")]
    assert modes == [0o755, 0o700, 0o700]


def test_a_directory_open_to_all_is_refused(tmp_path: Path) -> None:
    """Where anybody may rename our files, no file mode protects them; the message has the cure."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UnsafeFile, match="chmod o-w"):
        ensure_private_dir(tmp_path / "open")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnsafeFile, match="not a directory"):
        ensure_private_dir(tmp_path / "file")
