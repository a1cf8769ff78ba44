"""Threadline in a running host: who appends, who indexes, who answers, and how each fares.

Promises that every part opens when first needed and fails alone: a keyring that is refused stops
the signing and not the views; an index that cannot be opened is reported and tried again, never
given up. Appends work in every process; the index is written only where the lease is held.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import apsw

from instar_host.broadcast import Broadcast
from instar_host.errors import InstarError, ReadOnlyStateDir, reason
from instar_host.records import HostContext, Record
from instar_host.store.errors import StoreError
from instar_threadline.bridge.settings import BridgeSettingsStore
from instar_threadline.config import SECTION, RecordSettings
from instar_threadline.errors import LogUnavailable
from instar_threadline.following import Follower
from instar_threadline.record.index import Index, Progress
from instar_threadline.record.keyring import Keyring, keyring_stamp, open_keyring, read_keyring
from instar_threadline.record.layout import FOLDER
from instar_threadline.record.log import MessageLog
from instar_threadline.record.problems import Problems
from instar_threadline.record.readers import Readers
from instar_threadline.record.search import Search
from instar_threadline.record.views import Views
from instar_threadline.recorder import Recorder, SpoolState
from instar_threadline.sources.hermes import hermes_messages
from instar_threadline.sources.pulls import Pulls
from instar_threadline.sources.statefiles import StateFiles

INDEX_TICK = "threadline-index"
SOURCES_TICK = "threadline-sources"
FRESHEN_STEPS = 1
MAX_EVENTS = 100

TROUBLE = (apsw.Error, OSError, StoreError, InstarError)


class Health(Record, frozen=True, kw_only=True, rename="camel"):
    """How the parts fare in this process."""

    writes: bool
    """This process keeps the index; another one only reads it."""
    index_error: str
    """Why the index cannot be kept at the moment; empty when it can."""
    catching_up: bool
    keyring_error: str
    """Why nothing can be signed, or older keys are not known; empty when all is well."""
    spool: SpoolState
    notes: tuple[str, ...]
    """What is odd about the state files of the host."""


class ThreadlineService:
    """The parts of one host. Opens nothing before it is asked to."""

    def __init__(self, host: HostContext) -> None:
        self.host = host
        self.settings = host.config.section(SECTION, RecordSettings)
        self.events = Broadcast()
        self.files = StateFiles(os.path.join(host.state_dir, FOLDER))
        self.readers = Readers(host.state_dir)
        self.problems = Problems(self.readers, host.state_dir)
        self.follower = Follower(
            self.readers, host.holds_lease, lambda: self.events.publish({}, "changed")
        )
        self.bridge_settings = BridgeSettingsStore(host.config, host.state_dir, host.clock)
        self.recorder = Recorder(
            self._message_log,
            clock=host.clock,
            spool_messages=self.settings.spool_messages,
            recorded=self._recorded,
        )
        self.pulls = Pulls(host, self.recorder)
        self.own_sources = hermes_messages(host, self.settings.hermes_home)
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._opening = threading.Lock()
        self._log: MessageLog | None = None
        self._keys: tuple[Keyring, str] | None = None
        self._keys_stamp: object = None
        self._signing_error = ""
        self._indexing = threading.Lock()
        self._index: Index | None = None
        self._index_keys: frozenset[str] = frozenset()
        self._index_error = ""
        self._catching_up = False
        self._closed = False

    @property
    def agent(self) -> str:
        """This agent's identifier in outbound messages."""
        return self.settings.agent_name or self.host.config.project_name or "agent"

    def keyring(self) -> Keyring:
        """The keys to verify with, as they are now. Raises KeyringError only when there is no
        token at all.

        Where there is none and none can be written, the keys of earlier tokens still verify.
        """
        with self._opening:
            folder = os.path.join(self.host.state_dir, FOLDER)
            stamp = keyring_stamp(folder)
            if self._keys is None or self._keys_stamp != stamp:
                try:
                    token = self.host.config.token()
                except ReadOnlyStateDir:
                    import secrets

                    token = secrets.token_urlsafe()  # nothing is ever signed with it
                self._keys, self._keys_stamp = read_keyring(folder, token), stamp
            return self._keys[0]

    def views(self) -> Views:
        """What the routes and commands show."""
        return Views(self.readers, self.files, self.keyring())

    def search(self) -> Search:
        """The search over all messages."""
        return Search(self.readers, self.files, self.host.clock.monotonic_s)

    def on_recorded(self, listener: Callable[[], None]) -> None:
        """Be told, from any thread, that the log has grown in this process."""
        self._listeners = (*self._listeners, listener)

    def index(self, stopping: Callable[[], bool], max_steps: int | None = None) -> bool:
        """Bring the index up to the log; false when there is more to do. For the lease's holder.

        Raises InstarError when it cannot be kept; it is opened anew the next time.
        """
        with self._indexing:
            if self._closed:
                return True
            try:
                keyring = self.keyring()
                if self._index is not None and self._index_keys != keyring.ids:
                    self._drop_index()  # another process signs with a key that it does not know
                if self._index is None:
                    self._index = Index(self.host.state_dir, keyring, self.host.clock.now_ms)
                    self._index_keys = keyring.ids
                progress = self._index.catch_up(stopping, max_steps=max_steps)
            except TROUBLE as error:
                self._index_error = reason(error)
                self._drop_index()
                raise InstarError(f"The index of messages cannot be kept: {error}") from error
            self._index_error = ""
            self._catching_up = not progress.at_end
        self._announce(progress)
        return progress.at_end

    def freshen(self) -> None:
        """Before an answer: take in what was appended since, if that is cheap and ours to do."""
        if not self.host.holds_lease() or self._index is None or self._indexing.locked():
            return
        try:
            self.index(lambda: False, FRESHEN_STEPS)
        except InstarError:
            return  # shown as `indexError`; the answer comes from what there is

    def health(self) -> Health:
        """How the parts fare."""
        problem = self._signing_error or (self._keys[1] if self._keys is not None else "")
        return Health(
            writes=self.host.holds_lease(),
            index_error=self._index_error,
            catching_up=self._catching_up,
            keyring_error=problem,
            spool=self.recorder.state(),
            notes=self.files.known().problems,
        )

    def close(self) -> None:
        """Close everything; nothing is written after it."""
        with self._indexing:
            self._closed = True
            self._drop_index()
        self.events.close()
        self.follower.close()
        self.readers.close()
        with self._opening:
            if self._log is not None:
                self._log.close()

    def _message_log(self) -> MessageLog:
        with self._opening:
            if self._log is None:
                self._log = self._open_log()
            return self._log

    def _open_log(self) -> MessageLog:
        try:
            folder = os.path.join(self.host.state_dir, FOLDER)
            keyring = open_keyring(folder, self.host.config.token())
        except InstarError as error:
            self._signing_error = str(error)
            raise LogUnavailable(str(error)) from error
        self._signing_error = ""
        self._keys, self._keys_stamp = (keyring, ""), keyring_stamp(folder)
        return MessageLog(
            self.host.state_dir,
            keyring,
            self.host.clock,
            agent=self.agent,
            known=self.readers,
            rotate_bytes=self.settings.max_file_bytes,
        )

    def _drop_index(self) -> None:
        index, self._index = self._index, None
        if index is not None:
            try:
                index.close()
            except TROUBLE as error:
                self._index_error = reason(error)

    def _recorded(self) -> None:
        self.host.wake(INDEX_TICK)
        for listener in self._listeners:
            listener()

    def _announce(self, progress: Progress) -> None:
        if progress.rebuilt or len(progress.rows) > MAX_EVENTS:
            self.events.publish({}, "changed")
            return
        for row in progress.rows:
            event: dict[str, Any] = {
                "threadId": row.line.thread_id,
                "id": row.line.id,
                "direction": row.direction,
            }
            self.events.publish(event, "message")
