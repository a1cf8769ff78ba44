"""Looking for what changed: a stat for each folder and file that is known, names only where a
folder changed.

Promises to find every new, changed and deleted transcript in one look, in slices between which the
caller may leave and come back; that no link is followed and no file opened; and that what cannot
be seen is reported and never taken for gone. A file is compared with its last stat, so an
unchanged one costs a stat and nothing else. Measured, 120,000 files in 60,000 folders: 2.4 s for a
walk that lists every folder, 0.6 s this way.
"""

from __future__ import annotations

import os
import stat as modes
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from instar_host.clock import Clock
from instar_tokenledger import trees
from instar_tokenledger.catalog import STUCK, Catalog, stamp_of
from instar_tokenledger.discover import Listing, error_name, list_folder
from instar_tokenledger.trees import Folder, Tree
from instar_tokenledger.usage import TokenSource

FILES_A_SLICE = 64
FOLDERS_A_SLICE = 16
KNOWN_AT_A_TIME = 256
LIST_ALL_S = 15 * 60
"""Every folder is listed this often, whatever its times say: some file systems tell them late."""
LINK = "symlink"
"""What links in a tree, which are never followed, are counted under."""

KnownFiles = Callable[[str, bytes], Iterable[tuple[bytes, bytes, int, int, int, int]]]
"""(source, root) -> (folder, name, dev, inode, size, ctime in ns) of what the ledger has read."""


