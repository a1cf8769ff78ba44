"""The five settings of the Telegram bridge: read strictly, changed as a whole or not at all.

Promises the keys, defaults and messages of the original. A value of the wrong type on disk is an
error that names it, never "true"; a change is validated whole, written in one replacement of
`config.json` that keeps everything else in it (and the file's mode, tightened), and only then
announced, with one audit line for each key that really changed. Never writes to a file that does
not parse.

The lists hold fingerprints. Allow beats deny.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from instar_host.clock import Clock
from instar_host.config import Config
from instar_host.errors import InstarError
from instar_host.records import Record
from instar_host.settings import Settings
from instar_threadline.errors import InvalidSettings, SettingsConflict
from instar_threadline.record.disk import Disk, locked, open_private
from instar_threadline.record.lines import iso_instant

SECTION = "threadline.telegramBridge"
AUDIT_FILE = os.path.join("threadline", "telegram-bridge-audit.jsonl")
MAX_ENTRIES = 10_000
MAX_ENTRY_CHARS = 512


class BridgeSettings(Settings, frozen=True, kw_only=True):
    """The section `threadline.telegramBridge`."""

    enabled: Annotated[
        bool, msgspec.Meta(description="mirror agent-to-agent messages to Telegram at all")
    ] = False
    auto_create_topics: Annotated[
        bool,
        msgspec.Meta(description="open a topic for a new thread of any agent that is not denied"),
    ] = False
    mirror_existing: Annotated[
        bool, msgspec.Meta(description="mirror into topics that exist already")
    ] = True
    allow_list: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="fingerprints of agents whose threads always get a topic;"
            " wins over denyList"
        ),
    ] = ()
    deny_list: Annotated[
        tuple[str, ...],
        msgspec.Meta(description="fingerprints of agents whose threads never get a topic"),
    ] = ()


class Change(Record, frozen=True, kw_only=True):
    """One key that really changed."""

    field: str
    before: bool | tuple[str, ...]
    after: bool | tuple[str, ...]


KEYS: tuple[str, ...] = tuple(f.encode_name for f in msgspec.structs.fields(BridgeSettings))
_LISTS = ("allowList", "denyList")

Listener = Callable[[tuple[Change, ...]], None]


def checked_patch(patch: Mapping[str, Any]) -> dict[str, bool | tuple[str, ...]]:
    """The patch with its lists trimmed, without empty and repeated entries.

    Raises InvalidSettings with the original's message for the first key that is wrong, in the
    order of the keys, and for a key that is not a setting.
    """
    checked: dict[str, bool | tuple[str, ...]] = {}
    for key in KEYS:
        if key not in patch:
            continue
        value = patch[key]
        if key in _LISTS:
            checked[key] = _checked_list(key, value)
        elif isinstance(value, bool):
            checked[key] = value
        else:
            raise InvalidSettings(f"{key} must be boolean")
    for key in patch:
        if key not in KEYS:
            raise InvalidSettings(f"{key} is not a setting; there are: {', '.join(KEYS)}")
    return checked


def etag(settings: BridgeSettings) -> str:
    """A strong entity tag of the five values."""
    return f'"{hashlib.sha256(msgspec.json.encode(settings)).hexdigest()[:32]}"'


def should_auto_create(settings: BridgeSettings, fingerprint: str) -> bool:
    """Whether a new thread of that agent may get a topic: allow beats deny, exact match only."""
    if not settings.enabled:
        return False
    if fingerprint in settings.allow_list:
        return True
    if fingerprint in settings.deny_list:
        return False
    return settings.auto_create_topics


def should_mirror(settings: BridgeSettings) -> bool:
    """Whether messages go into topics that exist. The lists have no say in that."""
    return settings.enabled and settings.mirror_existing


class BridgeSettingsStore:
    """The settings as they stand in the file at this moment. Callable from any thread."""

    def __init__(
        self,
        config: Config,
        state_dir: str | os.PathLike[str],
        clock: Clock,
        *,
        disk: Disk | None = None,
    ) -> None:
        self._config = config
        self._audit_path = os.path.join(os.fspath(state_dir), AUDIT_FILE)
        self._clock = clock
        self._disk = disk or Disk()
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self.audit_error = ""
        """Why the last audit line could not be written; empty when it was."""

    def get(self) -> BridgeSettings:
        """The settings; one stat when the file did not change. Raises ConfigError."""
        with self._lock:
            self._config = self._config.reloaded()
            return self._config.section(SECTION, BridgeSettings)

    def current(self) -> tuple[BridgeSettings, str]:
        """The settings and "", or everything off and why they cannot be read. Never raises."""
        try:
            return self.get(), ""
        except InstarError as error:
            return BridgeSettings(mirror_existing=False), str(error)

    def on_change(self, listener: Listener) -> None:
        """Be told of every change made here, after it is on disk."""
        self._listeners = (*self._listeners, listener)

    def update(
        self, patch: Mapping[str, Any], *, if_match: str | None = None, by: str = "api"
    ) -> BridgeSettings:
        """Change the keys of `patch`; returns all settings. Nothing or everything is changed.

        Raises InvalidSettings, SettingsConflict when `if_match` names other settings, or
        ConfigError when the file cannot be read or written; then the file is as it was.
        """
        checked = checked_patch(patch)
        changes: list[Change] = []
        host_section = _section_of(self._config.host_values)  # what a reader sees lies over it

        def change(section: dict[str, Any]) -> Mapping[str, Any]:
            before = _decoded({**host_section, **section})
            if if_match is not None and if_match.strip() not in ("*", etag(before)):
                raise SettingsConflict(
                    "Somebody else changed the settings since they were read; read them again."
                )
            now = msgspec.to_builtins(before)
            for key, value in checked.items():
                if tuple(now[key]) != value if key in _LISTS else now[key] != value:
                    changes.append(Change(field=key, before=_frozen(now[key]), after=value))
            return {
                **section,
                **{k: v if isinstance(v, bool) else list(v) for k, v in checked.items()},
            }

        with self._lock:
            self._config = self._config.reloaded().update_section(SECTION, change)
            settings = self._config.section(SECTION, BridgeSettings)
        if changes:
            self._audit(changes, by)
            for listener in self._listeners:
                listener(tuple(changes))
        return settings

    def add(self, key: str, entry: str, *, by: str = "api") -> BridgeSettings:
        """Add an entry to `allowList` or `denyList`; one that is there already stays once."""
        return self._edit_list(key, lambda now: (*now, entry), by)

    def remove(self, key: str, entry: str, *, by: str = "api") -> BridgeSettings:
        """Remove an entry; one that is not there is no error."""
        return self._edit_list(key, lambda now: tuple(e for e in now if e != entry.strip()), by)

    def _edit_list(
        self, key: str, edit: Callable[[tuple[str, ...]], tuple[str, ...]], by: str
    ) -> BridgeSettings:
        if key not in _LISTS:
            raise InvalidSettings(f"{key} is not a list; there are: {', '.join(_LISTS)}")
        while True:  # somebody else's change in between means: look again
            settings = self.get()
            now = settings.allow_list if key == "allowList" else settings.deny_list
            try:
                return self.update({key: list(edit(now))}, if_match=etag(settings), by=by)
            except SettingsConflict:
                continue

    def _audit(self, changes: list[Change], by: str) -> None:
        """One line: when, from where, what. A failure is kept to be shown; the change stands."""
        line = msgspec.json.encode(
            {"at": iso_instant(self._clock.now_ms()), "by": by, "changes": changes}
        )
        try:
            os.makedirs(os.path.dirname(self._audit_path), mode=0o700, exist_ok=True)
            with locked(self._audit_path + ".lock"):
                descriptor = open_private(self._audit_path, append=True)
                try:
                    self._disk.write(descriptor, line + b"\n")
                    self._disk.sync(descriptor)
                finally:
                    os.close(descriptor)
        except (OSError, InstarError) as error:
            self.audit_error = f"{self._audit_path} cannot be written: {error}"
        else:
            self.audit_error = ""


def _checked_list(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, str) for entry in value):
        raise InvalidSettings(f"{key} must be string[]")
    entries = tuple(dict.fromkeys(entry.strip() for entry in value if entry.strip()))
    if len(entries) > MAX_ENTRIES or any(len(entry) > MAX_ENTRY_CHARS for entry in entries):
        raise InvalidSettings(
            f"{key} takes at most {MAX_ENTRIES} entries of {MAX_ENTRY_CHARS} characters"
        )
    return entries


def _decoded(section: Mapping[str, Any]) -> BridgeSettings:
    try:
        return msgspec.convert(dict(section), BridgeSettings)
    except msgspec.ValidationError as error:
        raise InvalidSettings(
            f"{SECTION} in config.json holds something else than settings: {error}. Mend it there"
            " first; nothing was changed."
        ) from None


def _section_of(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section in the settings of an embedding host; empty without one."""
    found: Any = values
    for key in SECTION.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _frozen(value: Any) -> bool | tuple[str, ...]:
    return value if isinstance(value, bool) else tuple(value)
