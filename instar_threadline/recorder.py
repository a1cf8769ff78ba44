"""What a host calls when a message came in or went out: recorded, or kept to be tried again.

Promises that a failure of the log never becomes the caller's: the message is put into a bounded
spool in memory, the failure is counted and shown, and the spool is tried again before every later
message and by a tick. What the spool cannot hold is dropped, oldest first, and counted. Order is
kept: while the spool holds something, new messages line up behind it.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from instar_host.clock import Clock
from instar_host.records import Record
from instar_threadline.errors import InvalidMessage, ThreadlineError
from instar_threadline.messages import NewMessage, Recorded
from instar_threadline.record.lines import iso_instant
from instar_threadline.record.log import MessageLog, require_recordable

SPOOL_BYTES = 32 << 20
RETRY_MESSAGES = 200


class SpoolState(Record, frozen=True, kw_only=True, rename="camel"):
    """How recording fares."""

    waiting: int = 0
    """Messages that are not in the log yet."""
    dropped: int = 0
    """Messages that were lost because the spool was full."""
    failures: int = 0
    """Attempts at the log that failed."""
    last_error: str = ""
    """Why the last one failed; empty once the log could be written again."""


class Recorder:
    """Records one message at a time. Callable from any thread; never raises for the log's sake."""

    def __init__(
        self,
        log: Callable[[], MessageLog],
        *,
        clock: Clock,
        spool_messages: int,
        recorded: Callable[[], None] = lambda: None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """`log` opens the log when first needed; `recorded` is called after every append."""
        self._log = log
        self._clock = clock
        self._new_id = new_id
        self._spool_messages = spool_messages
        self._recorded = recorded
        self._guard = threading.Lock()
        self._spool: deque[NewMessage] = deque()
        self._spool_bytes = 0
        self._dropped = 0
        self._failures = 0
        self._last_error = ""

    def record_inbound(
        self,
        *,
        from_: str,
        thread_id: str,
        text: str,
        sender_name: str = "",
        trust_level: str = "unknown",
        message_id: str | None = None,
        timestamp: str | None = None,
        in_reply_to: str | None = None,
        verified: bool = True,
    ) -> Recorded:
        """A message was received from `from_`, whose identity the caller has authenticated."""
        return self.record(
            NewMessage(
                direction="in",
                counterparty=from_,
                counterparty_name=sender_name,
                thread_id=thread_id,
                text=text,
                id=message_id,
                timestamp=timestamp,
                trust_level=trust_level,
                in_reply_to=in_reply_to,
                verified=verified,
            )
        )

    def record_outbound(
        self,
        *,
        to: str,
        thread_id: str,
        text: str,
        recipient_name: str = "",
        sender: str = "",
        sender_name: str = "",
        message_id: str | None = None,
        timestamp: str | None = None,
        outcome: str | None = None,
        in_reply_to: str | None = None,
    ) -> Recorded:
        """This agent sent a message to `to`: its fingerprint, under the thread id of the wire."""
        return self.record(
            NewMessage(
                direction="out",
                counterparty=to,
                counterparty_name=recipient_name,
                thread_id=thread_id,
                text=text,
                id=message_id,
                timestamp=timestamp,
                sender=sender,
                sender_name=sender_name,
                outcome=outcome,
                in_reply_to=in_reply_to,
            )
        )

    def record(self, message: NewMessage) -> Recorded:
        """Record one message, or keep it; `spooled` says that it is not in the log yet.

        Its id and its time are settled now, so that trying again records it once.
        """
        message = msgspec.structs.replace(
            message,
            id=message.id or self._new_id(),
            timestamp=message.timestamp or iso_instant(self._clock.now_ms()),
        )
        try:
            require_recordable(message)
        except InvalidMessage as error:  # now, while its sender can be told
            return Recorded(status="refused", reason=str(error))
        with self._guard:
            if self._spool and not self._drain():
                return self._keep(message)
            try:
                answer = self._log().record([message])[0]
            except ThreadlineError as error:
                self._failed(error)
                return self._keep(message)
            self._last_error = ""
        if answer.status == "recorded":
            self._recorded()
        return answer

    def record_pulled(self, messages: Sequence[NewMessage]) -> list[Recorded]:
        """Record what a source gave; conflicts are kept and flagged. Raises ThreadlineError: the
        source will be asked again, so nothing is spooled."""
        with self._guard:
            answers = self._log().record(messages, keep_conflicts=True)
        if any(answer.status == "recorded" for answer in answers):
            self._recorded()
        return answers

    def retry(self) -> bool:
        """Try the spool again; true when it is empty."""
        with self._guard:
            waited = bool(self._spool)
            emptied = self._drain()
        if waited and emptied:
            self._recorded()
        return emptied

    def state(self) -> SpoolState:
        """How recording fares."""
        with self._guard:
            return SpoolState(
                waiting=len(self._spool),
                dropped=self._dropped,
                failures=self._failures,
                last_error=self._last_error,
            )

    def _drain(self) -> bool:
        while self._spool:
            first = list(islice(self._spool, RETRY_MESSAGES))
            try:
                self._log().record(first, keep_conflicts=True)
            except ThreadlineError as error:
                self._failed(error)
                return False
            for _ in first:
                self._spool_bytes -= _size(self._spool.popleft())
        self._last_error = ""
        return True

    def _keep(self, message: NewMessage) -> Recorded:
        self._spool.append(message)
        self._spool_bytes += _size(message)
        while self._spool and (
            len(self._spool) > self._spool_messages or self._spool_bytes > SPOOL_BYTES
        ):
            self._spool_bytes -= _size(self._spool.popleft())
            self._dropped += 1
        return Recorded(status="spooled", reason=self._last_error)

    def _failed(self, error: ThreadlineError) -> None:
        self._failures += 1
        self._last_error = str(error)


def _size(message: NewMessage) -> int:
    return 200 + 4 * len(message.text)