class Look:
    """Keeps a catalogue up with the disk."""

    def __init__(
        self,
        catalog: Catalog,
        sources: Sequence[TokenSource],
        clock: Clock,
        known_files: KnownFiles,
        pause: Callable[[], None],
    ) -> None:
        self.seen = 0
        """Transcripts met by the last look."""
        self.errors: dict[str, int] = {}
        """Folders and files that could not be looked at, by the error's name."""
        self.gone: list[bytes] = []
        """Files the ledger knows that are not there any more; for the caller to take."""
        self._catalog = catalog
        self._sources = sources
        self._clock = clock
        self._known_files = known_files
        self._pause = pause
        self._trees: dict[tuple[str, bytes], Tree] = {}
        self._by_number: list[Tree] = []
        self._folders: list[Folder | None] = []
        self._listed_all_at_s = clock.monotonic_s()

    @property
    def roots(self) -> list[bytes]:
        """The roots that are there."""
        return [tree.path for tree in self._trees.values() if tree.present]

    def place(self, row: int) -> tuple[TokenSource, bytes, bytes]:
        """Whose file it is, its root, and its path below that."""
        folder = self._folders[self._catalog.folder[row]]
        assert folder is not None
        tree = self._by_number[folder.tree]
        return tree.source, tree.path, self._catalog.path(row)[len(tree.root) :]

    def everything(self) -> Iterator[None]:
        """One look at everything, a slice at a time."""
        self.errors.clear()
        self._ask_for_roots()
        self._list_all_if_due()
        number = 0
        while number < len(self._folders):
            self._look_into(number)
            number += 1
            if number % FOLDERS_A_SLICE == 0:
                yield
        links = sum(folder.links for folder in self._folders if folder is not None)
        if links:
            self.errors[LINK] = links
        yield from self._look_at_files(self._catalog)
        self._catalog.line_up(whole=True)

    def at_hot_files(self) -> None:
        """A stat for each of the files that changed lately."""
        for row in self._catalog.hot():
            self._look_at(row)
        self._catalog.line_up()

    def at_paths(self, paths: Iterable[bytes]) -> None:
        """Look at some files, known or not, and at folders that are new on the way to them."""
        for path in paths:
            for tree in self._trees.values():
                if path.startswith(tree.root):
                    self._look_at_path(tree, path)
        self._catalog.line_up()

    def _ask_for_roots(self) -> None:
        wanted = trees.asked_for(self._sources, self._failed)
        for tree in [tree for key, tree in self._trees.items() if key not in wanted]:
            if tree.key in self._trees:
                for one in (tree, *tree.rivals):  # those begin anew: some of it may be theirs
                    self._remove(one)
        for key, source in wanted.items():
            if key not in self._trees:
                self._add_tree(source, key[1])
        for tree in self._trees.values():
            self._find_root(tree)

    def _add_tree(self, source: TokenSource, root: bytes) -> None:
        tree = Tree(len(self._by_number), source, root)
        tree.rivals = [t for t in self._trees.values() if trees.nested(t.root, root)]
        for rival in tree.rivals:
            rival.rivals.append(tree)
        self._trees[tree.key] = tree
        self._by_number.append(tree)
        self._folder_at(tree, root)
        try:
            self._add_known(tree)
        except BaseException:
            self._remove(tree)  # half of it would pass for all
            raise

    def _add_known(self, tree: Tree) -> None:
        """What the ledger has read, in any order."""
        at: dict[bytes, int] = {}
        """Numbers of folders by their paths as the ledger has them."""
        within: bytes | None = None
        claimed: set[bytes | None] = set()
        known = iter(self._known_files(tree.source.name, tree.root[:-1]))
        while rows := list(islice(known, KNOWN_AT_A_TIME)):
            numbers, names, stamps, sizes = array("i"), [], array("q"), array("q")
            for folder, name, dev, inode, size, ctime_ns in rows:
                number = at.get(folder, -1)
                if number < 0:
                    number = at[folder] = self._folder_at(tree, folder + b"/")
                if tree.rivals and folder != within:
                    within, claimed = folder, self._claimed(tree, folder + b"/")
                if name not in claimed:
                    numbers.append(number)
                    names.append(name)
                    stamps.append(stamp_of(dev, inode, size, ctime_ns))
                    sizes.append(size)
            self._catalog.add_read(numbers, names, stamps, sizes)

    def _remove(self, tree: Tree) -> None:
        """A root that nobody asks for any more; what the ledger knows of it stays."""
        del self._trees[tree.key]
        for number in tree.folders.values():
            for row in self._catalog.files_of(number):
                self._catalog.drop(row)
            self._folders[number] = None
        for rival in tree.rivals:
            rival.rivals.remove(tree)

    def _find_root(self, tree: Tree) -> None:
        try:
            tree.find()
        except OSError as error:
            self._failed(error_name(error))

    def _list_all_if_due(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._listed_all_at_s >= LIST_ALL_S:
            self._listed_all_at_s = now_s
            for folder in self._folders:
                if folder is not None:
                    folder.stamp = 0

    def _folder_at(self, tree: Tree, path: bytes) -> int:
        """The number of a folder, which gets one together with those above it."""
        number = tree.folders.get(path)
        if number is not None:
            folder = self._folders[number]
            if folder is None or folder.parent < 0 or self._folders[folder.parent] is not None:
                return number
            self._drop_folder(tree, number)  # what it lay in went, and came back as another
        parent = -1 if path == tree.root else self._folder_at(tree, trees.above(path))
        number = tree.folders[path] = self._catalog.add_folder(path)
        self._folders.append(Folder(tree.number, path, parent))
        return number

    def _look_into(self, number: int) -> None:
        """List a folder if it has changed."""
        folder = self._folders[number]
        if folder is None:
            return
        tree = self._by_number[folder.tree]
        readable = tree.present
        if folder.parent >= 0:
            parent = self._folders[folder.parent]
            if parent is None:  # gone, or a link by now, and with it all that lay below
                self._drop_folder(tree, number)
                return
            readable = parent.readable
        folder.readable = readable
        if not readable:
            folder.stamp = 0
            return
        if folder.stamp:
            try:
                found = os.stat(folder.path[:-1] or b"/", follow_symlinks=folder.parent < 0)
            except (FileNotFoundError, NotADirectoryError):
                self._went(tree, number, folder)
                return
            except OSError as error:
                self._failed(error_name(error))
                folder.readable = False
                return
            if trees.stamp_of_folder(found) == folder.stamp:
                self._pause()
                return
        folder.stamp = self._listed(tree, number, folder)

    def _listed(self, tree: Tree, number: int, folder: Folder) -> int:
        """List a folder; the stamp to remember, 0 to list it again."""
        now_ms = self._clock.now_ms()
        listing = list_folder(tree.source, tree.root, folder.path[len(tree.root) :], self._pause)
        for why in listing.errors:
            self._failed(why)
        if listing.gone:
            self._went(tree, number, folder)
            return 0
        folder.links = listing.links
        for name in listing.folders:
            self._folder_at(tree, folder.path + name + b"/")
        whole = self._take_names(tree, number, folder, listing)
        if whole and listing.found is not None:
            return trees.lasting_stamp(listing.found, now_ms)
        if listing.found is None or not listing.whole:
            folder.readable = bool(listing.files or listing.folders)
        return 0

    def _take_names(self, tree: Tree, number: int, folder: Folder, listing: Listing) -> bool:
        """Files that are new, and files that are not there any more; false for a listing that
        left some out: it was of another folder, which had the name for a moment."""
        new, names, whole = set(listing.files), self._catalog.names, listing.whole
        for row in self._catalog.files_of(number):
            name = names[row]
            if name in new:
                new.discard(name)
            elif listing.whole:
                self._look_at(row)
                if names[row] is not None and not tree.selects(self._catalog.path(row)):
                    self._drop(row)
                whole = whole and names[row] is None
        if new and tree.rivals:
            new -= self._claimed(tree, folder.path)
        for name in sorted(new):
            self._catalog.add(number, name)
        return whole

    def _look_at_files(self, catalog: Catalog) -> Iterator[None]:
        """What `_look_at` does, for every file: most are as they were."""
        self.seen = 0
        lstat, folders, in_folder = os.lstat, self._folders, catalog.folder
        names, stamps, states = catalog.names, catalog.stamp, catalog.state
        for begin in range(0, len(names), FILES_A_SLICE):
            self._pause()
            hot_since_ms, seen = catalog.hot_since_ms(), 0
            for row in range(begin, min(begin + FILES_A_SLICE, len(names))):
                name, folder = names[row], folders[in_folder[row]]
                if name is None or folder is None or not folder.readable:
                    continue
                try:
                    found = lstat(folder.path + name)
                except OSError as error:
                    self._could_not(row, folder, error)
                    continue
                stamp = stamp_of(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)
                if stamp == stamps[row] and states[row] != STUCK:
                    seen += 1
                elif stamp != stamps[row] and modes.S_ISREG(found.st_mode):
                    catalog.notice(row, found, stamp, hot_since_ms)
                    seen += 1
                else:
                    seen += self._met(row, folder, found, stamp)
            self.seen += seen
            yield

    def _look_at(self, row: int) -> None:
        """One stat."""
        folder = self._folders[self._catalog.folder[row]]
        if folder is None or not folder.readable:
            return
        try:
            found = os.lstat(self._catalog.path(row))
        except OSError as error:
            self._could_not(row, folder, error)
        else:
            self._met(row, folder, found)

    def _could_not(self, row: int, folder: Folder, error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            self._failed(error_name(error))
        elif self._stands(self._by_number[folder.tree]):
            folder.stamp = 0
            self._drop(row)

    def _met(
        self, row: int, folder: Folder, found: os.stat_result, stamp: int | None = None
    ) -> bool:
        """True when there is a file still."""
        if not modes.S_ISREG(found.st_mode):
            folder.stamp = 0
            self._drop(row)
            return False
        self._catalog.saw(row, found, stamp)
        return True

    def _look_at_path(self, tree: Tree, path: bytes) -> None:
        """A path as a watch tells it: of a file, a folder, or anything else."""
        begin = path.rindex(b"/") + 1
        folder, name = path[:begin], path[begin:]
        number = tree.folders.get(folder)
        row = self._catalog.row_of(number, name) if number is not None else None
        if row is not None:
            self._look_at(row)
        elif tree.may_hold(path):
            self._look_around(tree, folder)

    def _look_around(self, tree: Tree, folder: bytes) -> None:
        """List the nearest known folder above, what is new below it, and look at its files."""
        pending = [tree.nearest(folder)]
        while pending:
            number = pending.pop()
            before = len(self._folders)
            held = self._folders[number]
            if held is not None:
                held.stamp = 0
                self._look_into(number)
                pending += range(before, len(self._folders))
                for row in list(self._catalog.files_of(number)):
                    self._look_at(row)
                if self._folders[number] is None:
                    pending.append(tree.nearest(held.path))

    def _claimed(self, tree: Tree, folder: bytes) -> set[bytes | None]:
        """Names of files of a folder that other roots hold already: each is read once."""
        names, catalog = self._catalog.names, self._catalog
        numbers = tree.rivals_at(folder)
        return {names[row] for number in numbers for row in catalog.files_of(number)}

    def _stands(self, tree: Tree) -> bool:
        """True while the root is there. Where it went this very moment, nothing of it is taken for
        gone, and nothing of it is looked at until the next look."""
        if tree.present:
            self._find_root(tree)
        return tree.present

    def _went(self, tree: Tree, number: int, folder: Folder) -> None:
        """A folder that is not there any more, or is none, or whose root has gone."""
        folder.readable = False
        folder.stamp = 0
        if folder.parent < 0:
            tree.present = False
        elif self._stands(tree):
            parent = self._folders[folder.parent]
            if parent is not None:
                parent.stamp = 0  # listed again, in case it comes back as it was
            self._drop_folder(tree, number)

    def _drop_folder(self, tree: Tree, number: int) -> None:
        folder = self._folders[number]
        assert folder is not None
        for row in self._catalog.files_of(number):
            self._drop(row)
        del tree.folders[folder.path]
        self._folders[number] = None
        for one in (self._folders[n] for n in tree.rivals_at(folder.path)):
            if one is not None:
                one.stamp = 0  # what was claimed there may be its own now

    def _drop(self, row: int) -> None:
        path = self._catalog.drop(row)
        if path is not None:
            self.gone.append(path)

    def _failed(self, why: str) -> None:
        self.errors[why] = self.errors.get(why, 0) + 1
