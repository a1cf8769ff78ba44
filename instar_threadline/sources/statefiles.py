"""What other parts of the host know about a thread: names, sessions, Telegram topics.

Promises to read three kinds of small JSON files that this package does not own, again when they
change, and to take nothing on trust: a file that is missing, a link, too large or not what it
should be is as good as empty, and says why in `problems`. A name is found by the whole
fingerprint or public key only, never by a beginning of one. Never writes.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from instar_host.records import Record
from instar_host.store.errors import UnsafeFile
from instar_host.store.files import read_bounded

MAX_FILE_BYTES = 32 << 20
PUBLIC_KEY_CHARS = 32
"""A fingerprint is the first so many characters of a public key."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

AGENTS_FILE = "known-agents.json"
CONVERSATIONS_FILE = "conversations.json"
RESUME_FILE = "thread-resume-map.json"
BINDINGS_FILE = "telegram-bridge-bindings.json"


class Binding(Record, frozen=True, kw_only=True):
    """The Telegram topic of a thread."""

    topic_id: int = msgspec.field(name="topicId")
    topic_name: str = msgspec.field(name="topicName", default="")
    created_at: str = msgspec.field(name="createdAt", default="")
    last_message_at: str = msgspec.field(name="lastMessageAt", default="")


class Known(Record, frozen=True, kw_only=True):
    """Everything that is known, at one moment."""

    names: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Lower-case fingerprint or public key -> name."""
    sessions: frozenset[str] = frozenset()
    """Thread ids that a session was started for."""
    bindings: Mapping[str, Binding] = msgspec.field(default_factory=dict)
    problems: tuple[str, ...] = ()
    version: int = 0
    """Another number after every change."""

    def name_of(self, fingerprint: str) -> str:
        """The name that was given to an agent here; empty if none was."""
        return self.names.get(fingerprint.lower(), "")


class StateFiles:
    """The files in one folder. Callable from any thread."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamps: tuple[object, ...] = ()
        self._known = Known()

    def known(self) -> Known:
        """What is known now; four stats when nothing changed."""
        stamps = tuple(self._stamp(name) for name in _READERS)
        with self._lock:
            if stamps != self._stamps or self._known.version == 0:
                self._known = self._read(self._known.version + 1)
                self._stamps = stamps
            return self._known

    def _stamp(self, name: str) -> object:
        try:
            found = os.stat(os.path.join(self._folder, name), follow_symlinks=False)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self, version: int) -> Known:
        problems: list[str] = []
        found = {name: self._load(name, problems) for name in _READERS}
        names: dict[str, str] = _agents(found[AGENTS_FILE])
        sessions = _sessions(found[CONVERSATIONS_FILE]) | _resumed(found[RESUME_FILE])
        return Known(
            names=names,
            sessions=frozenset(sessions),
            bindings=_bindings(found[BINDINGS_FILE]),
            problems=tuple(problems),
            version=version,
        )

    def _load(self, name: str, problems: list[str]) -> Any:
        try:
            data = read_bounded(os.path.join(self._folder, name), MAX_FILE_BYTES)
            return _parsed(data.decode("utf-8-sig"))
        except FileNotFoundError:
            return None
        except UnsafeFile as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror}.")
        except (ValueError, RecursionError):
            problems.append(f"{name} is not JSON.")
        return None


def _parsed(text: str) -> Any:
    """The JSON value; half a character, which JSON can name and no answer can carry, becomes a
    question mark. Raises ValueError and RecursionError.
    """
    value = json.loads(text)
    if _SURROGATE.search(text):
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def _agents(value: Any) -> dict[str, str]:
    """A list of agents, or an object with one under `agents`."""
    listed = value.get("agents") if isinstance(value, dict) else value
    names: dict[str, str] = {}
    for agent in listed if isinstance(listed, list) else ():
        name = agent.get("name") if isinstance(agent, dict) else None
        if not isinstance(name, str) or not name:
            continue
        for key in ("fingerprint", "publicKey"):
            identifier = agent.get(key)
            if isinstance(identifier, str) and identifier:
                names.setdefault(identifier.lower(), name)
                if len(identifier) > PUBLIC_KEY_CHARS and key == "publicKey":
                    names.setdefault(identifier[:PUBLIC_KEY_CHARS].lower(), name)
    return names


def _sessions(value: Any) -> set[str]:
    """Newer hosts: `conversations[thread].sessionUuid`."""
    threads = value.get("conversations") if isinstance(value, dict) else None
    if not isinstance(threads, dict):
        return set()
    return {t for t, c in threads.items() if isinstance(c, dict) and c.get("sessionUuid")}


def _resumed(value: Any) -> set[str]:
    """Older hosts: thread -> session, flat or under `threads`.

    It is wrapped when `threads` holds objects that are sessions themselves; a thread that is merely
    called so is a thread.
    """
    if not isinstance(value, dict):
        return set()
    inner = value.get("threads")
    wrapped = isinstance(inner, dict) and all(isinstance(one, dict) for one in inner.values())
    return set(inner if wrapped and isinstance(inner, dict) else value)


def _bindings(value: Any) -> dict[str, Binding]:
    listed = value.get("bindings") if isinstance(value, dict) else None
    bindings: dict[str, Binding] = {}
    for one in listed if isinstance(listed, list) else ():
        thread_id = one.get("threadId") if isinstance(one, dict) else None
        if not isinstance(thread_id, str) or not thread_id:
            continue
        try:
            bindings[thread_id] = msgspec.convert(one, Binding)
        except msgspec.ValidationError:
            continue
    return bindings


_READERS: Mapping[str, Callable[[Any], Any]] = {
    AGENTS_FILE: _agents,
    CONVERSATIONS_FILE: _sessions,
    RESUME_FILE: _resumed,
    BINDINGS_FILE: _bindings,
}
