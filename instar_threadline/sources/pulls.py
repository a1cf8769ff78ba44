"""Asking the message sources of other plugins, and remembering how far each was asked.

Promises that a source's cursor is saved only after its messages are in the log, so a crash
between the two asks again and finds duplicates; that one source's failure is its own, and one
message's too: what cannot be recorded is counted, its plugin's status says why, and the rest goes
on. A lost file of cursors means asking from the beginning of history: nothing is recorded twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from instar_host.errors import InstarError, PluginError
from instar_host.places import explained
from instar_host.records import HostContext, Record
from instar_host.store.errors import StoreError
from instar_host.store.files import ensure_private_dir, read_bounded, write_atomic
from instar_threadline.errors import ThreadlineError
from instar_threadline.messages import NewMessage, Recorded
from instar_threadline.record.layout import FOLDER
from instar_threadline.recorder import Recorder
from instar_threadline.records import MessageSource, SourceBatch

FILE_NAME = "sources.json"
MAX_FILE_BYTES = 64 << 20
MAX_CURSOR_BYTES = 1 << 20
PULL_MESSAGES = 500
PULLS_A_TICK = 20

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class SourceState(Record, frozen=True, kw_only=True, rename="camel"):
    """How one source fares."""

    name: str
    plugin: str
    recorded: int = 0
    duplicates: int = 0
    refused: int = 0
    skipped: int = 0
    error: str = ""
    more: bool = False


class Pulls:
    """Pulls from every source of a host. One thread at a time."""

    def __init__(self, host: HostContext, recorder: Recorder) -> None:
        self._host = host
        self._recorder = recorder
        self._path = os.path.join(host.state_dir, FOLDER, FILE_NAME)
        self._states: dict[str, SourceState] = {}

    def states(self) -> tuple[SourceState, ...]:
        """How the sources fare."""
        return tuple(self._states.values())

    def run(self, stopping: Callable[[], bool]) -> bool:
        """Ask each source for what is new; false when one has more. Never raises for a source."""
        cursors = self._load()
        done = True
        seen: set[str] = set()
        for found in self._host.plugins.collect("threadline_sources", host=self._host):
            source: MessageSource = found.value
            fault = _name_fault(source.name, seen)
            if fault:
                self._host.plugins.report(found.plugin, fault)
                continue
            seen.add(source.name)
            done = self._ask(source, found.plugin, cursors, stopping) and done
        return done

    def _ask(
        self,
        source: MessageSource,
        plugin: str,
        cursors: dict[str, str],
        stopping: Callable[[], bool],
    ) -> bool:
        state = self._states.get(source.name, SourceState(name=source.name, plugin=plugin))
        more, refusal = True, ""
        try:
            for _ in range(PULLS_A_TICK):
                if stopping() or not more:
                    break
                batch = _checked(source.pull(cursors.get(source.name), PULL_MESSAGES))
                state, why = self._record(state, batch)
                refusal = refusal or why
                moved = batch.cursor is not None and batch.cursor != cursors.get(source.name)
                more = batch.more and (moved or bool(batch.messages))
                if moved:
                    cursors[source.name] = _kept(batch.cursor)
                    self._save(cursors)
            state = msgspec.structs.replace(state, error=refusal, more=more)
            if refusal:
                self._host.plugins.report(plugin, f"message source {source.name!r}: {refusal}")
        except (ThreadlineError, OSError, StoreError) as error:
            state = msgspec.structs.replace(state, error=str(error))
            more = False
        except Exception as error:  # noqa: BLE001 - a plugin's source may raise anything
            why = explained(error)
            self._host.plugins.report(plugin, f"message source {source.name!r}: {why}")
            state = msgspec.structs.replace(state, error=why)
            more = False
        self._states[source.name] = state
        return not more

    def _record(self, state: SourceState, batch: SourceBatch) -> tuple[SourceState, str]:
        """The state with the batch counted, and why the first refused message was refused."""
        good, answers = _sorted_out(batch.messages)
        answers += self._recorder.record_pulled(good) if good else []
        counts = [answer.status for answer in answers]
        refused = [answer.reason for answer in answers if answer.status == "refused"]
        counted = msgspec.structs.replace(
            state,
            recorded=state.recorded + counts.count("recorded"),
            duplicates=state.duplicates + counts.count("duplicate"),
            refused=state.refused + len(refused),
            skipped=state.skipped + batch.skipped,
        )
        return counted, f"a message is refused: {refused[0]}" if refused else ""

    def _load(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(
                read_bounded(self._path, MAX_FILE_BYTES), type=dict[str, str]
            )
        except (OSError, StoreError, msgspec.DecodeError, UnicodeDecodeError):
            return {}

    def _save(self, cursors: dict[str, str]) -> None:
        try:
            ensure_private_dir(os.path.dirname(self._path))
            write_atomic(self._path, msgspec.json.encode(cursors))
        except StoreError as error:
            raise InstarError(str(error)) from error


def _name_fault(name: object, seen: set[str]) -> str:
    """What is wrong with the name of a source, given those before it; empty when nothing is."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"its message source {name!r} has to be called by lower-case letters, digits, -"
    return f"its message source {name!r} exists already" if name in seen else ""


def _checked(answer: object) -> SourceBatch:
    """What a source gave, as a batch. Raises PluginError for anything else."""
    if isinstance(answer, Coroutine):
        answer.close()  # or Python warns, later and elsewhere, that it was never awaited
        raise PluginError("pull is asynchronous; it has to be a plain function")
    if not isinstance(answer, SourceBatch):
        raise PluginError(
            f"pull returned an object of type {type(answer).__name__}, not SourceBatch"
        )
    return answer


def _sorted_out(messages: Sequence[object]) -> tuple[list[NewMessage], list[Recorded]]:
    """Those of the right kind in every member, and a refusal for each other one."""
    good: list[NewMessage] = []
    refused: list[Recorded] = []
    for message in messages:
        try:
            good.append(_message(message))
        except (TypeError, msgspec.ValidationError) as error:
            refused.append(Recorded(status="refused", reason=str(error)))
    return good, refused


def _message(given: Any) -> NewMessage:
    """Nobody has looked at its members: msgspec checks none when a struct is made."""
    if not isinstance(given, NewMessage):
        raise TypeError(f"it is an object of type {type(given).__name__}, not NewMessage")
    return msgspec.convert(msgspec.structs.asdict(given), NewMessage)


def _kept(cursor: object) -> str:
    """A cursor that will be found again. Raises TypeError or ValueError: all stand in one file."""
    if not isinstance(cursor, str):
        raise TypeError(f"its cursor is no text, but {type(cursor).__name__}")
    try:
        size = len(cursor.encode())
    except UnicodeEncodeError:
        raise ValueError("its cursor holds half a character") from None
    if size > MAX_CURSOR_BYTES:
        raise ValueError(f"its cursor has {size} bytes; at most {MAX_CURSOR_BYTES} are kept")
    return cursor
