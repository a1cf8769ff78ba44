"""Hermes Agent's agent-to-agent conversations as a message source: `a2a_conversations/*.jsonl`.

Promises that every line that ended in a newline becomes a message once, the oldest conversation
first; that one pull reads at most `PULL_BYTES` and opens at most `PULL_FILES` files; that a line or
a file that is none of Hermes's is passed over and counted; and that no file is opened that has a
second name (closing it could drop the host's locks). The cursor holds the marks of the
`KEPT_FILES` conversations that changed last; an older one that changes is read again from its
beginning, and the log finds its messages there. Never writes, never follows a link.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from instar_host.records import HostContext
from instar_host.store.errors import UnsafeFile
from instar_host.store.files import Root
from instar_host.store.tail import (
    Lines,
    Mark,
    Tail,
    TooLong,
    iter_lines,
    open_tail,
    unchanged,
)
from instar_threadline.messages import NewMessage
from instar_threadline.records import MessageSource, SourceBatch
from instar_threadline.sources.hermes_audit import Audit
from instar_threadline.sources.hermes_lines import BROKEN, NAME, message_of
from instar_threadline.sources.own_name import require_one_name

FOLDER = "a2a_conversations"
SUFFIX = ".jsonl"
HOME_VARIABLE = "HERMES_HOME"
DEFAULT_HOME = "~/.hermes"

PULL_BYTES = 8 << 20
PULL_FILES = 256
KEPT_FILES = 1024
MAX_LINE_BYTES = 4 << 20
"""A text that the log takes is a quarter of that at most; the rest is room for escapes."""
SHORTEST_LINE_BYTES = 32
"""No line with a message in it is shorter: so many bytes hold at most one."""


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A mark as the cursor holds it."""

    offset: int
    dev: int
    inode: int
    size: int
    ctime_ns: int
    guard: bytes
    skipping: bool

    def mark(self) -> Mark:
        return Mark(**msgspec.structs.asdict(self))


class _Cursor(msgspec.Struct):
    """How far each conversation was read."""

    floor: tuple[int, str] = (0, "")
    """A conversation without a mark, and not after this one by change and name, was read whole."""
    files: dict[str, _Kept] = msgspec.field(default_factory=dict)

    def keep(self, name: str, mark: Mark) -> None:
        self.files[name] = _Kept(**msgspec.structs.asdict(mark))

    def trim(self) -> None:
        """Forget the marks of those that have not changed for longest."""
        oldest = sorted((kept.ctime_ns, name) for name, kept in self.files.items())
        for place in oldest[: max(0, len(oldest) - KEPT_FILES)]:
            self.floor = max(self.floor, place)
            del self.files[place[1]]


class _Pull:
    """What one pull has gathered, and what it may still take."""

    def __init__(self, limit: int) -> None:
        self.messages: list[NewMessage] = []
        self.skipped = 0
        self.more = False
        self._limit = limit
        self._read_bytes = 0

    @property
    def room_bytes(self) -> int:
        """How many bytes it may still read without too many messages in them; 0 when full."""
        lines = self._limit - len(self.messages)
        return max(0, min(lines * SHORTEST_LINE_BYTES, PULL_BYTES - self._read_bytes))

    def take(self, found: Lines | TooLong, context: str, audit: Audit) -> None:
        """Make messages of what a tail handed out."""
        if isinstance(found, TooLong):
            self._read_bytes += found.length
            self.skipped += not found.continued
            return
        self._read_bytes += len(found.data)
        for _, line in iter_lines(found):
            try:
                message = message_of(line, context, audit.begun) if line else None
            except BROKEN:
                self.skipped += 1
                continue
            if message is not None:
                self.messages.append(message)


class HermesMessages:
    """The conversations of one home. One thread at a time."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER
        self._audit = Audit(home)

    def pull(self, cursor: str | None, limit: int) -> SourceBatch:
        """At most `limit` messages past `cursor`. Raises UnsafeFile and OSError for what concerns
        all conversations; what concerns one is passed over.
        """
        kept = _decoded(cursor)
        try:
            root = Root(self._folder)
        except FileNotFoundError:
            return SourceBatch(cursor=cursor)  # nobody has spoken yet
        pull = _Pull(limit)
        with root:
            waiting = _waiting(root, kept)
            pull.more = len(waiting) > PULL_FILES
            for name, found in waiting[:PULL_FILES]:
                self._read(root, name, found, kept, pull)
        kept.trim()
        return SourceBatch(
            messages=tuple(pull.messages),
            cursor=msgspec.json.encode(kept).decode(),
            more=pull.more,
            skipped=pull.skipped,
        )

    def _read(
        self, root: Root, name: str, found: os.stat_result, kept: _Cursor, pull: _Pull
    ) -> None:
        if not pull.room_bytes:
            pull.more = True
            return
        mark = kept.files[name].mark() if name in kept.files else None
        try:
            require_one_name(name, found)
            tail = open_tail(name, mark, max_line_bytes=MAX_LINE_BYTES, root=root)
        except FileNotFoundError:
            return
        except (UnsafeFile, PermissionError):
            pull.skipped += 1
            kept.keep(name, _passed_over(found))
            return
        with tail:
            self._audit.refresh()  # now: it has heard of every line that the tail will hand out
            self._take(tail, name.removesuffix(SUFFIX), pull)
            kept.keep(name, tail.mark())

    def _take(self, tail: Tail, context: str, pull: _Pull) -> None:
        at_end = False
        while not at_end and pull.room_bytes:
            at_end = True
            for found in tail.blocks(max_bytes=pull.room_bytes):
                pull.take(found, context, self._audit)
                at_end = False
        pull.more = pull.more or not at_end


def hermes_messages(host: HostContext, said: str) -> list[MessageSource]:
    """The source over the home that a setting names, else over that of the Hermes around us; none
    elsewhere.
    """
    if not said and host.name == NAME:
        said = host.config.environ.get(HOME_VARIABLE, "") or DEFAULT_HOME
    if not said:
        return []
    return [MessageSource(name=NAME, pull=HermesMessages(Path(said).expanduser()).pull)]


def _waiting(root: Root, kept: _Cursor) -> list[tuple[str, os.stat_result]]:
    """Conversations with something new, that changed longest ago first; one more than a pull takes.

    Marks of conversations that are gone are forgotten.
    """
    there: set[str] = set()

    def changed() -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(root.path) as entries:
            for entry in entries:
                name = os.fsdecode(entry.name)
                if not name.endswith(SUFFIX) or not name.isprintable():
                    continue
                there.add(name)
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and _is_new(kept, name, found):
                    yield name, found

    oldest = heapq.nsmallest(
        PULL_FILES + 1, changed(), key=lambda one: (one[1].st_ctime_ns, one[0])
    )
    for name in kept.files.keys() - there:
        del kept.files[name]
    return oldest


def _is_new(kept: _Cursor, name: str, found: os.stat_result) -> bool:
    known = kept.files.get(name)
    if known is None:
        return (found.st_ctime_ns, name) > kept.floor
    return not unchanged(known.mark(), found)


def _passed_over(found: os.stat_result) -> Mark:
    """The mark of a file that may not be read: tried again when it changes."""
    return Mark(
        offset=0,
        dev=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        ctime_ns=found.st_ctime_ns,
        guard=b"",
    )


def _decoded(cursor: str | None) -> _Cursor:
    """The cursor; one that is not ours means the beginning, and finds its messages in the log."""
    try:
        return msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor()
    except msgspec.DecodeError:
        return _Cursor()
